import type { Duplex } from 'node:stream'
import type { Cloud } from '../cloud.ts'
import type { HostDriver } from '../host/host-driver.ts'
import { HostError } from '../host/host-driver.ts'
import { ApiError } from '../http/api-error.ts'
import { type ConsoleState, type ConsoleType, findConsole, useConsole } from './console-store.ts'

const REFUSAL: Record<Exclude<ConsoleState, 'ready'>, string> = {
  unknown: 'This console link is not valid. Ask for a new one.',
  used: 'This console link was used before; each opens one console, once. Ask for a new one.',
  expired: 'This console link has expired. Ask for a new one.',
}
const OFF = 'The server is not running. Start it, and open the console again.'

/** What a host is asked for, and how it is spoken of. */
const KINDS = {
  novnc: { open: (host, serverId) => host.openVnc(serverId), word: 'screen' },
  serial: { open: (host, serverId) => host.openSerial(serverId), word: 'serial console' },
} satisfies Record<ConsoleType, { open(host: HostDriver, serverId: string): Promise<Duplex>; word: string }>

/** What people call a console of this type. */
export const consoleWord = (type: ConsoleType): string => KINDS[type].word

/**
 * The server a token leads to, and the host it runs on. The token stays good.
 * @throws ApiError unauthorized for a token that is not ready, or of another type; itemNotFound for a deleted server;
 *   conflictingRequest for one that does not run; serviceUnavailable when its host cannot be asked.
 */
export async function checkConsole(
  cloud: Cloud,
  type: ConsoleType,
  token: string,
): Promise<{ serverId: string; host: HostDriver }> {
  const { state, serverId, hostName } = await findConsole(cloud.db.read, type, token, cloud.clock.now())
  if (state !== 'ready') throw new ApiError('unauthorized', REFUSAL[state])
  if (serverId === undefined || hostName === undefined) {
    throw new ApiError('itemNotFound', 'The server of this console link is not there any more.')
  }
  const host = cloud.hosts.get(hostName)
  if (!host) throw new ApiError('serviceUnavailable', 'The host of this server cannot be reached just now.')
  if ((await host.readPower(serverId)) !== 'on') throw new ApiError('conflictingRequest', OFF)
  return { serverId, host }
}

/**
 * Opens the console of the server that a token leads to, and uses the token up. A token whose server does not run
 * stays good, so that its link works once the server does.
 * @throws ApiError as `checkConsole`; conflictingRequest also for a guest that has no such console until it is started
 *   again.
 */
export async function openConsole(
  cloud: Cloud,
  type: ConsoleType,
  token: string,
): Promise<{ serverId: string; stream: Duplex }> {
  const { serverId, host } = await checkConsole(cloud, type, token)
  const stream = await openStream(cloud, type, host, serverId)
  try {
    const isOurs = await cloud.db.transaction((tx) => useConsole(tx, type, token, cloud.clock.now()))
    if (!isOurs) throw new ApiError('unauthorized', REFUSAL.used)
  } catch (error) {
    stream.destroy()
    throw error
  }
  return { serverId, stream }
}

async function openStream({ log }: Cloud, type: ConsoleType, host: HostDriver, serverId: string): Promise<Duplex> {
  const { open, word } = KINDS[type]
  try {
    const stream = await open(host, serverId)
    // From here on it may break at any moment, also before anyone reads from it.
    return stream.on('error', (error) => log.debug({ err: error, serverId }, `a ${word} failed`))
  } catch (error) {
    if (error instanceof HostError && error.failure === 'notRunning') {
      throw new ApiError('conflictingRequest', OFF, { cause: error })
    }
    if (error instanceof HostError && error.failure === 'notPlugged') {
      throw new ApiError('conflictingRequest', error.message, { cause: error })
    }
    throw new ApiError('serviceUnavailable', `The ${word} of this server cannot be opened just now.`, { cause: error })
  }
}
