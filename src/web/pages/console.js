/**
 * The page of a console.
 *
 *   connecting ──► connected ──► disconnected
 *        └─────── refused ────────────┘
 *
 * The token opens one console, once. It leaves the address bar at once, so that neither the history nor a
 * screenshot holds it.
 */
import RFB from '/vnc/novnc/core/rfb.js'
import { listenToField, newTypist } from './type-text.js'

const NEW_LINK = 'Ask for a new link in the list of servers.'
const STATE_WORDS = { connecting: 'Connecting', connected: 'Connected', disconnected: 'Disconnected' }
const NORMAL = 1000
const GOING_AWAY = 1001
/** Nothing was used up: the same link may work in a moment. */
const PASSING = [0, 409, 503]

const at = (id) => document.getElementById(id)
const token = new URLSearchParams(location.search).get('token')
history.replaceState(null, '', location.pathname + location.hash)

let rfb
let type = async () => {}

function enter(state, title = '', text = '', mayTryAgain = false) {
  document.body.dataset.state = state
  at('state-word').textContent = STATE_WORDS[state]
  at('word-title').textContent = title
  at('word-text').textContent = text
  at('ways').hidden = state !== 'disconnected'
  at('again').hidden = !mayTryAgain
  for (const id of ['ctrl-alt-del', 'paste', 'keyboard']) at(id).disabled = state !== 'connected'
}

function showName(name) {
  at('name').textContent = name
  document.title = `${name} – Novella`
}

function nameInAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1))
  } catch {
    return ''
  }
}

function connect() {
  if (!token) {
    return enter('disconnected', 'This page needs a fresh link', `A console link works once. ${NEW_LINK}`)
  }
  enter('connecting', 'Connecting to the screen', 'This takes a moment.')
  const address = new URL(`/websockify?token=${encodeURIComponent(token)}`, location.href)
  address.protocol = address.protocol.replace('http', 'ws')
  const socket = new WebSocket(address, 'binary')
  let hasOpened = false
  socket.addEventListener('open', () => {
    hasOpened = true
  })
  socket.addEventListener('close', ({ code }) => (hasOpened ? explainEnd(code) : explainRefusal()))

  rfb = new RFB(at('screen'), socket, { shared: true })
  rfb.background = 'transparent'
  type = newTypist(rfb)
  fit(isFitting())
  rfb.addEventListener('connect', () => {
    enter('connected')
    rfb.focus()
  })
  rfb.addEventListener('desktopname', ({ detail }) => {
    if (nameInAddress() === '' && detail.name) showName(detail.name)
  })
  rfb.addEventListener('securityfailure', ({ detail }) => {
    enter('disconnected', 'The screen refused us', `${detail.reason ?? ''} ${NEW_LINK}`)
  })
}

function explainEnd(code) {
  if (code === NORMAL) {
    enter('disconnected', 'The server was switched off', `Its screen has ended. Once it runs again: ${lower(NEW_LINK)}`)
  } else if (code === GOING_AWAY) {
    enter('disconnected', 'Novella is stopping', `The server goes on running. When Novella is back: ${lower(NEW_LINK)}`)
  } else {
    enter('disconnected', 'The connection was lost', `The server goes on running. ${NEW_LINK}`)
  }
}

const lower = (sentence) => sentence.charAt(0).toLowerCase() + sentence.slice(1)

/** A browser does not tell a page why a WebSocket was refused; the same address without one does. */
async function explainRefusal() {
  let [status, message] = [0, 'Novella cannot be reached.']
  try {
    const response = await fetch(`/websockify?token=${encodeURIComponent(token)}`, { cache: 'no-store' })
    status = response.status
    message = Object.values(await response.json())[0].message
  } catch {
    // What is said above is all that is known.
  }
  if (status === 401) return enter('disconnected', 'This link opens no console', `${plain(message)} ${NEW_LINK}`)
  if (status === 400)
    return enter(
      'disconnected',
      'The connection did not open',
      'Something between here and Novella may block WebSockets.',
      true,
    )
  enter('disconnected', 'The console did not open', message, PASSING.includes(status))
}

/** Without the API's own advice, which ours replaces. */
const plain = (message) => message.replace(/ Ask for a new one\.$/, '')

const isFitting = () => at('fit').getAttribute('aria-pressed') === 'true'

/** Scales the screen to the window, or shows it as it is, to be dragged around where it is larger. */
function fit(isOn) {
  at('fit').setAttribute('aria-pressed', String(isOn))
  if (!rfb) return
  rfb.scaleViewport = isOn
  rfb.clipViewport = !isOn
  rfb.dragViewport = !isOn && matchMedia('(pointer: coarse)').matches
}

at('again').addEventListener('click', connect)
at('ctrl-alt-del').addEventListener('click', () => {
  rfb.sendCtrlAltDel()
  rfb.focus()
})
at('fit').addEventListener('click', () => fit(!isFitting()))

at('full-screen').addEventListener('click', () =>
  document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen(),
)
at('full-screen').hidden = !document.fullscreenEnabled
document.addEventListener('fullscreenchange', () => {
  at('full-screen').setAttribute('aria-pressed', String(Boolean(document.fullscreenElement)))
})

at('paste').addEventListener('click', () => at('paste-dialog').showModal())
at('paste-dialog').addEventListener('close', () => {
  const text = at('paste-text').value
  // It may have been a password.
  at('paste-text').value = ''
  if (at('paste-dialog').returnValue === 'type') type(text)
  at('paste-dialog').returnValue = ''
  rfb?.focus()
})

listenToField(at('soft'), (text) => type(text))
at('keyboard').addEventListener('click', () => at('soft').focus())
at('soft').addEventListener('focus', () => at('keyboard').setAttribute('aria-pressed', 'true'))
at('soft').addEventListener('blur', () => at('keyboard').setAttribute('aria-pressed', 'false'))

if (nameInAddress() !== '') showName(nameInAddress())
connect()
