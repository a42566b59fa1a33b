/** Types text into a server's screen key by key: the clipboard of a text console, and the keyboard of a telephone. */
import keysyms from '/vnc/novnc/core/input/keysymdef.js'

const SHIFT = 0xffe1
const CTRL = 0xffe3
const NAMED = { '\n': 0xff0d, '\t': 0xff09, '\b': 0xff08, '\x1b': 0xff1b }
const KEYS = { Escape: 0xff1b, Tab: 0xff09, ArrowLeft: 0xff51, ArrowUp: 0xff52, ArrowRight: 0xff53, ArrowDown: 0xff54 }
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

/** Presses one key, a character or one by its name, with Ctrl or without. */
export function pressKey(rfb, key, withCtrl) {
  if (withCtrl) rfb.sendKey(CTRL, 'ControlLeft', true)
  rfb.sendKey(KEYS[key] ?? NAMED[key] ?? keysyms.lookup(key.codePointAt(0)), undefined)
  if (withCtrl) rfb.sendKey(CTRL, 'ControlLeft', false)
}
