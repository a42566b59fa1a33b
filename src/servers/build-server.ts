import type { Action } from '../actions/action.ts'
import type { Reader, Tx } from '../db/database.ts'
import type { VolumePlan, VolumeSource } from '../host/volume-host.ts'
import { claimRoom, listHosts, releaseRoom } from '../hosts/host-store.ts'
import { ApiError } from '../http/api-error.ts'
import { releasePorts } from '../ports/delete-ports.ts'
import { pickHost } from '../scheduler/pick-host.ts'
import type { Volume } from '../volumes/volume-store.ts'
import { type ActionParts, bootSteps, faultOf, plugPorts, type ServerSubject, serverAction } from './server-action.ts'
import { forgetDisks, listHostsOf, partFromDisks, placeNewVolumes, removeDoomed, settleDisks } from './server-disks.ts'
import { updateServer } from './server-store.ts'
import { claimedGibOf } from './wished-disks.ts'

export interface BuildInput {
  /** '' for any. */
  availabilityZone: string
}
type Step = 'pickHost' | 'plugPorts' | 'buildDisks' | 'powerOn' | 'awaitRunning' | 'cleanUp' | 'removeVolumes'

/** Long enough for the end of a queue of a hundred guests, in milliseconds. */
const DEADLINE_MS = 30 * 60_000

/**
 * Builds a server that was accepted.
 *
 *   pickHost → plugPorts → buildDisks → powerOn → awaitRunning         active
 *        └───────────┴──────────┴──────────┴──────────┴──→ cleanUp → removeVolumes     error, and nothing left but the row
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
      removeVolumes: 'spawning',
    },
    steps: {
      async pickHost({ server, disks, input }) {
        const { vcpus, ramMib } = server
        const claim = { vcpus, ramMib, diskGib: claimedGibOf(server, disks) }
        const ratios = { cpu: config.cpuRatio, ram: config.ramRatio, disk: config.diskRatio }
        const bound = await listHostsOf(db.read, disks)
        const hosts = (await listHosts(db.read)).filter(({ name }) => bound.every((one) => one === name))
        const picked = pickHost(hosts, { ...claim, ...input }, ratios)
        if ('refusals' in picked) {
          throw new ApiError('conflictingRequest', `No valid host was found. ${picked.refusals.join(' ')}`.trim())
        }
        return {
          go: 'plugPorts',
          async save(tx) {
            if (!(await claimRoom(tx, server.id, picked.hostName, claim, picked.limits))) {
              throw new Error(`The room on host ${picked.hostName} was taken meanwhile.`)
            }
            await placeNewVolumes(tx, disks, picked.hostName, clock.now())
            await updateServer(tx, server.id, { hostName: picked.hostName }, clock.now())
          },
        }
      },
      async plugPorts(subject) {
        await plugPorts(parts, subject)
        return { go: 'buildDisks' }
      },
      async buildDisks({ server, disks, host }) {
        const { id: serverId, imageId, diskGib: sizeGib } = server
        if (imageId !== '') await host.ensureDisk({ serverId, imageId, sizeGib })
        for (const { id: diskId, volumeId, content, sizeMib, isMadeForServer } of disks) {
          if (content !== 'volume') await host.ensureBlankDisk({ serverId, diskId, sizeMib, content })
          else if (volumeId !== null && isMadeForServer)
            await host.ensureVolume(await readVolumePlan(db.read, volumeId))
        }
        return { go: 'powerOn', save: (tx) => settleDisks(tx, serverId, clock.now()) }
      },
      ...bootSteps(parts),
      async cleanUp(subject) {
        const { server, ports } = subject
        if (server.hostName !== null) {
          await subject.host.ensureOff(server.id)
          for (const port of ports) await subject.host.removePort(port.id)
          await subject.host.removeDisks(server.id)
        }
        // What was made for it goes; what it was given is free again.
        const save = (tx: Tx) => partFromDisks(tx, server.id, (disk) => disk.isMadeForServer === 1, clock.now())
        return { go: 'removeVolumes', save }
      },
      async removeVolumes({ server }) {
        await removeDoomed(parts, server.id)
        return {
          done: true,
          async save(tx) {
            await forgetDisks(tx, server.id)
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

/** How the host makes a volume. */
async function readVolumePlan(read: Reader, volumeId: string): Promise<VolumePlan> {
  const volume = await read.selectFrom('volumes').selectAll().where('id', '=', volumeId).executeTakeFirstOrThrow()
  return { volumeId, sizeGib: volume.sizeGib, source: sourceOf(volume) }
}

function sourceOf({ imageId, snapshotId, sourceVolumeId }: Volume): VolumeSource | null {
  if (imageId !== null) return { kind: 'image', imageId }
  if (snapshotId !== null) return { kind: 'snapshot', snapshotId }
  return sourceVolumeId === null ? null : { kind: 'volume', volumeId: sourceVolumeId }
}
