/** Types text into a server key by key: the clipboard of a text console, and the keyboard of a telephone. */
import keysyms from '/vnc/novnc/core/input/keysymdef.js'

const SHIFT = 0xffe1
const NAMED = { '\n': 0xff0d, '\t': 0xff09, '\b': 0xff08, '\x1b': 0xff1b }
/** What needs Shift on a US keyboard, which is what a server thinks it has. */
const SHIFTED = /^[A-Z~!@#$%^&*()_+{}|:"<>?]$/
/** Between two keys. A guest that is emulated loses keys that come faster. */
const DELAY_MS = 60

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** The keys that make up a text: `{ keysym, isShifted }` each. */
export function keysOf(text) {
  return Array.from(text.replaceAll(/\r\n?/g, '\n'), (character) => ({
    keysym: NAMED[character] ?? keysyms.lookup(character.codePointAt(0)),
    isShifted: SHIFTED.test(character),
  }))
}

/** A typist for one console: texts given at once are typed one after the other. */
export function newTypist(rfb) {
  let last = Promise.resolve()
  const press = async ({ keysym, isShifted }) => {
    if (isShifted) rfb.sendKey(SHIFT, 'ShiftLeft', true)
    rfb.sendKey(keysym, undefined)
    if (isShifted) rfb.sendKey(SHIFT, 'ShiftLeft', false)
    await pause(DELAY_MS)
  }
  return (text) => {
    last = last.then(async () => {
      for (const key of keysOf(text)) await press(key)
    })
    return last
  }
}

/**
 * Sends what is typed into a text field on to the server. The field always holds one space, so that there is
 * something for Backspace to take away.
 */
export function listenToField(field, type) {
  const reset = () => {
    field.value = ' '
    field.setSelectionRange(1, 1)
  }
  field.addEventListener('focus', reset)
  field.addEventListener('input', (event) => {
    // A word that is still being put together comes again when it is finished.
    if (event.isComposing) return
    const typed = field.value
    type(typed === '' ? '\b' : typed.slice(1))
    reset()
  })
  field.addEventListener('compositionend', () => {
    type(field.value.slice(1))
    reset()
  })
}
