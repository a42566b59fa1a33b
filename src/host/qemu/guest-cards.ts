/**
 * Network cards that come and go while a guest runs. A card has two halves in QEMU: the device the guest sees, and the
 * netdev that holds the tap; both are named after the port, and what is there is always asked of QEMU.
 *
 *   plug     (leftover netdev goes) → tap handed over as netdev → device
 *   unplug   device asked for, and given up by the guest → netdev goes
 */
import { readFileSync } from 'node:fs'
import { type CardPlan, type HardwarePlan, HostError, MOST_CARDS } from '../host-driver.ts'
import type { Guest } from './guest.ts'
import { type Device, findFreePort, readDevices, removeDevice } from './guest-devices.ts'
import { type HandOver, handOverTap } from './hand-over-tap.ts'
import { FIRST_TAP_FD } from './launch-command.ts'
import { cardModelOf } from './machine-args.ts'
import { CARD_PORTS, cardDevice, cardIds } from './qemu-args.ts'
import { QmpError } from './qmp-client.ts'

/** Of any model. @param type as QEMU's object model has it. */
const isCard = ({ type }: Device): boolean => cardModelOf(type.slice('child<'.length, -1)) !== undefined

/** The names of a card's halves. */
interface CardIds {
  netdev: string
  device: string
}

/**
 * Gives a guest that runs a card, unless it has it.
 * @param model what its machine was started with.
 * @throws HostError `startFailed` when it takes no more; QmpError, CommandError, Error of a monitor that does not answer.
 */
export async function plugCard(
  guest: Guest,
  card: CardPlan,
  model: HardwarePlan['cardModel'],
  handOver: Omit<HandOver, 'netdev'>,
): Promise<void> {
  const devices = await readDevices(guest)
  const known = namesOf(guest, card.portId, handOver.tap.tapName)
  if (devices.some(({ name }) => known.some(({ device }) => device === name))) return
  const bus = await findFreePort(guest, devices, CARD_PORTS)
  if (bus === undefined || devices.filter(isCard).length >= MOST_CARDS) {
    throw new HostError('startFailed', `The server takes no more network cards: it has ${MOST_CARDS} at most.`)
  }
  for (const { netdev } of known) await removeNetdev(guest, netdev)
  const { netdev } = cardIds(card.portId)
  await handOverTap({ ...handOver, netdev })
  try {
    await guest.execute('device_add', cardDevice(card, bus, model))
  } catch (error) {
    await removeNetdev(guest, netdev)
    throw error
  }
}

/**
 * Takes a card out of a guest that runs; accepts that it has none such.
 * @param tapName the tap of the port, as far as it is there.
 * @throws HostError `unreachable` when the guest does not let go of it; QmpError, Error as above.
 */
export async function unplugCard(guest: Guest, portId: string, tapName: string | undefined): Promise<void> {
  const devices = await readDevices(guest)
  for (const card of namesOf(guest, portId, tapName)) {
    if (devices.some(({ name }) => name === card.device)) await removeDevice(guest, card.device, 'network card')
    await removeNetdev(guest, card.netdev)
  }
}

/**
 * What the halves of a port's card may be called. Guests of the first Novella have numbered cards; of those the kernel
 * knows which tap each of their descriptors is.
 */
function namesOf({ pid }: Guest, portId: string, tapName: string | undefined): CardIds[] {
  const names = [cardIds(portId)]
  for (let number = 0; number < MOST_CARDS; number++) {
    if (pid === undefined || tapName === undefined) break
    if (readTapName(pid, FIRST_TAP_FD + number) !== tapName) continue
    names.push({ netdev: `net${number}`, device: `card${number}` })
  }
  return names
}

/** Which tap a descriptor of a process is. Source: tun_chr_show_fdinfo in drivers/net/tun.c. */
function readTapName(pid: number, fd: number): string | undefined {
  try {
    return /^iff:\s*(\S+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))?.[1]
  } catch {
    return undefined
  }
}

async function removeNetdev(guest: Guest, id: string): Promise<void> {
  await guest.execute('netdev_del', { id }).catch((error: unknown) => {
    if (!(error instanceof QmpError) || error.qmpClass !== 'DeviceNotFound') throw error
  })
}
