import type { Action } from '../actions/action.ts'
import { claimRoom, listHosts, releaseRoom } from '../hosts/host-store.ts'
import { ApiError } from '../http/api-error.ts'
import { releasePorts } from '../ports/delete-ports.ts'
import { pickHost } from '../scheduler/pick-host.ts'
import { type ActionParts, bootSteps, faultOf, plugPorts, type ServerSubject, serverAction } from './server-action.ts'
import { updateServer } from './server-store.ts'

export interface BuildInput {
  /** '' for any. */
  availabilityZone: string
}
type Step = 'pickHost' | 'plugPorts' | 'buildDisks' | 'powerOn' | 'awaitRunning' | 'cleanUp'

/** Long enough for the end of a queue of a hundred guests, in milliseconds. */
const DEADLINE_MS = 30 * 60_000

/**
 * Builds a server that was accepted.
 *
 *   pickHost → plugPorts → buildDisks → powerOn → awaitRunning         active
 *        └───────────┴──────────┴──────────┴──────────┴──→ cleanUp     error, and nothing left but the row
 */
export function buildServer(parts: ActionParts): Action<BuildInput, Step, ServerSubject> {
  const { db, clock, config } = parts
  return serverAction<BuildInput, Step>(parts, {
    name: 'create',
    first: 'pickHost',
    deadlineMs: DEADLINE_MS,
    taskStates: {
      pickHost: 'scheduling',
      plugPorts: 'networking',
      buildDisks: 'block_device_mapping',
      powerOn: 'spawning',
      awaitRunning: 'spawning',
      cleanUp: 'spawning',
    },
    steps: {
      async pickHost({ server, input }) {
        const { vcpus, ramMib, diskGib } = server
        const claim = { vcpus, ramMib, diskGib }
        const ratios = { cpu: config.cpuRatio, ram: config.ramRatio, disk: config.diskRatio }
        const picked = pickHost(await listHosts(db.read), { ...claim, ...input }, ratios)
        if ('refusals' in picked) {
          throw new ApiError('conflictingRequest', `No valid host was found. ${picked.refusals.join(' ')}`.trim())
        }
        return {
          go: 'plugPorts',
          async save(tx) {
            if (!(await claimRoom(tx, server.id, picked.hostName, claim, picked.limits))) {
              throw new Error(`The room on host ${picked.hostName} was taken meanwhile.`)
            }
            await updateServer(tx, server.id, { hostName: picked.hostName }, clock.now())
          },
        }
      },
      async plugPorts(subject) {
        await plugPorts(parts, subject)
        return { go: 'buildDisks' }
      },
      async buildDisks({ server, host }) {
        await host.ensureDisk({ serverId: server.id, imageId: server.imageId, sizeGib: server.diskGib })
        return { go: 'powerOn' }
      },
      ...bootSteps(parts),
      async cleanUp(subject) {
        const { server, ports } = subject
        if (server.hostName !== null) {
          await subject.host.ensureOff(server.id)
          for (const port of ports) await subject.host.removePort(port.id)
          await subject.host.removeDisks(server.id)
        }
        return {
          done: true,
          async save(tx) {
            await releasePorts(parts, tx, server.id)
            await releaseRoom(tx, server.id)
            await updateServer(
              tx,
              server.id,
              { vmState: 'error', taskState: null, powerState: 0, hostName: null },
              clock.now(),
            )
          },
        }
      },
    },
    failed: ({ server }, error) => ({
      go: 'cleanUp',
      save: (tx) => updateServer(tx, server.id, faultOf(error, clock.now()), clock.now()),
    }),
  })
}
