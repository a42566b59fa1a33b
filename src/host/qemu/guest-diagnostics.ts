/**
 * What a guest used and did, from where it is counted: QEMU for disks, the kernel for the threads that are its processors,
 * for memory, and for its taps. Pure but for `GuestDiagnostics`.
 */
import { readFile } from 'node:fs/promises'
import type { CardFigures, DiagnosticsHost, DiskFigures, LinkFigures, ServerDiagnostics } from '../diagnostics-host.ts'
import { HostError } from '../host-driver.ts'
import { run } from '../run-program.ts'
import { DISK_DEVICE_PREFIX, ROOT_DEVICE } from './disk-args.ts'
import type { Guest } from './guest.ts'
import { readDevices, readProperty } from './guest-devices.ts'
import type { Guests } from './guests.ts'
import type { HostNetwork } from './host-network.ts'
import { CARD_DEVICE_PREFIX } from './qemu-args.ts'
import type { QemuPrograms } from './qemu-programs.ts'
import { readObjects } from './qmp-client.ts'
import { SharedReading } from './shared-reading.ts'

const MIB = 1024 ** 2
/** The kernel counts processor time in these; the same on every architecture. Source: times(2), USER_HZ. */
const TICK_NS = 10_000_000
const IP_TIMEOUT_MS = 5_000

export interface DiagnosticsParts {
  guests: Guests
  network: HostNetwork
  programs: QemuPrograms
  /** Epoch milliseconds. */
  now: () => number
}

export class GuestDiagnostics implements DiagnosticsHost {
  readonly #parts: DiagnosticsParts
  readonly #readings = new SharedReading<ServerDiagnostics>()

  constructor(parts: DiagnosticsParts) {
    this.#parts = parts
  }

  readDiagnostics(serverId: string): Promise<ServerDiagnostics> {
    return this.#readings.read(serverId, () => this.#read(serverId))
  }

  async #read(serverId: string): Promise<ServerDiagnostics> {
    const guest = this.#parts.guests.find(serverId)
    const status = await guest?.readStatus()
    const pid = guest?.pid
    if (!guest || pid === undefined || status === 'shutdown') {
      throw new HostError('notRunning', 'The server is not running.')
    }
    try {
      const [vcpus, memory, blocks, cards] = await Promise.all([
        readVcpus(guest, pid),
        readMemory(guest, pid),
        guest.execute('query-blockstats'),
        this.#readCards(guest),
      ])
      const power = status === 'running' ? 'on' : 'paused'
      const uptimeS = Math.max(0, Math.floor((this.#parts.now() - guest.record.startedAt) / 1000))
      return { power, uptimeS, vcpus, memory, disks: diskFigures(blocks), cards }
    } catch (cause) {
      this.#parts.guests.demandHeld()
      if (guest.pid === undefined) throw new HostError('notRunning', 'The server is not running.')
      throw new HostError('unreachable', 'The server does not answer its host yet.', { cause })
    }
  }

  /** A card whose tap has gone is about to be given anew, and counts from nought. */
  async #readCards(guest: Guest): Promise<CardFigures[]> {
    const devices = (await readDevices(guest)).filter(({ name }) => name.startsWith(CARD_DEVICE_PREFIX))
    const cards = devices.map(async (device): Promise<CardFigures | undefined> => {
      const portId = device.name.slice(CARD_DEVICE_PREFIX.length)
      const macAddress = String(await readProperty(guest, device, 'mac'))
      const tap = await this.#parts.network.findTap(portId)
      if (!tap) return undefined
      const command = [this.#parts.programs.ip, '-n', tap.namespace, '-s', '-j', 'link', 'show', 'dev', tap.tapName]
      return { portId, macAddress, ...tapFigures(JSON.parse(await run(command, { timeoutMs: IP_TIMEOUT_MS }))) }
    })
    return (await Promise.all(cards)).filter((card) => card !== undefined)
  }
}

/** Source: QAPI CpuInfoFast. */
async function readVcpus(guest: Guest, pid: number): Promise<ServerDiagnostics['vcpus']> {
  const cpus = readObjects(await guest.execute('query-cpus-fast'))
  const threads = cpus.map((cpu) => Number(cpu['thread-id']))
  return await Promise.all(
    cpus.map(async (cpu, index) => {
      const thread = threads[index]
      // One thread may run all of them in turn, which tells nothing of each.
      const isOwn = threads.filter((other) => other === thread).length === 1
      const stat = isOwn ? await readFile(`/proc/${pid}/task/${thread}/stat`, 'utf8') : undefined
      return { id: Number(cpu['cpu-index']), timeNs: stat === undefined ? null : processorTimeNs(stat) }
    }),
  )
}

/** From a `stat` of a thread: time in itself and in the kernel. Source: proc(5), fields 14 and 15. */
export function processorTimeNs(stat: string): number {
  // The name comes second, in parentheses, and may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK_NS
}

async function readMemory(guest: Guest, pid: number): Promise<ServerDiagnostics['memory']> {
  const [answer, status] = await Promise.all([
    guest.execute('query-memory-size-summary'),
    readFile(`/proc/${pid}/status`, 'utf8'),
  ])
  const totalBytes = Number((answer as { 'base-memory'?: unknown })['base-memory'])
  const usedKib = Number(/^VmRSS:\s*(\d+) kB$/m.exec(status)?.[1] ?? 0)
  return { totalMib: Math.round(totalBytes / MIB), usedMib: Math.round(usedKib / 1024) }
}

/** Of an answer to `query-blockstats`: the disks that the guest sees, by their devices. Source: QAPI BlockStats. */
export function diskFigures(answer: unknown): DiskFigures[] {
  return readObjects(answer).flatMap(({ qdev, stats }) => {
    const device = /^\/machine\/peripheral\/([^/]+)/.exec(String(qdev))?.[1] ?? ''
    if (device !== ROOT_DEVICE && !device.startsWith(DISK_DEVICE_PREFIX)) return []
    const count = (name: string): number => Number((stats as Record<string, unknown> | undefined)?.[name] ?? 0)
    return [
      {
        readBytes: count('rd_bytes'),
        readRequests: count('rd_operations'),
        writeBytes: count('wr_bytes'),
        writeRequests: count('wr_operations'),
        errors: count('failed_rd_operations') + count('failed_wr_operations') + count('failed_flush_operations'),
      },
    ]
  })
}

/** Of `ip -s -j link`: what the host received from a tap is what its guest sent. */
export function tapFigures(links: unknown): { received: LinkFigures; sent: LinkFigures } {
  const [link] = readObjects(links)
  const { rx, tx } = (link?.stats64 ?? {}) as { rx?: Record<string, unknown>; tx?: Record<string, unknown> }
  const figures = (one: Record<string, unknown> | undefined): LinkFigures => ({
    bytes: Number(one?.bytes ?? 0),
    packets: Number(one?.packets ?? 0),
    errors: Number(one?.errors ?? 0),
    dropped: Number(one?.dropped ?? 0),
  })
  return { received: figures(tx), sent: figures(rx) }
}
