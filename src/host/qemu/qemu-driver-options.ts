import type { Logger } from 'pino'
import type { Clock } from '../../lib/clock.ts'
import type { Accelerator } from './accelerator.ts'
import type { HostNetwork } from './host-network.ts'

/** What the driver is built with. */
export interface QemuDriverOptions {
  /** Absolute. The driver keeps its state in `servers/` below it, and a few small files beside. */
  dataDir: string
  /**
   * Absolute. `<imageId>/disk.qcow2` below it, and for a boot without boot loader `kernel`, `initrd`, `cmdline`. The
   * directory of an image may be a link to `<imageId>.<hex>` beside it; its target may change, a disk never.
   */
  imagesDir: string
  hostName: string
  accelerator: 'auto' | Accelerator
  /** How many guests may boot at once. */
  concurrentBoots: number
  /** Whom QEMU runs as when the accelerator is tried, and where servers cannot have users of their own. */
  user: { uid: number; gid: number }
  /** Started and disposed with the driver. */
  network: HostNetwork
  clock: Clock
  log: Logger
  /** Where programs are looked for, colon-separated; Debian's system directories by default. */
  searchPath?: string
}
