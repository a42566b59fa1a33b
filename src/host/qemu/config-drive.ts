/**
 * The config drive of a server that starts: a file in its directory, written anew each time, and a device the guest can
 * only read. It is on the bus that the guest's disks are on, since that one it can drive for sure: a CD where the bus
 * has such, a disk on virtio. Its place is the last one, so that the names of disks do not shift.
 */
import { chownSync, rmSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { type HardwarePlan, HostError, type ServerPlan } from '../host-driver.ts'
import { type DiskPlace, IDE_DISKS, PCI_BUS, SATA_DISKS, SCSI_CONTROLLER } from './machine-args.ts'
import type { ServerFiles } from './server-files.ts'
import type { User } from './server-user.ts'

const NAME = 'config-drive'

/**
 * Makes the server's file what the plan says; without a drive there is none.
 * @param user whom its QEMU runs as, and nobody else may read it: passwords are in there.
 */
export async function placeConfigDrive(
  { configDrive }: Pick<ServerPlan, 'configDrive'>,
  files: ServerFiles,
  user: User,
): Promise<void> {
  if (configDrive === undefined) return rmSync(files.configDrive, { force: true })
  // Not made to survive a power cut: the next start writes it anew.
  const unfinished = `${files.configDrive}.unfinished`
  await writeFile(unfinished, configDrive, { mode: 0o600 })
  chownSync(unfinished, user.uid, user.gid)
  await rename(unfinished, files.configDrive)
}

/** What QEMU is told of it. @throws HostError `startFailed` when disks have all places of its bus. */
export function configDriveArgs(plan: ServerPlan, files: ServerFiles, lastRootPort: string): string[] {
  if (plan.configDrive === undefined) return []
  const filename = files.configDrive
  const node = {
    ...{ driver: 'raw', 'node-name': NAME, 'read-only': true },
    file: { driver: 'file', filename, 'read-only': true },
  }
  const { driver, ...where } = placeOf(plan, lastRootPort)
  const device = Object.entries({ drive: NAME, id: NAME, ...where }).map(([name, value]) => `${name}=${value}`)
  return ['-blockdev', JSON.stringify(node), '-device', `${driver},${device.join(',')}`]
}

function placeOf(plan: ServerPlan, lastRootPort: string): DiskPlace {
  const { machine, diskBus } = plan.hardware
  const taken = (plan.imageId === null ? 0 : 1) + plan.disks.filter(({ bus = diskBus }) => bus === diskBus).length
  switch (diskBus) {
    case 'virtio':
      return { driver: 'virtio-blk-pci', bus: machine === 'pc' ? PCI_BUS : lastRootPort }
    case 'scsi':
      return { driver: 'scsi-cd', bus: `${SCSI_CONTROLLER}.0` }
    case 'sata':
      if (taken >= SATA_DISKS) throw noPlace(diskBus)
      return { driver: 'ide-cd', bus: `${machine === 'pc' ? 'ahci0' : 'ide'}.${SATA_DISKS - 1}` }
    case 'ide':
      if (taken >= IDE_DISKS) throw noPlace(diskBus)
      return { driver: 'ide-cd', bus: `ide.${(IDE_DISKS - 1) >> 1}`, unit: (IDE_DISKS - 1) & 1 }
  }
}

const noPlace = (bus: HardwarePlan['diskBus']): HostError =>
  new HostError('startFailed', `The disks of the server leave no place on ${bus.toUpperCase()} for its config drive.`)
