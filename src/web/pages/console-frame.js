/**
 * What the pages of a screen and of a serial console share: the connection and its states, the header, the dialogs and
 * the keys for fingers.
 *
 *   connecting ──► connected ──► disconnected ──► connected …
 *        └─────── refused ────────────┘
 *
 * A token opens one console, once. Somebody who is logged in in this tab gets a new one, so the page connects again by
 * itself, after a reload, a lost network or a reboot of the server; everybody else is told to ask for a new link.
 */
import { canRenew, renew, takeLink } from './console-link.js'
import { keepSession } from './session.js'
import { listenToField } from './soft-keyboard.js'

const NEW_LINK = 'Ask for a new link in the list of servers.'
const BY_ITSELF = 'This page connects again by itself.'
const STATE_WORDS = { connecting: 'Connecting', connected: 'Connected', disconnected: 'Disconnected' }
const NORMAL = 1000
const GOING_AWAY = 1001
const UNAUTHORIZED = 401
/** Nothing was used up: the same link may work in a moment. */
const PASSING = [0, 409, 503]
const FIRST_PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 10_000

export const at = (id) => document.getElementById(id)

/**
 * Runs the page.
 * @param {object} kind
 * @param {string} kind.type what tokens are for: `novnc` or `serial`
 * @param {string} kind.path of the WebSocket
 * @param {string} kind.thing what it is called: `screen`, `serial console`
 * @param {(socket: WebSocket, frame: { ready(): void, nameIt(name: string): void, fail(title: string, text: string): void })
 *   => { type(text: string): void, press(key: string, withCtrl: boolean): void, focus(): void }} kind.open
 */
