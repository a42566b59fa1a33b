/** Devices that come and go while a guest runs: what is there is always asked of QEMU. */
import { setTimeout as pause } from 'node:timers/promises'
import { HostError } from '../host-driver.ts'
import type { Guest } from './guest.ts'
import { QmpError, readObjects } from './qmp-client.ts'

/** How long a guest may take to let go of a device; one whose system is up takes a tenth of a second. */
const LET_GO_MS = 4_000
const LOOK_EVERY_MS = 20

/** Devices with an id are here. Source: the QEMU object model. */
const DEVICES = '/machine/peripheral'

export interface Device {
  name: string
  /** As QEMU's object model has it: `child<virtio-blk-pci>`. */
  type: string
}

/** Every device with an id that the guest has. */
export async function readDevices(guest: Guest): Promise<Device[]> {
  const properties = readObjects(await guest.execute('qom-list', { path: DEVICES }))
  const named = properties.map(({ name, type }) => ({ name: String(name), type: String(type) }))
  return named.filter(({ type }) => type.startsWith('child<'))
}

export const readProperty = (guest: Guest, { name }: Device, property: string): Promise<unknown> =>
  guest.execute('qom-get', { path: `${DEVICES}/${name}`, property })

/**
 * A root port without a device; the guest's firmware would not tell before it has looked at its buses.
 * @param order the ports that may be used, in the order they are given out.
 * @throws HostError `startFailed` for a machine that has no root ports.
 */
export async function findFreePort(
  guest: Guest,
  devices: readonly Device[],
  order: readonly string[],
): Promise<string | undefined> {
  const ports = devices.filter(({ type }) => type === 'child<pcie-root-port>').map(({ name }) => name)
  if (ports.length === 0) {
    throw new HostError(
      'startFailed',
      'The server takes no devices while it runs: its image asks for a machine (pc) that gets them at its start only.',
    )
  }
  const others = devices.filter(({ name }) => !ports.includes(name))
  const buses = await Promise.all(others.map((device) => readProperty(guest, device, 'parent_bus')))
  const taken = new Set(buses.map((bus) => String(bus).split('/').at(-1)))
  return order.find((port) => ports.includes(port) && !taken.has(port))
}

/**
 * Takes a device out of the guest.
 * @param what it is, for the message.
 * @throws HostError `unreachable` when the guest does not let go of it.
 */
export async function removeDevice(guest: Guest, name: string, what: string): Promise<void> {
  // QEMU refuses to ask for a device that it has asked for already, or that has just gone.
  await guest.execute('device_del', { id: name }).catch((error: unknown) => {
    if (!(error instanceof QmpError)) throw error
  })
  const deadline = performance.now() + LET_GO_MS
  while ((await readDevices(guest)).some((device) => device.name === name)) {
    if (performance.now() > deadline) {
      throw new HostError('unreachable', `The guest does not let go of its ${what}; it may still be starting.`)
    }
    await pause(LOOK_EVERY_MS)
  }
}
