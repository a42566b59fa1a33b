/** The page of a server's screen: noVNC in the frame that all consoles share. */
import RFB from '/vnc/novnc/core/rfb.js'
import { at, runConsole } from './console-frame.js'
import { newTypist, pressKey } from './type-text.js'

let rfb

const isFitting = () => at('fit').getAttribute('aria-pressed') === 'true'

/** Scales the screen to the window, or shows it as it is, to be dragged around where it is larger. */
function fit(isOn) {
  at('fit').setAttribute('aria-pressed', String(isOn))
  if (!rfb) return
  rfb.scaleViewport = isOn
  rfb.clipViewport = !isOn
  rfb.dragViewport = !isOn && matchMedia('(pointer: coarse)').matches
}

function open(socket, frame) {
  rfb = new RFB(at('screen'), socket, { shared: true })
  rfb.background = 'transparent'
  fit(isFitting())
  rfb.addEventListener('connect', () => frame.ready())
  rfb.addEventListener('desktopname', ({ detail }) => {
    if (detail.name) frame.nameIt(detail.name)
  })
  rfb.addEventListener('securityfailure', ({ detail }) => frame.fail('The screen refused us', detail.reason ?? ''))
  const ours = rfb
  return {
    type: newTypist(ours),
    press: (key, withCtrl) => pressKey(ours, key, withCtrl),
    focus: () => ours.focus(),
  }
}

at('ctrl-alt-del').addEventListener('click', () => {
  rfb.sendCtrlAltDel()
  rfb.focus()
})
at('fit').addEventListener('click', () => fit(!isFitting()))

runConsole({ type: 'novnc', path: '/websockify', thing: 'screen', open })