export function runConsole(kind) {
  const link = takeLink()
  let { token } = link
  let screen
  let retry = 0
  let pauseMs = FIRST_PAUSE_MS

  function enter(state, title = '', text = '', mayTryAgain = false) {
    document.body.dataset.state = state
    at('state-word').textContent = STATE_WORDS[state]
    at('word-title').textContent = title
    at('word-text').textContent = text
    at('ways').hidden = state !== 'disconnected'
    at('again').hidden = !mayTryAgain
    for (const button of document.querySelectorAll('[data-needs-connection]')) button.disabled = state !== 'connected'
  }

  function showName(name) {
    at('name').textContent = name
    document.title = `${name} – Novella`
  }

  const frame = {
    ready() {
      pauseMs = FIRST_PAUSE_MS
      enter('connected')
      screen.focus()
    },
    nameIt(name) {
      if (link.name === '') showName(name)
    },
    fail: (title, text) => enter('disconnected', title, `${text} ${NEW_LINK}`.trim()),
  }

  /** Tries again in a while, each time a longer one; a page that nobody sees waits until somebody does. */
  function connectLater() {
    clearTimeout(retry)
    retry = setTimeout(() => {
      if (document.hidden) document.addEventListener('visibilitychange', connect, { once: true })
      else connect()
    }, pauseMs)
    pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)
  }

  /** Says that the console is not there; and what to do, unless the page does it itself. */
  function leave(title, text, { mayTryAgain = false, advice = NEW_LINK } = {}) {
    const isRenewed = canRenew(link)
    enter('disconnected', title, `${text} ${isRenewed ? BY_ITSELF : advice}`.trim(), mayTryAgain || isRenewed)
    if (isRenewed) connectLater()
  }

  async function connect() {
    clearTimeout(retry)
    if (document.body.dataset.state !== 'disconnected') {
      enter('connecting', `Connecting to the ${kind.thing}`, 'This takes a moment.')
    }
    if (!token && !(await getToken())) return
    const address = new URL(`${kind.path}?token=${encodeURIComponent(token)}`, location.href)
    address.protocol = address.protocol.replace('http', 'ws')
    const socket = new WebSocket(address, 'binary')
    let hasOpened = false
    socket.addEventListener('open', () => {
      hasOpened = true
    })
    socket.addEventListener('close', ({ code }) => {
      if (!hasOpened) return explainRefusal()
      token = null
      explainEnd(code)
    })
    screen = kind.open(socket, frame)
  }

  /** True when there is a new token; else the page says why there is none. */
  async function getToken() {
    if (!canRenew(link)) {
      enter('disconnected', 'This page needs a fresh link', `A console link works once. ${NEW_LINK}`)
      return false
    }
    try {
      token = await renew(link, kind.type)
      return true
    } catch (error) {
      if (error.status === UNAUTHORIZED) {
        keepSession(null)
        enter(
          'disconnected',
          'Your session has ended',
          'Log in again in the list of servers, and open the console there.',
        )
      } else if (PASSING.includes(error.status)) {
        leave(`The ${kind.thing} did not open`, error.message, { mayTryAgain: true, advice: '' })
      } else {
        enter('disconnected', `The ${kind.thing} did not open`, error.message)
      }
      return false
    }
  }

  function explainEnd(code) {
    if (code === NORMAL) {
      leave('The server was switched off', `Its ${kind.thing} has ended.`, {
        advice: `Once it runs again: ${lower(NEW_LINK)}`,
      })
    } else if (code === GOING_AWAY) {
      leave('Novella is stopping', 'The server goes on running.', {
        advice: `When Novella is back: ${lower(NEW_LINK)}`,
      })
    } else {
      leave('The connection was lost', 'The server goes on running.')
    }
  }

  /** A browser does not tell a page why a WebSocket was refused; the same address without one does. */
  async function explainRefusal() {
    let [status, message] = [0, 'Novella cannot be reached.']
    try {
      const response = await fetch(`${kind.path}?token=${encodeURIComponent(token)}`, { cache: 'no-store' })
      status = response.status
      message = Object.values(await response.json())[0].message
    } catch {
      // What is said above is all that is known.
    }
    if (status === UNAUTHORIZED) {
      token = null
      return leave('This link opens no console', plain(message))
    }
    if (status === 400) {
      return enter(
        'disconnected',
        'The connection did not open',
        'Something between here and Novella may block WebSockets.',
        true,
      )
    }
    if (PASSING.includes(status)) leave('The console did not open', message, { mayTryAgain: true, advice: '' })
    else enter('disconnected', 'The console did not open', message)
  }

  at('again').addEventListener('click', () => {
    pauseMs = FIRST_PAUSE_MS
    connect()
  })
  joinTools(() => screen)
  if (link.name !== '') showName(link.name)
  connect()
}

const lower = (sentence) => sentence.charAt(0).toLowerCase() + sentence.slice(1)

/** Without the API's own advice, which ours replaces. */
const plain = (message) => message.replace(/ Ask for a new one\.$/, '')

/** The buttons that both pages have. */
function joinTools(screenNow) {
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
    if (at('paste-dialog').returnValue === 'type') screenNow()?.type(text)
    at('paste-dialog').returnValue = ''
    screenNow()?.focus()
  })

  const isCtrl = () => at('ctrl').getAttribute('aria-pressed') === 'true'
  const setCtrl = (isOn) => at('ctrl').setAttribute('aria-pressed', String(isOn))
  listenToField(at('soft'), (text) => {
    const held = isCtrl()
    setCtrl(false)
    if (held) screenNow()?.press(text.charAt(0), true)
    screenNow()?.type(held ? text.slice(1) : text)
  })
  at('keyboard').addEventListener('click', () => at('soft').focus())
  at('soft').addEventListener('focus', () => at('keyboard').setAttribute('aria-pressed', 'true'))
  at('soft').addEventListener('blur', () => at('keyboard').setAttribute('aria-pressed', 'false'))

  // Whoever presses one of these keeps the keyboard that is open.
  at('keys').addEventListener('pointerdown', (event) => event.preventDefault())
  at('ctrl').addEventListener('click', () => setCtrl(!isCtrl()))
  for (const button of at('keys').querySelectorAll('[data-key]')) {
    button.addEventListener('click', () => {
      screenNow()?.press(button.dataset.key, isCtrl())
      setCtrl(false)
    })
  }
}
