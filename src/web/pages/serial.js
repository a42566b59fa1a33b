/** The page of a server's serial console: xterm in the frame that all consoles share. */
import { FitAddon } from '/serial/xterm/addon-fit.mjs'
import { Terminal } from '/serial/xterm/xterm.mjs'
import { at, runConsole } from './console-frame.js'
import { adoptStyles } from './xterm-styles.js'

const SCROLLBACK_LINES = 10_000
const ARROWS = { ArrowUp: 'A', ArrowDown: 'B', ArrowRight: 'C', ArrowLeft: 'D' }
const NAMED = { Escape: '\x1b', Tab: '\t', '\n': '\r', '\b': '\x7f' }
const LAST_OF_CTRL = 0x1f

const hasFingers = matchMedia('(pointer: coarse)').matches

adoptStyles()
const terminal = new Terminal({
  cursorBlink: true,
  scrollback: SCROLLBACK_LINES,
  fontFamily: 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace',
  fontSize: hasFingers ? 12 : 15,
  lineHeight: 1.15,
  theme: {
    background: '#0b0e10',
    foreground: '#e8e6df',
    cursor: '#6fcad4',
    cursorAccent: '#06282d',
    selectionBackground: '#2d5a60',
    black: '#222b30',
    red: '#ff9c92',
    green: '#74d69a',
    yellow: '#f3bf62',
    blue: '#8ab8ff',
    magenta: '#d9a6ff',
    cyan: '#6fcad4',
    white: '#cfd3d1',
    brightBlack: '#6f7b81',
    brightRed: '#ffb8b0',
    brightGreen: '#9be6b8',
    brightYellow: '#ffd894',
    brightBlue: '#b0d0ff',
    brightMagenta: '#e8c8ff',
    brightCyan: '#93dbe3',
    brightWhite: '#ffffff',
  },
})
const fitting = new FitAddon()
terminal.loadAddon(fitting)
terminal.open(at('screen'))
new ResizeObserver(() => fitting.fit()).observe(at('screen'))
// A phone's keyboard speaks in words that it may still change; the field of the frame knows how to listen to it.
if (hasFingers) {
  terminal.textarea.disabled = true
  at('screen').addEventListener('click', () => at('soft').focus())
}

let socket

const send = (text) => {
  if (socket?.readyState === WebSocket.OPEN) socket.send(new TextEncoder().encode(text))
}
terminal.onData(send)
// What is not text: reports of a mouse, one byte a character.
terminal.onBinary((bytes) => {
  if (socket?.readyState === WebSocket.OPEN) socket.send(Uint8Array.from(bytes, (one) => one.charCodeAt(0)))
})

/** What a key sends. */
function bytesOf(key, withCtrl) {
  if (key in ARROWS) return `\x1b${terminal.modes.applicationCursorKeysMode ? 'O' : '['}${ARROWS[key]}`
  if (key in NAMED) return NAMED[key]
  return withCtrl ? String.fromCharCode(key.toUpperCase().charCodeAt(0) & LAST_OF_CTRL) : key
}

function open(opened, frame) {
  socket = opened
  socket.binaryType = 'arraybuffer'
  socket.addEventListener('open', () => {
    // All that is kept comes again with the connection.
    terminal.reset()
    fitting.fit()
    frame.ready()
  })
  socket.addEventListener('message', ({ data }) => {
    document.body.dataset.hasText = ''
    terminal.write(new Uint8Array(data))
  })
  return {
    type: (text) => send(text.replaceAll(/\r\n?|\n/g, '\r').replaceAll('\b', '\x7f')),
    press: (key, withCtrl) => send(bytesOf(key, withCtrl)),
    focus: () => (hasFingers ? undefined : terminal.focus()),
  }
}

const isCopyKey = (event) => event.type === 'keydown' && event.ctrlKey && event.shiftKey && event.code === 'KeyC'
terminal.attachCustomKeyEventHandler((event) => {
  if (!isCopyKey(event)) return true
  // Where browsers open their tools.
  event.preventDefault()
  copy()
  return false
})

/** What is selected, or else all there is. */
function textToCopy() {
  const selected = terminal.getSelection()
  if (selected !== '') return selected
  const { active } = terminal.buffer
  const lines = Array.from({ length: active.length }, (_, row) => active.getLine(row))
  return lines
    .map((line, row) => (row > 0 && !line.isWrapped ? '\n' : '') + line.translateToString(!lines[row + 1]?.isWrapped))
    .join('')
    .trimEnd()
}

/** Browsers give the clipboard to encrypted and local pages only; elsewhere the text is shown, to be taken from there. */
async function copy() {
  const text = textToCopy()
  const isCopied = await navigator.clipboard?.writeText(text).then(
    () => true,
    () => false,
  )
  if (isCopied) {
    at('copy').textContent = 'Copied'
    setTimeout(() => {
      at('copy').textContent = 'Copy'
    }, 2_000)
    return
  }
  at('copy-text').value = text
  at('copy-dialog').showModal()
  at('copy-text').select()
}
at('copy').addEventListener('click', copy)
at('copy-dialog').addEventListener('close', () => {
  at('copy-text').value = ''
  if (!hasFingers) terminal.focus()
})

at('interrupt').addEventListener('click', () => {
  send('\x03')
  if (!hasFingers) terminal.focus()
})
// A serial line does not carry how large the terminal is; a shell can be told.
at('size').addEventListener('click', () => {
  send(`stty rows ${terminal.rows} cols ${terminal.cols}\r`)
  if (!hasFingers) terminal.focus()
})

runConsole({ type: 'serial', path: '/serial', thing: 'serial console', open })
