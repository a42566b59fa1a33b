/**
 * The sweep over servers: reads every host, and settles what changed by itself. A nudge from a host only runs it
 * sooner. Servers with a task are left alone: their action knows more.
 */
import { acceptAction, findOpenAction, supersedeAction } from '../actions/journal.ts'
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { Power } from '../host/host-driver.ts'
import { newId } from '../lib/ids.ts'
import { setPortStatus } from '../ports/port-store.ts'
import { listBlockDevices } from './block-device-store.ts'
import { type CardInput, releaseCard } from './change-cards.ts'
import type { DiskInput } from './change-disks.ts'
import { freeVolume, settleDisks } from './server-disks.ts'
import { swapServer } from './server-store.ts'
import type { SnapshotInput } from './unfinished-images.ts'

/** How often the world is looked at without a nudge, in milliseconds. */
const SWEEP_MS = 10_000

/** What the sweep needs of the cloud. */
type SweepParts = Pick<Cloud, 'db' | 'clock' | 'hosts' | 'log' | 'actions' | 'runner' | 'networkChanges'>

type Shown = Pick<Row<'servers'>, 'vmState' | 'powerState'>

/**
 * What a row must say of a server whose power was read, or undefined when it says so already.
 * `stopped` with power on happens when somebody started the guest by hand: it is shown as it is.
 */
export function settledState(server: Shown, power: Power): Shown | undefined {
  const states: Record<Power, Shown> = {
    on: { vmState: 'active', powerState: 1 },
    paused: { vmState: 'paused', powerState: 3 },
    off: { vmState: 'stopped', powerState: 4 },
    crashed: { vmState: 'stopped', powerState: 6 },
    absent: { vmState: 'stopped', powerState: 4 },
  }
  const seen = states[power]
  if (seen.vmState === server.vmState && (seen.powerState === server.powerState || server.vmState === 'stopped')) {
    return undefined
  }
  return seen
}

/**
 * Settles all servers of one host.
 * @returns how many rows changed.
 */
export async function syncServers(cloud: SweepParts, hostName: string): Promise<number> {
  const { db, clock, hosts, log } = cloud
  const host = hosts.get(hostName)
  if (!host) return 0
  const rows = await db.read
    .selectFrom('servers')
    .select(['id', 'vmState', 'taskState', 'powerState', 'updatedAt'])
    .where('hostName', '=', hostName)
    .where('deletedAt', 'is', null)
    .where('taskState', 'is', null)
    .where('vmState', 'in', ['active', 'paused', 'stopped'])
    .execute()
  // The world is read after the rows: a server whose row is settled meanwhile fails the swap and waits for the next sweep.
  const powers = new Map((await host.readServers()).map(({ serverId, power }) => [serverId, power]))
  await reportStrangers(cloud, hostName, [...powers.keys()])
  let changed = 0
  for (const row of rows) {
    const power = powers.get(row.id) ?? 'absent'
    const seen = settledState(row, power)
    if (!seen) continue
    const done = await db.transaction(async (tx) => {
      if (!(await swapServer(tx, row, seen, clock.now()))) return false
      await setPortStatus(tx, row.id, seen.vmState === 'stopped' ? 'DOWN' : 'ACTIVE')
      return true
    })
    if (!done) continue
    changed += 1
    log.info({ serverId: row.id, power, from: row.vmState, to: seen.vmState }, 'a server changed by itself')
  }
  return changed
}

/** Guests without a living row stay as they are: not to be recognised is no reason to end them. They are logged. */
async function reportStrangers({ db, log }: SweepParts, hostName: string, serverIds: string[]): Promise<void> {
  const known = new Set(
    (await db.read.selectFrom('servers').select('id').where('deletedAt', 'is', null).execute()).map(({ id }) => id),
  )
  const strangers = serverIds.filter((id) => !known.has(id))
  if (strangers.length > 0) log.warn({ hostName, strangers }, 'the host has servers that no row names')
}

/**
 * After a restart of the machine: starts the servers again that ran before. Call it before the first sweep, which
 * would take them for shut down.
 */
