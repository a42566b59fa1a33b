import type { ServerDiagnostics } from '../diagnostics-host.ts'
import { HostError } from '../host-driver.ts'
import type { MemoryServer } from './memory-machine.ts'

/**
 * The figures of a guest in memory, which does nothing.
 * @throws HostError `notRunning`.
 */
export function memoryDiagnostics(server: MemoryServer | undefined, now: number): ServerDiagnostics {
  const { plan } = server ?? {}
  if (server?.power !== 'on' || !plan) throw new HostError('notRunning', 'The server is not running.')
  const disk = { readBytes: 0, readRequests: 0, writeBytes: 0, writeRequests: 0, errors: 0 }
  const link = { bytes: 0, packets: 0, errors: 0, dropped: 0 }
  const diskCount = (plan.imageId === null ? 0 : 1) + server.disks.size
  return {
    power: 'on',
    uptimeS: Math.floor((now - server.startedAt) / 1000),
    vcpus: Array.from({ length: plan.vcpus }, (_, id) => ({ id, timeNs: 0 })),
    memory: { totalMib: plan.ramMib, usedMib: 0 },
    disks: Array.from({ length: diskCount }, () => ({ ...disk })),
    cards: [...server.cards.values()].map(({ portId, macAddress }) => ({
      ...{ portId, macAddress, received: { ...link }, sent: { ...link } },
    })),
  }
}
