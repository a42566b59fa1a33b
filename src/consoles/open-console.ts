import type { Duplex } from 'node:stream'
import type { Cloud } from '../cloud.ts'
import type { HostDriver } from '../host/host-driver.ts'
import { HostError } from '../host/host-driver.ts'
import { ApiError } from '../http/api-error.ts'
import { type ConsoleState, findConsole, useConsole } from './console-store.ts'

const REFUSAL: Record<Exclude<ConsoleState, 'ready'>, string> = {
  unknown: 'This console link is not valid. Ask for a new one.',
  used: 'This console link was used before; each opens one console, once. Ask for a new one.',
  expired: 'This console link has expired. Ask for a new one.',
}
const OFF = 'The server is not running. Start it, and open the console again.'

/**
 * The server a token leads to, and the host it runs on. The token stays good.
 * @throws ApiError unauthorized for a token that is not ready; itemNotFound for a deleted server;
 *   conflictingRequest for one that does not run; serviceUnavailable when its host cannot be asked.
 */
export async function checkConsole(cloud: Cloud, token: string): Promise<{ serverId: string; host: HostDriver }> {
  const { state, serverId, hostName } = await findConsole(cloud.db.read, token, cloud.clock.now())
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
 * Opens the screen of the server that a token leads to, and uses the token up. A token whose server does not run
 * stays good, so that its link works once the server does.
 * @throws ApiError as `checkConsole`.
 */
export async function openConsole(cloud: Cloud, token: string): Promise<{ serverId: string; screen: Duplex }> {
  const { serverId, host } = await checkConsole(cloud, token)
  const screen = await openScreen(cloud, host, serverId)
  try {
    const isOurs = await cloud.db.transaction((tx) => useConsole(tx, token, cloud.clock.now()))
    if (!isOurs) throw new ApiError('unauthorized', REFUSAL.used)
  } catch (error) {
    screen.destroy()
    throw error
  }
  return { serverId, screen }
}

async function openScreen({ log }: Cloud, host: HostDriver, serverId: string): Promise<Duplex> {
  try {
    const screen = await host.openVnc(serverId)
    // From here on it may break at any moment, also before anyone reads from it.
    return screen.on('error', (error) => log.debug({ err: error, serverId }, 'a screen failed'))
  } catch (error) {
    if (error instanceof HostError && error.failure === 'notRunning') {
      throw new ApiError('conflictingRequest', OFF, { cause: error })
    }
    throw new ApiError('serviceUnavailable', 'The screen of this server cannot be opened just now.', { cause: error })
  }
}
