import { type CardPlan, type HardwarePlan, MOST_CARDS, type ServerPlan } from '../host-driver.ts'
import type { StoredVolume } from '../volumes/volume-backend.ts'
import { configDriveArgs } from './config-drive.ts'
import { bootOrder, diskArgs, rootDisk } from './disk-args.ts'
import { CONSOLE_FD } from './launch-command.ts'
import {
  cardBus,
  cardDriver,
  type DiskKind,
  diskControllers,
  diskPlace,
  type Firmware,
  machineArgs,
  ROOT_PORTS,
  rootPorts,
} from './machine-args.ts'
import type { ServerFiles } from './server-files.ts'

/** A kernel that QEMU loads itself, which spares the guest its boot loader. */
export interface DirectBoot {
  kernel: string
  initrd: string | undefined
  /** The kernel's command line. */
  cmdline: string
}

export interface QemuInput {
  plan: ServerPlan
  files: ServerFiles
  /** The qcow2 file below the server's overlay; undefined when it has none, and boots from a volume. */
  baseDisk: string | undefined
  /** Where the disks of `plan.disks` lie, in their order. */
  storedDisks: readonly StoredVolume[]
  directBoot: DirectBoot | undefined
  /** Undefined for the BIOS that QEMU brings. */
  firmware?: Firmware | undefined
  accelerator: 'tcg' | 'kvm'
  /** Where the taps of `plan.ports` are open, in their order. */
  tapFds: readonly number[]
}

/** `,` ends an option's value in QEMU; a comma of the value is written twice. */
const escaped = (value: string): string => value.replaceAll(',', ',,')

/**
 * QEMU's arguments for one server, program name left out. Pure. Formats are always named, never guessed; the backing
 * file too is named here, so that what an overlay's header says does not count.
 * @throws HostError `startFailed` for disks that the machine has no place for.
 * Source: measured in this shape (machine, devices, sandbox); qemu-system(1).
 */
export function qemuArgs(input: QemuInput): string[] {
  const { plan, files, accelerator } = input
  const { hardware } = plan
  return [
    ...['-name', plan.serverId, '-uuid', plan.serverId],
    // Stands still until the driver says `cont`: see sockets-directory.ts.
    ...['-S', '-no-user-config', '-nodefaults', '-display', 'none'],
    ...machineArgs(hardware, input.firmware),
    ...(accelerator === 'kvm' ? ['-accel', 'kvm', '-cpu', 'host'] : ['-accel', 'tcg,tb-size=32', '-cpu', 'max']),
    ...['-m', `${plan.ramMib}M`, '-smp', `${plan.vcpus},sockets=1,cores=${plan.vcpus},threads=1`],
    ...['-smbios', smbios(plan.serverId)],
    ...directBoot(input.directBoot),
    ...rootPorts(hardware),
    ...diskControllers(hardware, new Set([hardware.diskBus, ...plan.disks.map(({ bus }) => bus ?? hardware.diskBus)])),
    ...disks(input),
    ...configDriveArgs(plan, files, CONFIG_DRIVE_PORT),
    ...plan.ports.flatMap((port, index) => card(port, index, input.tapFds[index], hardware)),
    ...['-vga', 'std', '-vnc', `unix:${escaped(files.vnc)},share=force-shared`],
    ...(hardware.hasAgent ? agent(files) : []),
    // The log goes to the writer at the other end of a pipe.
    ...['-add-fd', `set=1,fd=${CONSOLE_FD}`],
    ...['-chardev', `${socket(SERIAL_CHARDEV, files.serial)},logfile=/dev/fdset/1,logappend=on`],
    ...['-serial', `chardev:${SERIAL_CHARDEV}`],
    ...['-device', 'virtio-balloon-pci,id=balloon0'],
    ...(hardware.hasRandom ? ['-device', 'virtio-rng-pci'] : []),
    ...['-chardev', socket('qmp0', files.qmp), '-mon', 'chardev=qmp0,mode=control'],
    ...['-chardev', socket('tools0', files.tools), '-mon', 'chardev=tools0,mode=control'],
    // A monitor on stdio: stdin greets it once, and from then on stdout records every event, also while we are away.
    ...['-chardev', 'stdio,id=events0,signal=off', '-mon', 'chardev=events0,mode=control'],
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
  ]
}

/** The id under which QMP reports the guest agent's port. */
export const AGENT_PORT = 'agent-port'
/** The id of the serial console's character device. */
const SERIAL_CHARDEV = 'serial0'
/** The id of the guest agent's character device. */
export const AGENT_CHARDEV = 'agent0'

