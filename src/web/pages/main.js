/**
 * The page at `/`: a login, then the servers of a project. It looks again every two seconds while something changes,
 * else every ten, and not at all while nobody looks at it.
 */
import { ApiFailure, findStarter, listServers, logIn, logOut, ProjectNeeded, readDiagnostics } from './api.js'
import { linkToConsole } from './console-link.js'
import { createCommands, isChanging, summaryOf } from './format.js'
import { hideGuest, showGuest } from './guest-dialog.js'
import { showServers } from './server-rows.js'
import { keepSession, readSession } from './session.js'

const SOON_MS = 2_000
const LATER_MS = 10_000
const UNAUTHORIZED = 401

const at = (id) => document.getElementById(id)
const form = at('login')

let session = readSession()
let timer = 0
/** Counts sessions, so that a late answer of an earlier one is not shown. */
let epoch = 0

function say(element, text) {
  element.textContent = text
  element.hidden = text === ''
}

function enter(next) {
  epoch += 1
  session = next
  keepSession(next)
  clearTimeout(timer)
  form.hidden = Boolean(next)
  at('who').hidden = !next
  at('servers').hidden = true
  at('rows').replaceChildren()
  hideGuest()
  at('commands').textContent = ''
  say(at('problem'), '')
  if (!next) return form.elements.user.focus()
  form.reset()
  at('who-user').textContent = next.userName
  at('who-project').textContent = next.projectName
  return look()
}

form.addEventListener('submit', async (event) => {
  event.preventDefault()
  const { user, password, project } = Object.fromEntries(new FormData(form))
  const button = at('log-in')
  button.disabled = true
  say(at('login-problem'), '')
  try {
    const next = await logIn({ user: user.trim(), password, project: project.trim() })
    await enter(next)
    at('servers-title').focus()
  } catch (error) {
    showLoginProblem(error)
  } finally {
    button.disabled = false
  }
})

function showLoginProblem(error) {
  const isWrong = error instanceof ApiFailure && error.status === UNAUTHORIZED
  const hasProject = form.elements.project.value.trim() !== ''
  const wrong = hasProject
    ? 'User, password or project is wrong, or you are not in this project.'
    : 'User or password is wrong.'
  say(at('login-problem'), isWrong ? wrong : error.message)
  if (error instanceof ProjectNeeded) {
    at('projects').replaceChildren(...error.names.map((name) => Object.assign(new Option(), { value: name })))
    say(at('login-problem'), `${error.message} They are: ${error.names.join(', ')}.`)
    form.elements.project.focus()
  } else {
    form.elements.password.select()
  }
}

at('log-out').addEventListener('click', async () => {
  const left = session
  enter(null)
  await logOut(left)
})

/** Looks at the servers now, and plans the next look. */
async function look() {
  clearTimeout(timer)
  const ours = epoch
  let waitMs = SOON_MS
  try {
    const { servers, hasMore } = await listServers(session)
    if (ours !== epoch) return
    await show(servers, hasMore)
    waitMs = servers.some(isChanging) ? SOON_MS : LATER_MS
    at('list').classList.remove('stale')
    if (at('problem').dataset.about === 'look') say(at('problem'), '')
  } catch (error) {
    if (ours !== epoch) return
    if (error.status === UNAUTHORIZED) {
      enter(null)
      return say(at('login-problem'), 'Your session has ended. Please log in again.')
    }
    at('servers').hidden = false
    at('list').classList.add('stale')
    complain('look', `${error.message} Trying again.`)
  }
  clearTimeout(timer)
  if (!document.hidden) timer = setTimeout(look, waitMs)
}

function complain(about, text) {
  at('problem').dataset.about = about
  say(at('problem'), text)
}

async function show(servers, hasMore) {
  const isEmpty = servers.length === 0
  if (isEmpty && at('commands').textContent === '') {
    at('commands').textContent = createCommands({
      origin: location.origin,
      ...session,
      ...(await findStarter(session)),
    })
  }
  at('summary').textContent = isEmpty ? '' : summaryOf(servers, hasMore)
  at('list').hidden = isEmpty
  at('empty').hidden = !isEmpty
  at('servers').hidden = false
  showServers(at('rows'), servers, Date.now(), { onConsole: openConsole, onInside: openGuest })
}

async function openConsole(server, type, button) {
  // The tab opens with the click itself: browsers block one that opens after an answer.
  const tab = open('about:blank')
  button.disabled = true
  try {
    const url = await linkToConsole(session, type, server)
    if (!tab) return complain('console', 'Your browser blocked the new tab. Allow pop-ups for this page.')
    tab.opener = null
    tab.location.replace(url)
    say(at('problem'), '')
  } catch (error) {
    tab?.close()
    if (error.status === UNAUTHORIZED) return look()
    complain('console', `The console of ${server.name} did not open: ${error.message}`)
  } finally {
    button.disabled = false
  }
}

async function openGuest(server) {
  try {
    await showGuest(server, () => readDiagnostics(session, server.id))
    say(at('problem'), '')
  } catch (error) {
    if (error.status === UNAUTHORIZED) return look()
    complain('inside', `${server.name} could not be asked: ${error.message}`)
  }
}

at('copy').addEventListener('click', async () => {
  const selection = getSelection()
  selection.selectAllChildren(at('commands'))
  // Browsers give the clipboard to encrypted and local pages only; elsewhere the text stays selected.
  const isCopied = await navigator.clipboard?.writeText(at('commands').textContent).then(
    () => true,
    () => false,
  )
  if (isCopied) selection.removeAllRanges()
  at('copy').textContent = isCopied ? 'Copied' : 'Selected'
  setTimeout(() => {
    at('copy').textContent = 'Copy'
  }, SOON_MS)
})

document.addEventListener('visibilitychange', () => {
  if (!document.hidden && session) look()
})

enter(session)
