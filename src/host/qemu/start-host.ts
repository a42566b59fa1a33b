import { HostError } from '../host-driver.ts'
import { type Accelerator, chooseAccelerator } from './accelerator.ts'
import { detectCgroups } from './cgroup.ts'
import type { GuestInquiry } from './guest-inquiry.ts'
import { Guests } from './guests.ts'
import { rejectAsHostError, toHostError } from './host-failure.ts'
import { Launcher } from './launcher.ts'
import { QemuDisks } from './qemu-disks.ts'
import type { QemuDriverOptions } from './qemu-driver-options.ts'
import { findQemuPrograms, type QemuPrograms } from './qemu-programs.ts'
import { canHaveServerUsers, FIRST_SERVER_UID } from './server-user.ts'
import { prepareState, type StateDirectory } from './state-directory.ts'

/** What a QEMU host finds out, and takes up, when it starts; nothing works before. */
export interface StartedHost {
  guests: Guests
  inquire: () => Promise<GuestInquiry>
  disks: QemuDisks
  launcher: Launcher
  programs: QemuPrograms
  accelerator: Accelerator
  serversDir: string
}

/**
 * Starts the host and its network, and takes up every guest that runs.
 * @param nudge something may have changed by itself.
 * @throws HostError as `HostDriver.start`.
 */
export async function startHost(options: QemuDriverOptions, nudge: () => void): Promise<StartedHost> {
  const { concurrentBoots, clock, log, user, imagesDir } = options
  const programs = findQemuPrograms(options.searchPath)
  const hasServerUsers = canHaveServerUsers()
  if (!hasServerUsers) log.warn('this user namespace is small: all guests run as one user')
  const { dataDir, serversDir, greeting } = preparedState(options, hasServerUsers)
  const cgroups = detectCgroups(dataDir)
  if (cgroups.kind === 'none') log.warn('no control groups on this machine: guests run without CPU and memory limits')
  const choice = { wish: options.accelerator, programs, user, dataDir, log }
  const accelerator = await chooseAccelerator(choice).catch(rejectAsHostError)
  await options.network.start()
  let inquiry: Promise<GuestInquiry> | undefined
  const inquire = (): Promise<GuestInquiry> => {
    inquiry ??= import('./guest-inquiry.ts').then(({ newGuestInquiry }) =>
      newGuestInquiry({ guests, network: options.network, programs, now: () => clock.now() }),
    )
    return inquiry
  }
  // Without an agent it keeps the time it has, until it asks somebody else.
  const ranOn = (serverId: string): void => {
    inquire()
      .then(({ talks }) => talks.setGuestClock(serverId))
      .catch((error: unknown) => log.debug({ err: error, serverId }, 'the clock of a guest that ran on was not set'))
  }
  const guests: Guests = new Guests({ serversDir, cgroups, concurrentBoots, clock, log, nudge, ranOn })
  const disks = new QemuDisks({ dataDir, imagesDir, serversDir, user, guests, programs, hasServerUsers })
  await disks.start()
  guests.findAll()
  const launcher = new Launcher({
    ...{ options, guests, disks, programs, accelerator, greeting, serversDir, hasServerUsers },
  })
  return { guests, inquire, disks, launcher, programs, accelerator, serversDir }
}

function preparedState(options: QemuDriverOptions, hasServerUsers: boolean): StateDirectory {
  try {
    const user = hasServerUsers ? { uid: FIRST_SERVER_UID, gid: FIRST_SERVER_UID } : options.user
    return prepareState({ ...options, user })
  } catch (error) {
    const known = toHostError(error)
    if (known instanceof HostError) throw known
    const { dataDir } = options
    throw new HostError('missing', `The data directory ${dataDir} cannot be used: ${(error as Error).message}`, {
      cause: error,
    })
  }
}
