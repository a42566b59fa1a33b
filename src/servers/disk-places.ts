/** Which disks a machine can have, told before anything is made of them. Pure. */
import type { DiskBus } from '../db/volume-schema.ts'
import type { HardwarePlan } from '../host/host-driver.ts'
import type { BlockDevice } from './block-device-store.ts'

type Placed = Pick<BlockDevice, 'diskBus' | 'deviceType' | 'isReadOnly'>
type Machine = Pick<HardwarePlan, 'machine' | 'diskBus'>

/** What a disk is plugged into: what was wished for, else the machine's own bus; virtio has no CDs. */
export function busOf({ machine, diskBus }: Machine, disk: Pick<Placed, 'diskBus' | 'deviceType'>): DiskBus {
  if (disk.diskBus !== null) return disk.diskBus
  if (disk.deviceType === 'cdrom' && diskBus === 'virtio') return machine === 'pc' ? 'ide' : 'sata'
  return diskBus
}

/** Why a machine cannot have such a disk, in the caller's terms; undefined: it can. */
export function complainOfPlace(hardware: Machine, disk: Placed): string | undefined {
  const bus = busOf(hardware, disk)
  if (bus === 'virtio' && disk.deviceType === 'cdrom') return 'there are no CDs on virtio; use sata, scsi or ide.'
  if (bus === 'ide' && hardware.machine !== 'pc') {
    return 'a q35 machine has no IDE; the image needs hw_machine_type=pc, or use sata.'
  }
  if (disk.isReadOnly === 1 && disk.deviceType !== 'cdrom' && (bus === 'ide' || bus === 'sata')) {
    return `it is read-only, which disks on ${bus} cannot be; use virtio or scsi, or a device_type of cdrom.`
  }
  return undefined
}