export async function resumeServers(cloud: SweepParts, hostName: string): Promise<number> {
  const { db, clock, runner, log } = cloud
  const rows = await db.read
    .selectFrom('servers')
    .select(['id', 'vmState', 'taskState', 'updatedAt', 'projectId', 'userId'])
    .where('hostName', '=', hostName)
    .where('vmState', '=', 'active')
    // A password that was on its way is given up: the guest that was to have it is gone.
    .where(({ eb, or }) => or([eb('taskState', 'is', null), eb('taskState', '=', 'updating_password')]))
    .where('deletedAt', 'is', null)
    .orderBy('launchedAt')
    .execute()
  // A boot that was under way is begun again: what it waits for is gone.
  await db.transaction((tx) =>
    tx
      .updateTable('actions')
      .set({ step: 'powerOn' })
      .where('isOpen', '=', 1)
      .where('step', '=', 'awaitRunning')
      .executeTakeFirst(),
  )
  for (const row of rows) {
    await db.transaction(async (tx) => {
      const now = clock.now()
      if (!(await swapServer(tx, row, { vmState: 'stopped', powerState: 4, taskState: 'powering-on' }, now))) return
      await endDeviceChange(cloud, tx, row.id)
      const { projectId, userId } = row
      await acceptAction(tx, cloud.actions.start, row.id, null, { projectId, userId, requestId: `req-${newId()}` }, now)
    })
  }
  await resumeAfterImages(cloud, hostName)
  if (rows.length > 0) {
    log.info({ servers: rows.length }, 'the machine was restarted: starting the servers again that ran')
    runner.nudge()
  }
  return rows.length
}

/** Servers whose image is being made: that goes on, from the disk at rest, and starts them in the end. */
async function resumeAfterImages({ db, clock, actions }: SweepParts, hostName: string): Promise<void> {
  const names = [actions.createImage.name, actions.createBackup.name]
  const open = await db.read
    .selectFrom('servers')
    .innerJoin('actions', 'actions.resourceId', 'servers.id')
    .select(['servers.id', 'vmState', 'taskState', 'updatedAt', 'actions.id as actionId', 'actions.input'])
    .where('hostName', '=', hostName)
    .where('vmState', '=', 'active')
    .where('deletedAt', 'is', null)
    .where('actions.isOpen', '=', 1)
    .where('actions.name', 'in', names)
    .execute()
  for (const { actionId, input, ...row } of open) {
    await db.transaction(async (tx) => {
      if (!(await swapServer(tx, row, { vmState: 'stopped', powerState: 4 }, clock.now()))) return
      const again: SnapshotInput = { ...JSON.parse(input), startsAgain: true }
      await tx
        .updateTable('actions')
        .set({ input: JSON.stringify(again) })
        .where('id', '=', actionId)
        .execute()
    })
  }
}

/**
 * A card or disk that was on its way when the machine went down: the start plugs whatever the rows say the server has.
 * No guest holds on to what was to go.
 */
async function endDeviceChange(cloud: SweepParts, tx: Tx, serverId: string): Promise<void> {
  const open = await findOpenAction(tx, serverId)
  if (!open) return
  const { actions, clock } = cloud
  if (open.name === actions.detachInterface.name) {
    await releaseCard(cloud, tx, serverId, (JSON.parse(open.input) as CardInput).portId)
  }
  if (open.name === actions.detachVolume.name) {
    const { volumeId } = JSON.parse(open.input) as DiskInput
    for (const device of await listBlockDevices(tx, serverId)) {
      if (device.volumeId === volumeId) await freeVolume(tx, device, clock.now())
    }
  }
  await settleDisks(tx, serverId, clock.now())
  await supersedeAction(tx, serverId, cloud.clock.now())
}

/** Sweeps now, on every nudge of a host, and every SWEEP_MS; one sweep at a time. */
export function sweepServers(cloud: SweepParts): AsyncDisposable {
  let isStopped = false
  let running: Promise<void> | undefined
  let isWanted = false
  const sweep = (): void => {
    isWanted = true
    running ??= (async () => {
      while (isWanted && !isStopped) {
        isWanted = false
        for (const hostName of cloud.hosts.keys()) {
          await syncServers(cloud, hostName).catch((error) =>
            cloud.log.error({ err: error, hostName }, 'the sweep over servers failed'),
          )
        }
      }
      running = undefined
    })()
  }
  let cancel = () => {}
  const again = (): void => {
    cancel = cloud.clock.after(SWEEP_MS, () => {
      sweep()
      again()
    })
  }
  const forgets = [...cloud.hosts.values()].map((host) =>
    host.onNudge(() => {
      sweep()
      cloud.runner.nudge()
    }),
  )
  sweep()
  again()
  return {
    async [Symbol.asyncDispose]() {
      isStopped = true
      cancel()
      for (const forget of forgets) forget()
      await running
    },
  }
}
