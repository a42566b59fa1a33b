/** Network namespaces by name: making, looking into, changing and removing them with `ip` and `nft`. */
import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { ObservedLink } from './link-plan.ts'
import { FILTER_FAMILIES, FILTER_TABLE } from './nft-rules.ts'
import { runInNamespace, runTool } from './run-tool.ts'

/** Where `ip netns` keeps the names. */
const NAMESPACES = '/run/netns'

/**
 * Bridged packets must pass the inet filters; nothing is ever routed in a guest network's namespace; and as long as
 * IPv6 is not served, the namespace itself does not speak it.
 */
const SETTINGS = [
  'net/bridge/bridge-nf-call-iptables=1',
  'net/bridge/bridge-nf-call-ip6tables=1',
  'net/ipv4/ip_forward=0',
  'net/ipv6/conf/all/disable_ipv6=1',
  'net/ipv6/conf/default/disable_ipv6=1',
]

/**
 * A shell, since a plain write must happen inside; the text is fixed and takes nothing from outside. Only IPv6 may be
 * absent from a kernel: without the bridge settings guests would be connected past their groups.
 */
const APPLY_SETTINGS = SETTINGS.map((setting) => {
  const [name = '', value] = setting.split('=')
  const write = `echo ${value} > /proc/sys/${name}`
  return name.startsWith('net/ipv6/') ? `{ [ ! -e /proc/sys/${name} ] || ${write}; }` : write
}).join(' && ')

/**
 * The kernel's number of a namespace, which a namespace made anew under the same name does not share; undefined when
 * there is none, though there be a file of that name on which no namespace is mounted.
 */
export async function readNamespace(name: string): Promise<number | undefined> {
  try {
    const [file, directory] = await Promise.all([stat(join(NAMESPACES, name)), stat(NAMESPACES)])
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
  await rm(join(NAMESPACES, name), { force: true })
  await runTool('ip', ['netns', 'add', name])
}

export async function applySettings(name: string): Promise<void> {
  await runInNamespace(name, ['/bin/sh', '-c', APPLY_SETTINGS])
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

/** Runs an nft script in a namespace, all of it or nothing. */
export async function applyFilters(name: string, script: string): Promise<void> {
  await runInNamespace(name, ['nft', '-f', '-'], script)
}

/** Whether both tables of our filters are there; their chains and rules are not looked at. */
export async function hasFilters(name: string): Promise<boolean> {
  const tables = (await runInNamespace(name, ['nft', 'list', 'tables'])).split('\n')
  return FILTER_FAMILIES.every((family) => tables.includes(`table ${family} ${FILTER_TABLE}`))
}
