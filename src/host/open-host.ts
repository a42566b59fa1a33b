import { mkdir, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import type { Config } from '../config.ts'
import type { Clock } from '../lib/clock.ts'
import { type HostDriver, HostError, type MetadataAnswer, type MetadataQuestion } from './host-driver.ts'
import { MemoryDriver } from './memory/memory-driver.ts'
import { ensureSystemUser } from './system-user.ts'

export interface HostParts {
  config: Config
  clock: Clock
  log: Logger
  answerMetadata: (question: MetadataQuestion) => Promise<MetadataAnswer>
}

/** Where images lie that guests boot from; `<imageId>/disk.qcow2` below it. */
export const imagesDirectory = (config: Pick<Config, 'data'>): string => join(config.data, 'images')

/**
 * The host that the configuration asks for, not started.
 * @throws HostError missing when this machine cannot run guests.
 */
export async function openHost({ config, clock, log, answerMetadata }: HostParts): Promise<HostDriver> {
  if (config.driver === 'memory') {
    return new MemoryDriver({ hostName: config.hostName, clock, filesDir: imagesDirectory(config) })
  }
  if (process.platform !== 'linux' || process.getuid?.() !== 0) {
    throw new HostError(
      'missing',
      'Real guests need Linux and root, for network namespaces. Start Novella as root, or try it with --driver memory.',
    )
  }
  const [{ QemuDriver }, { LinuxNetwork }] = await Promise.all([
    import('./qemu/qemu-driver.ts'),
    import('./linux-network/linux-network.ts'),
  ])
  const user = await ensureSystemUser(config.qemuUser)
  // One name whichever way the directory was spelt: namespaces, DHCP servers and guests are found again by it.
  await mkdir(config.data, { recursive: true })
  const dataDir = await realpath(config.data)
  return new QemuDriver({
    dataDir,
    imagesDir: imagesDirectory({ data: dataDir }),
    hostName: config.hostName,
    accelerator: config.accelerator,
    concurrentBoots: config.concurrentBoots,
    user,
    network: new LinuxNetwork({ dataDir, tapUser: user, answerMetadata, uplink: config.uplink, log }),
    clock,
    log,
  })
}
