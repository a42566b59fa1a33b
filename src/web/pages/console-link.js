/**
 * Links to the pages of consoles, and what a page knows of its own. A link carries its token in the query, and what
 * stays in the browser behind the #: the server's id and name. With the id, somebody who is logged in gets a new token
 * without a new link.
 */
import { askForConsole } from './api.js'
import { readSession } from './session.js'

const PAGES = { novnc: '/vnc/vnc_auto.html', serial: '/serial/serial.html' }
const SERVER = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\/(.*)$/s

/** The address of the page of a console with a fresh token. */
export async function linkToConsole(session, type, { id, name }) {
  const token = await askForConsole(session, id, type)
  return `${PAGES[type]}?token=${encodeURIComponent(token)}#${id}/${encodeURIComponent(name)}`
}

/**
 * Takes the token out of the address bar, so that neither the history nor a screenshot holds it.
 * @returns {{ token: string | null, serverId: string, name: string }}
 */
export function takeLink() {
  const token = new URLSearchParams(location.search).get('token')
  history.replaceState(null, '', location.pathname + location.hash)
  const [, serverId = '', name = location.hash.slice(1)] = SERVER.exec(location.hash.slice(1)) ?? []
  return { token, serverId, name: decoded(name) }
}

function decoded(text) {
  try {
    return decodeURIComponent(text)
  } catch {
    return ''
  }
}

/** Whether this page can get a new token by itself. */
export const canRenew = ({ serverId }) => serverId !== '' && readSession() !== null

/** A new token for the console of this page. @throws ApiFailure */
export const renew = ({ serverId }, type) => askForConsole(readSession(), serverId, type)
