/** What the durable actions of servers share: their subject, their plans, and how task states and faults are written. */
import type { Action, Outcome, Save, StepFacts } from '../actions/action.ts'
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import type { Row, TaskState } from '../db/schema.ts'
import { type HostDriver, HostError, type ServerPlan } from '../host/host-driver.ts'
import { ApiError } from '../http/api-error.ts'
import { hardwareOf } from '../images/hardware-of.ts'
import { hostNameOf } from '../lib/host-names.ts'
import { listPortsOfServer, readPortPlan, setPortStatus } from '../ports/port-store.ts'
import { type BlockDevice, listBlockDevices } from './block-device-store.ts'
import { configDriveOf } from './config-drive.ts'
import { diskPlanOf } from './server-disks.ts'
import { updateServer } from './server-store.ts'

/** What actions need of the cloud. */
export type ActionParts = Pick<Cloud, 'config' | 'db' | 'box' | 'clock' | 'hosts' | 'log' | 'networkChanges'>

/** What the steps of a server's actions work on. */
export interface ServerSubject {
  server: Row<'servers'>
  ports: Row<'ports'>[]
  /** Besides the one of its image. */
  disks: BlockDevice[]
  /** The host the server is on. @throws HostError unreachable when it is on none this process reaches. */
  readonly host: HostDriver
}

type TaskStateOf<Input> = (input: Input) => TaskState

interface ServerActionSpec<Input, Step extends string> {
  name: string
  first: Step
  deadlineMs: number
  /** The task state users see while a step runs; none when left out. */
  taskStates?: Record<Step, TaskState | TaskStateOf<Input>>
  steps: Action<Input, Step, ServerSubject>['steps']
  failed(context: ServerSubject & StepFacts<Input>, error: Error): Outcome<Step>
  /** Instead of ending in ERROR when cleaning up fails too. */
  abandoned?(tx: Tx, serverId: string, error: Error): Promise<void>
}

/** Completes an action on a server: reads its subject before each step, shows its task states, ends in ERROR at worst. */
export function serverAction<Input, Step extends string>(
  parts: ActionParts,
  spec: ServerActionSpec<Input, Step>,
): Action<Input, Step, ServerSubject> {
  const { db, clock, hosts } = parts
  const { taskStates } = spec
  return {
    ...spec,
    async read(serverId) {
      const server = await db.read
        .selectFrom('servers')
        .selectAll()
        .where('id', '=', serverId)
        .where('deletedAt', 'is', null)
        .executeTakeFirst()
      if (!server) return undefined
      return {
        server,
        ports: await listPortsOfServer(db.read, serverId),
        disks: await listBlockDevices(db.read, serverId),
        get host() {
          const host = server.hostName === null ? undefined : hosts.get(server.hostName)
          if (!host) throw new HostError('unreachable', `Host ${server.hostName ?? '(none)'} cannot be reached.`)
          return host
        },
      }
    },
    async entering(tx, serverId, step, input) {
      if (!taskStates) return
      const shown: TaskState | TaskStateOf<Input> = taskStates[step]
      const taskState = typeof shown === 'function' ? shown(input) : shown
      await updateServer(tx, serverId, { taskState }, clock.now())
    },
    abandoned:
      spec.abandoned ??
      (async (tx, serverId, error) => {
        await updateServer(
          tx,
          serverId,
          { vmState: 'error', taskState: null, ...faultOf(error, clock.now()) },
          clock.now(),
        )
      }),
  }
}

/** A failure as a server's views show it; what names files or processes stays in the details, for admins. */
export function faultOf(error: Error, now: number): Partial<Row<'servers'>> {
  const details = error.cause instanceof Error ? error.cause.message : null
  return { faultCode: 500, faultMessage: error.message, faultDetails: details, faultAt: now }
}

export const noFault = { faultCode: null, faultMessage: null, faultDetails: null, faultAt: null } as const

