/** Who is logged in: `{ token, userName, projectId, projectName }`, kept for this tab and those that it opens. */
const KEPT_AS = 'novella-session'

/** The session, or null. */
export const readSession = () => JSON.parse(sessionStorage.getItem(KEPT_AS) ?? 'null')

/** Keeps a session; null forgets it. */
export function keepSession(session) {
  if (session) sessionStorage.setItem(KEPT_AS, JSON.stringify(session))
  else sessionStorage.removeItem(KEPT_AS)
}
