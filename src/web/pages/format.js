/** Turns what the API says into what people read. Pure: values in, values out. */

const TONES = { ACTIVE: 'good', ERROR: 'bad', SHUTOFF: 'idle', PAUSED: 'idle', SUSPENDED: 'idle', DELETED: 'idle' }
/** Changes by itself, or waits for somebody. */
const AT_REST = new Set([...Object.keys(TONES), 'VERIFY_RESIZE', 'SHELVED', 'SHELVED_OFFLOADED', 'RESCUE', 'UNKNOWN'])

/** Whether something happens with the server just now. */
export const isChanging = (server) => server['OS-EXT-STS:task_state'] !== null || !AT_REST.has(server.status)

/** The colour of a status: `good`, `busy`, `bad` or `idle`. */
export const toneOf = (server) => (isChanging(server) ? 'busy' : (TONES[server.status] ?? 'busy'))

/** `HARD_REBOOT` → `Hard reboot`. */
export function statusWord(status) {
  const words = String(status).toLowerCase().replaceAll('_', ' ')
  return words.charAt(0).toUpperCase() + words.slice(1)
}

/** What happens with the server, or what failed: the line under its status. Empty when there is nothing to say. */
export function detailOf(server) {
  const task = server['OS-EXT-STS:task_state']
  if (task) return task.replaceAll(/[_-]/g, ' ')
  return server.status === 'ERROR' ? (server.fault?.message ?? '') : ''
}

/** All addresses of a server, one a line, floating ones last. */
export function addressesOf(server) {
  const entries = Object.values(server.addresses ?? {}).flat()
  const isFloating = (entry) => entry['OS-EXT-IPS:type'] === 'floating'
  return [...entries.filter((entry) => !isFloating(entry)), ...entries.filter(isFloating)].map((entry) => entry.addr)
}

const UNITS = [
  [86_400, 'd'],
  [3_600, 'h'],
  [60, 'min'],
]

/** How long ago something was: `4 min`, `3 h`, `12 d`; below a minute `just now`. Instants are epoch milliseconds. */
export function ageOf(at, now) {
  const seconds = Math.floor((now - at) / 1000)
  for (const [size, unit] of UNITS) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`
  return 'just now'
}

/** `3 servers, 1 changing`. */
export function summaryOf(servers, hasMore) {
  const changing = servers.filter(isChanging).length
  const count = `${servers.length}${hasMore ? ' newest' : ''} ${servers.length === 1 ? 'server' : 'servers'}`
  return changing > 0 ? `${count}, ${changing} changing` : count
}

/** As one word of a POSIX shell, whatever is in it. */
const shellWord = (text) => `'${text.replaceAll("'", `'\\''`)}'`

/**
 * Shell commands that log in and make a server, as they can be pasted.
 * @param {{ origin: string, projectId: string, userName: string, imageId: string, flavorId: string }} facts
 */
export function createCommands({ origin, projectId, userName, imageId, flavorId }) {
  const openrc = { admin: 'openrc', demo: 'openrc-demo' }[userName]
  // The shell fills the password in: it stands between two quoted words, in double quotes of its own.
  const name = shellWord(JSON.stringify(userName)).slice(1, -1)
  return [
    openrc ? `. ./${openrc}   # in the data directory of Novella` : `OS_PASSWORD='your password'`,
    `TOKEN=$(curl -s -o /dev/null -D - ${origin}/v3/auth/tokens \\`,
    `  -H 'Content-Type: application/json' -d '{"auth": {`,
    `    "identity": {"methods": ["password"], "password": {"user":`,
    `      {"name": ${name}, "domain": {"id": "default"}, "password": "'"$OS_PASSWORD"'"}}},`,
    `    "scope": {"project": {"id": "${projectId}"}}}}' \\`,
    `  | tr -d '\\r' | sed -n 's/^x-subject-token: //p')`,
    `curl ${origin}/v2/${projectId}/servers \\`,
    `  -H "X-Auth-Token: $TOKEN" -H 'Content-Type: application/json' -d '{"server": {`,
    `    "name": "first",`,
    `    "imageRef": "${imageId}",`,
    `    "flavorRef": "${flavorId}"}}'`,
  ].join('\n')
}
