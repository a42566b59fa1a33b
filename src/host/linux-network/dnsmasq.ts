/**
 * The DHCP server of one network: a daemon of its own that outlives us, known by its pid file and its command line.
 * The kernel gives process ids again, so a pid file alone is never believed.
 */
import { readFile, readlink, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type DhcpConfig, type DhcpFiles, dropStaleLeases } from './dhcp-config.ts'
import { runInNamespace } from './run-tool.ts'

/** How long a dnsmasq may take to end before it is killed, in milliseconds. */
const STOP_GRACE_MS = 2_000

/**
 * Makes dnsmasq serve `config`: nothing when it does, a signal when only reservations or options changed, else a start.
 * A bridge made anew needs none: with `--bind-dynamic` dnsmasq is not bound to a device.
 */
export async function ensureDnsmasq(
  namespace: { name: string; inode: number },
  config: DhcpConfig,
  files: DhcpFiles,
): Promise<void> {
  const running = await findDnsmasq(files)
  const leases = await readOrEmpty(files.leases)
  const kept = dropStaleLeases(leases, config.reservations)
  const isRight =
    running !== undefined &&
    kept === leases &&
    running.args.join('\0') === config.args.join('\0') &&
    (await namespaceOf(running.pid)) === namespace.inode

  if (!isRight && running) await stopDnsmasq(files)
  const hostsChanged = await writeIfChanged(files.hosts, config.hosts)
  const optionsChanged = await writeIfChanged(files.options, config.options)
  if (isRight) {
    if (hostsChanged || optionsChanged) signal(running.pid, 'SIGHUP')
    return
  }
  if (kept !== leases) await writeFile(files.leases, kept)
  await runInNamespace(namespace.name, ['dnsmasq', ...config.args])
}

/** Ends the dnsmasq of these files, if there is one, and resolves when it is gone. */
export async function stopDnsmasq(files: DhcpFiles): Promise<void> {
  const running = await findDnsmasq(files)
  if (running) {
    signal(running.pid, 'SIGTERM')
    if (!(await isGone(files, STOP_GRACE_MS))) {
      signal(running.pid, 'SIGKILL')
      await isGone(files, STOP_GRACE_MS)
    }
  }
  await rm(files.pid, { force: true })
}

/** The dnsmasq of these files; undefined when none runs. */
export async function findDnsmasq(files: DhcpFiles): Promise<{ pid: number; args: string[] } | undefined> {
  const pid = Number((await readOrEmpty(files.pid)).trim())
  if (!Number.isInteger(pid) || pid <= 1) return undefined
  const args = await readArguments(pid)
  return args?.includes(`--pid-file=${files.pid}`) ? { pid, args } : undefined
}

/** What a dnsmasq process was started with, without the program; undefined when the process is gone or another program. */
export async function readArguments(pid: number): Promise<string[] | undefined> {
  const [program, ...args] = (await readOrEmpty(`/proc/${pid}/cmdline`)).split('\0').slice(0, -1)
  return program?.split('/').at(-1) === 'dnsmasq' ? args : undefined
}

/**
 * As whom dnsmasq can run: `nobody` when it may reach its files as such, which it reads again on each change; root,
 * its own user otherwise (a data directory below /root, say).
 */
export async function pickDnsmasqUser(directory: string): Promise<{ name: string; group: string }> {
  for (let path = directory; path !== dirname(path); path = dirname(path)) {
    if (((await stat(path)).mode & 0o001) === 0) return { name: 'root', group: 'root' }
  }
  return { name: 'nobody', group: 'nogroup' }
}

async function namespaceOf(pid: number): Promise<number | undefined> {
  try {
    return Number(/\[(\d+)\]/.exec(await readlink(`/proc/${pid}/ns/net`))?.[1])
  } catch {
    return undefined
  }
}

async function isGone(files: DhcpFiles, withinMs: number): Promise<boolean> {
  const end = Date.now() + withinMs
  while (Date.now() < end) {
    if (!(await findDnsmasq(files))) return true
    await delay(5)
  }
  return false
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

async function writeIfChanged(path: string, text: string): Promise<boolean> {
  if ((await readOrUndefined(path)) === text) return false
  await writeFile(`${path}.new`, text, { mode: 0o644 })
  await rename(`${path}.new`, path)
  return true
}

const readOrEmpty = async (path: string): Promise<string> => (await readOrUndefined(path)) ?? ''

async function readOrUndefined(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ESRCH') return undefined
    throw error
  }
}
