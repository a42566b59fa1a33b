/**
 * Every server's QEMU runs as a user of its own, so that one which was broken out of reaches no other server's disk,
 * memory or sockets. The user has no name: a number from 3,000,000 on, the group of the same number, written down in
 * the server's directory. It stays with the server, unless somebody else on the machine turns out to use it.
 */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ServerFiles } from './server-files.ts'

export interface User {
  uid: number
  gid: number
}

/** The first server's number; each slot after it is one more. */
export const FIRST_SERVER_UID = 3_000_000
/** How many numbers must be there to be given out. */
const SLOTS = 1_000_000

/** Whether a user namespace knows our numbers; those of containers may not. Pure. Source: user_namespaces(7), uid_map. */
export function mapsServerUsers(map: string): boolean {
  return map.split('\n').some((line) => {
    const [inside = 0, , length = 0] = line.trim().split(/ +/).map(Number)
    return inside <= FIRST_SERVER_UID && inside + length >= FIRST_SERVER_UID + SLOTS
  })
}

/** Whether this process may give servers users of their own. */
export const canHaveServerUsers = (): boolean =>
  ['uid_map', 'gid_map'].every((map) => mapsServerUsers(readFileSync(`/proc/self/${map}`, 'utf8')))

/**
 * The user of a server that does not run; a new one when it has none, or a process runs as it, for which only another
 * data directory can be to blame. The server's directory must be there. Synchronous, so that no two get the same.
 */
export function ensureServerUser(serversDir: string, files: ServerFiles): User {
  const running = usersOfProcesses()
  const known = readUid(files.uid)
  if (known !== undefined && !running.has(known)) return { uid: known, gid: known }
  const given = new Set(readdirSync(serversDir).map((name) => readUid(join(serversDir, name, 'uid'))))
  let uid = FIRST_SERVER_UID
  while (given.has(uid) || running.has(uid)) uid += 1
  writeFileSync(files.uid, `${uid}\n`, { mode: 0o600, flush: true })
  return { uid, gid: uid }
}

/** The number a file holds; undefined when there is none, or none of ours: root's least of all. */
function readUid(path: string): number | undefined {
  try {
    const uid = Number(readFileSync(path, 'utf8').trim())
    return Number.isInteger(uid) && uid >= FIRST_SERVER_UID && uid < FIRST_SERVER_UID + SLOTS ? uid : undefined
  } catch (error) {
    if (!['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    return undefined
  }
}

/** The number of a server's user; undefined when it has none. */
export const readServerUid = (files: ServerFiles): number | undefined => readUid(files.uid)

function usersOfProcesses(): Set<number | undefined> {
  const pids = readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name))
  return new Set(pids.map((pid) => statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid))
}
