/**
 * The machine around a guest, as its image wants it. Pure.
 *
 *   q35   PCI Express: a root port for each card and each virtio disk, also for those that come later
 *   pc    plain PCI, for systems that know nothing else: no cards or virtio disks come while it runs
 */
import { type HardwarePlan, HostError } from '../host-driver.ts'

/** The controller of SCSI disks, which come and go on any machine. */
export const SCSI_CONTROLLER = 'scsi0'

/** PCIe slots that take a device at run time; a machine cannot get more later. */
export const ROOT_PORTS = 16

/** The one PCI bus of a pc. */
export const PCI_BUS = 'pci.0'

/** How many disks the controllers take. Source: QEMU, hw/ide: PIIX has two channels of two, an AHCI of q35 six ports. */
export const IDE_DISKS = 4
export const SATA_DISKS = 6

/** Two slots of eight functions each on the root bus. */
export function rootPorts({ machine }: HardwarePlan): string[] {
  if (machine === 'pc') return []
  return Array.from({ length: ROOT_PORTS }, (_, i) => {
    const address = `${i < 8 ? '10' : '11'}.${i % 8}${i % 8 === 0 ? ',multifunction=on' : ''}`
    return ['-device', `pcie-root-port,id=rp${i},bus=pcie.0,chassis=${i + 1},slot=${i + 1},addr=${address}`]
  }).flat()
}

/** What a disk's device is, and where it goes. */
export interface DiskPlace {
  driver: string
  bus: string
  /** Of an IDE channel: 0 or 1. */
  unit?: number
}

/** What a disk is plugged into, and whether as a CD. */
export interface DiskKind {
  bus: HardwarePlan['diskBus']
  isCd: boolean
}

/**
 * Where a disk goes that the machine starts with.
 * @param index of the disk among those on its bus, from 0, in the order in which the guest names them.
 * @param rootPort what q35 has for a virtio disk; undefined: no more.
 * @throws HostError `startFailed` for a bus that the machine does not have, or that takes no more disks.
 */
export function diskPlace(
  { machine }: Pick<HardwarePlan, 'machine'>,
  { bus, isCd }: DiskKind,
  index: number,
  rootPort: string | undefined,
): DiskPlace {
  const ide = isCd ? 'ide-cd' : 'ide-hd'
  switch (bus) {
    case 'scsi':
      return scsiPlace(isCd)
    case 'ide':
      if (machine !== 'pc') throw noIde()
      if (index >= IDE_DISKS) throw noMore('IDE', IDE_DISKS)
      return { driver: ide, bus: `ide.${index >> 1}`, unit: index & 1 }
    case 'sata':
      if (index >= SATA_DISKS) throw noMore('SATA', SATA_DISKS)
      return { driver: ide, bus: `${machine === 'pc' ? 'ahci0' : 'ide'}.${index}` }
    case 'virtio': {
      if (isCd) throw new HostError('startFailed', 'There are no CDs on virtio.')
      const port = machine === 'pc' ? PCI_BUS : rootPort
      if (port === undefined) throw new Error(`disk ${index} has no root port`)
      return { driver: 'virtio-blk-pci', bus: port }
    }
  }
}

export const scsiPlace = (isCd: boolean): DiskPlace => ({
  driver: isCd ? 'scsi-cd' : 'scsi-hd',
  bus: `${SCSI_CONTROLLER}.0`,
})

const noIde = (): HostError =>
  new HostError(
    'startFailed',
    'The image asks for disks on IDE, which a q35 machine does not have: it needs hw_machine_type=pc, or another hw_disk_bus.',
  )

const noMore = (name: string, most: number): HostError =>
  new HostError('startFailed', `The image asks for disks on ${name}, which takes ${most} of them; the server has more.`)

/** The controllers that disks on these buses need besides what the machine has. */
export function diskControllers({ machine }: HardwarePlan, buses: ReadonlySet<HardwarePlan['diskBus']>): string[] {
  const scsi = buses.has('scsi') ? ['-device', `virtio-scsi-pci,id=${SCSI_CONTROLLER}`] : []
  return buses.has('sata') && machine === 'pc' ? [...scsi, '-device', 'ahci,id=ahci0'] : scsi
}

/** Where a card goes. @param rootPort what q35 has for it. */
export const cardBus = ({ machine }: HardwarePlan, rootPort: string): string => (machine === 'pc' ? PCI_BUS : rootPort)

const CARD_DRIVERS: Readonly<Record<HardwarePlan['cardModel'], string>> = {
  virtio: 'virtio-net-pci',
  e1000: 'e1000',
  e1000e: 'e1000e',
  rtl8139: 'rtl8139',
}

export const cardDriver = (model: HardwarePlan['cardModel']): string => CARD_DRIVERS[model]

/** Which model a device is, by the name of its driver; undefined for what is no card. */
export const cardModelOf = (driver: string): HardwarePlan['cardModel'] | undefined =>
  (Object.keys(CARD_DRIVERS) as HardwarePlan['cardModel'][]).find((model) => CARD_DRIVERS[model] === driver)

/** UEFI's code, which all share, and the file in which the server's firmware keeps what it is told. */
export interface Firmware {
  code: string
  variables: string
}

export const CODE_NODE = 'firmware-code'
export const VARIABLES_NODE = 'firmware-variables'

/** The machine by name, with its firmware when that is not the BIOS which QEMU brings. */
export function machineArgs({ machine }: HardwarePlan, firmware: Firmware | undefined): string[] {
  if (!firmware) return ['-machine', machine]
  const flash = (node: string, filename: string, isReadOnly: boolean): string[] => [
    '-blockdev',
    JSON.stringify({
      ...{ driver: 'raw', 'node-name': node, 'read-only': isReadOnly },
      file: { driver: 'file', filename, 'read-only': isReadOnly },
    }),
  ]
  return [
    ...flash(CODE_NODE, firmware.code, true),
    ...flash(VARIABLES_NODE, firmware.variables, false),
    ...['-machine', `${machine},pflash0=${CODE_NODE},pflash1=${VARIABLES_NODE}`],
  ]
}
