/** Network namespaces by name: making, looking into, changing and removing them with `ip` and `nft`. */
import { readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../run-program.ts'
import type { ObservedLink } from './link-plan.ts'
import { BRIDGE } from './names.ts'
import { runInNamespace, runTool } from './run-tool.ts'

/** Where `ip netns` keeps the names. */
const NAMESPACES = '/run/netns'

/** The file whose opening holds a namespace. */
export const namespacePath = (name: string): string => join(NAMESPACES, name)

/**
 * Bridged packets must pass the inet filters; nothing is ever routed in a guest network's namespace; and no device
 * speaks IPv6 unless it is told to.
 */
const SETTINGS = [
  'net/bridge/bridge-nf-call-iptables=1',
  'net/bridge/bridge-nf-call-ip6tables=1',
  'net/ipv4/ip_forward=0',
  'net/ipv6/conf/default/disable_ipv6=1',
]

/**
 * A bridge that speaks IPv6 for its DHCP server: it learns nothing from advertisements, and uses its addresses at once,
 * without a second of looking whether another has them.
 */
const BRIDGE_IPV6 = ['accept_ra=0', 'autoconf=0', 'accept_dad=0', 'disable_ipv6=0']
const BRIDGE_NO_IPV6 = ['disable_ipv6=1']

/**
 * A shell, since a plain write must happen inside; the text is fixed and takes nothing from outside. Only IPv6 may be
 * absent from a kernel: without the bridge settings guests would be connected past their groups.
 */
const writeSettings = (settings: readonly string[]): string =>
  settings
    .map((setting) => {
      const [name = '', value] = setting.split('=')
      const write = `echo ${value} > /proc/sys/${name}`
      return name.startsWith('net/ipv6/') ? `{ [ ! -e /proc/sys/${name} ] || ${write}; }` : write
    })
    .join(' && ')

/**
 * The kernel's number of a namespace, which a namespace made anew under the same name does not share; undefined when
 * there is none, though there be a file of that name on which no namespace is mounted.
 */
export async function readNamespace(name: string): Promise<number | undefined> {
  try {
    const [file, directory] = await Promise.all([stat(namespacePath(name)), stat(NAMESPACES)])
    return file.dev === directory.dev ? undefined : file.ino
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Names of all namespaces that start with `prefix`, in no order. */
export async function listNamespaces(prefix: string): Promise<string[]> {
  try {
    return (await readdir(NAMESPACES)).filter((name) => name.startsWith(prefix))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** Makes a namespace that is not there. */
export async function addNamespace(name: string): Promise<void> {
  // `ip netns add` makes a file and then mounts on it; killed in between, it left one that its successor refuses.
  await rm(namespacePath(name), { force: true })
  await runTool('ip', ['netns', 'add', name])
}

export async function applySettings(name: string): Promise<void> {
  await runInNamespace(name, ['/bin/sh', '-c', writeSettings(SETTINGS)])
}

/** Lets the bridge speak IPv6 or takes it away, with every IPv6 address of it. Nothing where the kernel has none. */
export async function setBridgeIpv6(name: string, speaks: boolean): Promise<void> {
  const settings = (speaks ? BRIDGE_IPV6 : BRIDGE_NO_IPV6).map((setting) => `net/ipv6/conf/${BRIDGE}/${setting}`)
  await runInNamespace(name, ['/bin/sh', '-c', writeSettings(settings)])
}

/** The settings that are not as `applySettings` leaves them, as `net/ipv4/ip_forward`. */
export async function findSettingDrift(name: string): Promise<string[]> {
  const read = SETTINGS.map((setting) => `cat /proc/sys/${setting.split('=')[0]} 2>/dev/null || echo -`).join('; ')
  const values = (await runInNamespace(name, ['/bin/sh', '-c', read])).split('\n')
  return SETTINGS.flatMap((setting, index) => {
    const [path = '', wanted] = setting.split('=')
    const isRight = values[index] === wanted || (values[index] === '-' && path.startsWith('net/ipv6/'))
    return isRight ? [] : [path]
  })
}

/**
 * Gives a namespace its name back that somebody took away: it lives on with its devices, filters and guests, as long as
 * a process or a descriptor holds it.
 * @param holder a path that leads to it: `/proc/<pid>/ns/net`, `/proc/<pid>/fd/<n>`.
 */
export async function renameNamespace(name: string, holder: string): Promise<void> {
  const path = namespacePath(name)
  await writeFile(path, '', { mode: 0o444 })
  try {
    await runTool('mount', ['--no-canonicalize', '--bind', holder, path])
  } catch (error) {
    await rm(path, { force: true })
    throw error
  }
}

/** A process in a namespace other than our own that `isOurs` knows by its arguments; undefined when there is none. */
export async function findHolder(isOurs: (args: string[]) => boolean): Promise<number | undefined> {
  const own = await readlink('/proc/self/ns/net')
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const args = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
    if (!isOurs(args)) continue
    const namespace = await readlink(`/proc/${pid}/ns/net`).catch(() => own)
    if (namespace !== own) return Number(pid)
  }
  return undefined
}

/** Removes the name; the namespace itself goes with its last process and socket. Accepts that there is none. */
export async function removeNamespace(name: string): Promise<void> {
  try {
    await runTool('ip', ['netns', 'delete', name])
  } catch (error) {
    if ((await readNamespace(name)) !== undefined) throw error
  }
}

/** Ids of the processes that live in a namespace. */
export async function readProcesses(name: string): Promise<number[]> {
  return (await runTool('ip', ['netns', 'pids', name])).split('\n').filter(Boolean).map(Number)
}

/** Runs `ip` commands in order, stopping at the first that fails, and answers every device with its addresses. */
export async function changeLinks(name: string, commands: readonly string[]): Promise<ObservedLink[]> {
  const lines = [...commands, 'addr show'].map((command) => `${command}\n`)
  return JSON.parse((await runTool('ip', ['-n', name, '-json', '-batch', '-'], lines.join(''))) || '[]')
}

/** A group of ten thousand rules takes seconds on a busy machine. */
export const NFT_TIMEOUT_MS = 60_000

/** Runs an nft script in a namespace, all of it or nothing. */
export async function applyFilters(name: string, script: string): Promise<void> {
  await run(['ip', 'netns', 'exec', name, 'nft', '-f', '-'], { timeoutMs: NFT_TIMEOUT_MS, input: script })
}