/** Ends an action in a stable state. */
export function settled(parts: ActionParts, serverId: string, change: Partial<Row<'servers'>>): Save {
  return (tx) => updateServer(tx, serverId, { taskState: null, ...change }, parts.clock.now())
}

/** Ends a failed action in ERROR, with what went wrong. */
export const endInError =
  (parts: ActionParts) =>
  ({ server }: ServerSubject, error: Error): { done: true; save: Save } => ({
    done: true,
    save: settled(parts, server.id, { vmState: 'error', ...faultOf(error, parts.clock.now()) }),
  })

/** How the host must run it. */
export function planOf({ server, ports, disks }: ServerSubject, mtus: ReadonlyMap<string, number>): ServerPlan {
  return {
    serverId: server.id,
    vcpus: server.vcpus,
    ramMib: server.ramMib,
    imageId: server.imageId === '' ? null : server.imageId,
    ports: ports.map(({ id: portId, networkId, macAddress }) => ({
      portId,
      networkId,
      macAddress,
      mtu: mtus.get(networkId) ?? 1500,
    })),
    disks: disks.map((device) => diskPlanOf(server, device)),
    hardware: hardwareOf(JSON.parse(server.imageProperties)),
  }
}

/** Makes all cards of a server true on its host. */
export async function plugPorts(parts: ActionParts, { server, ports, host }: ServerSubject): Promise<void> {
  for (const port of ports) await host.ensurePort(await readPortPlan(parts.db.read, port, hostNameOf(server.name)))
}

/** Starts the guest: on, or waiting for its turn. */
export async function turnOn(parts: ActionParts, subject: ServerSubject): Promise<'on' | 'queued'> {
  const mtus = new Map<string, number>()
  for (const { networkId } of subject.ports) {
    const network = await parts.db.read
      .selectFrom('networks')
      .select('mtu')
      .where('id', '=', networkId)
      .executeTakeFirst()
    if (network) mtus.set(networkId, network.mtu)
  }
  const plan = { ...planOf(subject, mtus), configDrive: await configDriveOf(parts, subject.server) }
  try {
    return await subject.host.ensureOn(plan)
  } catch (error) {
    if (!(error instanceof HostError) || error.failure !== 'notPlugged') throw error
    // The machine was restarted since the cards were plugged in, and with it went its namespaces.
    await plugPorts(parts, subject)
    return subject.host.ensureOn(plan)
  }
}

/** How a row says what the power of a server is, once it was launched. */
const SETTLED = {
  on: { vmState: 'active', powerState: 1 },
  paused: { vmState: 'paused', powerState: 3 },
  off: { vmState: 'stopped', powerState: 4 },
} as const

/** A server whose power is off. */
export const OFF = SETTLED.off

/** It was started, whatever became of it since: settles the row and its ports. */
export function settledLaunched(parts: ActionParts, server: Row<'servers'>, power: keyof typeof SETTLED): Save {
  const now = parts.clock.now()
  return async (tx: Tx) => {
    await updateServer(
      tx,
      server.id,
      { ...SETTLED[power], ...noFault, taskState: null, launchedAt: server.launchedAt ?? now },
      now,
    )
    await setPortStatus(tx, server.id, power === 'off' ? 'DOWN' : 'ACTIVE')
  }
}

/** The steps that end every start of a guest: power on, as soon as it is its turn, and look whether it stays. */
export function bootSteps(parts: ActionParts) {
  return {
    async powerOn(subject: ServerSubject): Promise<Outcome<'awaitRunning'>> {
      return (await turnOn(parts, subject)) === 'on' ? { go: 'awaitRunning' } : { waitMs: 1_000 }
    },
    async awaitRunning({ server, host }: ServerSubject): Promise<Outcome<never>> {
      const power = await host.readPower(server.id)
      if (power === 'crashed' || power === 'absent') {
        throw new ApiError('computeFault', `The guest ended while it was starting (it is ${power}).`)
      }
      // Off by now is a guest that shut itself down, perhaps at the end of its user data: it did what it was made for.
      return { done: true, save: settledLaunched(parts, server, power) }
    },
  }
}