const agent = (files: ServerFiles): string[] => [
  ...['-device', 'virtio-serial-pci'],
  ...['-chardev', socket(AGENT_CHARDEV, files.guestAgent)],
  ...['-device', `virtserialport,chardev=${AGENT_CHARDEV},id=${AGENT_PORT},name=org.qemu.guest_agent.0`],
]

const socket = (id: string, path: string): string => `socket,id=${id},path=${escaped(path)},server=on,wait=off`

/** Guests look for these words before they ask for OpenStack metadata. Source: cloud-init, DataSourceOpenStack.py. */
const smbios = (serverId: string): string =>
  `type=1,manufacturer=OpenStack Foundation,product=OpenStack Nova,uuid=${serverId},serial=${serverId}`

function directBoot(boot: DirectBoot | undefined): string[] {
  if (!boot) return []
  const initrd = boot.initrd === undefined ? [] : ['-initrd', boot.initrd]
  return ['-kernel', boot.kernel, ...initrd, '-append', boot.cmdline]
}

function disks({ plan, files, baseDisk, storedDisks }: QemuInput): string[] {
  const order = bootOrder(plan.disks)
  const ports = [ROOT_PORT, ...DISK_PORTS]
  const placed: DiskKind[] = []
  const place = (kind: DiskKind) => {
    const index = placed.filter(({ bus }) => bus === kind.bus).length
    placed.push(kind)
    return diskPlace(plan.hardware, kind, index, ports[placed.length - 1])
  }
  const { diskBus } = plan.hardware
  const own =
    baseDisk === undefined
      ? []
      : rootDisk({ file: files.disk, base: baseDisk }, place({ bus: diskBus, isCd: false }), order.size + 1)
  // A guest names its disks in the order of their places: the first one is `vda`, whether of an image or a volume.
  const others = plan.disks.flatMap((disk, index) => {
    const stored = storedDisks[index]
    if (!stored) throw new Error(`disk ${disk.diskId} is not stored`)
    const kind = { bus: disk.bus ?? diskBus, isCd: disk.isCd === true }
    return diskArgs(disk, stored, place(kind), order.get(disk.diskId))
  })
  return [...own, ...others]
}

function card(port: CardPlan, index: number, fd: number | undefined, hardware: HardwarePlan): string[] {
  if (fd === undefined) throw new Error(`port ${port.portId} has no tap`)
  const { netdev } = cardIds(port.portId)
  const made = cardDevice(port, cardBus(hardware, CARD_PORTS[index] ?? ''), hardware.cardModel)
  const device = Object.entries(made).map(([name, value]) => `${name}=${value}`)
  return ['-netdev', `tap,id=${netdev},fd=${fd}`, '-device', device.join(',')]
}

/** Where all devices of cards begin. */
export const CARD_DEVICE_PREFIX = 'card-'

/** How QMP calls the two halves of a card: by the port's id, so that whoever comes later finds them. */
export const cardIds = (portId: string): { netdev: string; device: string } => ({
  netdev: `net-${portId}`,
  device: `${CARD_DEVICE_PREFIX}${portId}`,
})

/** A card as QEMU makes it, at its start or in a guest that runs. It loads no boot program. */
export const cardDevice = (
  { portId, macAddress, mtu }: CardPlan,
  bus: string,
  model: HardwarePlan['cardModel'],
): Record<string, string | number> => {
  const { netdev, device } = cardIds(portId)
  // Only virtio can tell the guest how much the network carries; with the others it hears so by DHCP alone.
  const told: Record<string, number> = model === 'virtio' ? { host_mtu: mtu } : {}
  return { driver: cardDriver(model), netdev, id: device, mac: macAddress, ...told, romfile: '', bus }
}

const portsFrom = (first: number, end: number): readonly string[] =>
  Array.from({ length: end - first }, (_, i) => `rp${first + i}`)

/** Where the disk is that the guest knows as its first. */
export const ROOT_PORT = 'rp0'
/** The root ports that cards and disks may use, in the order they are given out. Each kind has its own. */
export const CARD_PORTS = portsFrom(1, 1 + MOST_CARDS)
export const DISK_PORTS = portsFrom(1 + MOST_CARDS, ROOT_PORTS - 1)
const CONFIG_DRIVE_PORT = `rp${ROOT_PORTS - 1}`
