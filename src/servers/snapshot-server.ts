/** The durable actions that make an image of a server (S12), once or as one of a row of backups. */
import type { Action, Save } from '../actions/action.ts'
import { acceptAction } from '../actions/journal.ts'
import type { Reader, Tx } from '../db/database.ts'
import type { TaskState } from '../db/schema.ts'
import type { ImageStatus } from '../db/volume-schema.ts'
import type { ImageFile, ImageOrigin } from '../host/volume-host.ts'
import { deleteImage, deleteImageRow } from '../images/delete-image.ts'
import { warmUpHashing } from '../images/hashing.ts'
import { adoptImageFile, dropImage, setImageStatus } from '../images/image-writer.ts'
import { newId } from '../lib/ids.ts'
import { startServer } from './power-server.ts'
import { type ActionParts, type ServerSubject, serverAction, settled } from './server-action.ts'
import { rootDeviceOf } from './server-disks.ts'
import { updateServer } from './server-store.ts'
import { listUnfinishedImages, type SnapshotInput } from './unfinished-images.ts'

type Step = 'takeImage' | 'markSaving' | 'adopt' | 'rotate' | 'dropImage'

/** Long enough to copy a large disk. */
const DEADLINE_MS = 2 * 3_600_000

/**
 * The server goes on as it was. Its image is `queued` until the host took the disk, `saving` while it is read once more
 * for its hashes, and then `active`.
 *
 *   takeImage → markSaving → adopt [→ rotate]
 *       └────────────┴─────────┴──→ dropImage      no image, and the server as before; a backup that is active stays
 *
 * Of a server that boots from a volume, takeImage is the whole of it: see snapshot-volumes.ts.
 */
function snapshotAction(
  parts: ActionParts,
  name: 'createImage' | 'createBackup',
  taking: TaskState,
): Action<SnapshotInput, Step, ServerSubject> {
  const { db, clock } = parts
  const finish = finishing(parts)
  const deletion = deleteImage(parts)
  return serverAction<SnapshotInput, Step>(parts, {
    name,
    first: 'takeImage',
    deadlineMs: DEADLINE_MS,
    taskStates: {
      takeImage: taking,
      markSaving: 'image_pending_upload',
      adopt: 'image_uploading',
      rotate: 'image_uploading',
      dropImage: taking,
    },
    steps: {
      async takeImage(context) {
        const { server, input } = context
        if (!(await isThere(db.read, input))) return { go: 'dropImage' }
        if (input.snapshots) {
          const save = await (await volumeSnapshots()).takeSnapshots(parts, context, input)
          return {
            done: true,
            async save(tx) {
              await save(tx)
              await finish(tx, server, input)
            },
          }
        }
        await takeImage(context)
        return { go: 'markSaving' }
      },
      async markSaving({ input }) {
        return { go: 'adopt', save: (tx) => setImageStatus(tx, input.imageId, 'saving', clock.now()) }
      },
      async adopt(context) {
        const { server, input } = context
        // Somebody deleted it meanwhile, which is an answer too.
        if (!(await isThere(db.read, input))) return { go: 'dropImage' }
        const save = await adoptImageFile(parts, input.imageId, await takeImage(context))
        if (input.rotation) return { go: 'rotate', save }
        return {
          done: true,
          async save(tx) {
            await save(tx)
            await finish(tx, server, input)
          },
        }
      },
      async rotate({ server, input }) {
        return {
          done: true,
          async save(tx) {
            const asker = { projectId: server.projectId, userId: server.userId, requestId: `req-${newId()}` }
            for (const imageId of await listOutdated(tx, server.id, server.projectId, input)) {
              await deleteImageRow(tx, deletion, imageId, asker, clock.now())
            }
            await finish(tx, server, input)
          },
        }
      },
      async dropImage({ server, input }) {
        // It is done; only what came after could not be, and the next backup tries again.
        const isDone = (await readStatus(db.read, input)) === 'active'
        const saves: Save[] = isDone ? [] : [await dropImage(parts, input.imageId)]
        if (input.snapshots && !isDone) {
          saves.push(await (await volumeSnapshots()).dropSnapshots(parts, server.hostName, input))
        }
        return {
          done: true,
          async save(tx) {
            for (const save of saves) await save(tx)
            await finish(tx, server, input)
          },
        }
      },
    },
    failed: ({ input }) => ({
      go: 'dropImage',
      async save(tx) {
        if ((await readStatus(tx, input)) === 'active') return
        await setImageStatus(tx, input.imageId, 'queued', clock.now())
      },
    }),
    async abandoned(tx, serverId, error) {
      // The row stays, so that whoever deletes it has the bytes removed then.
      for (const id of await listUnfinishedImages(tx, serverId)) await setImageStatus(tx, id, 'killed', clock.now())
      await (await volumeSnapshots()).giveUpSnapshots(tx, parts, serverId, error)
      await updateServer(tx, serverId, { taskState: null }, clock.now())
    },
  })
}

/** Loaded with the first server that boots from a volume. */
const volumeSnapshots = () => import('./snapshot-volumes.ts')

/** Leaves the server as it was: one whose machine was restarted meanwhile starts. */
function finishing(parts: ActionParts) {
  const start = startServer(parts)
  return async (tx: Tx, server: ServerSubject['server'], { startsAgain }: SnapshotInput): Promise<void> => {
    await settled(parts, server.id, {})(tx)
    if (!startsAgain) return
    const { id, projectId, userId } = server
    await acceptAction(tx, start, id, null, { projectId, userId, requestId: `req-${newId()}` }, parts.clock.now())
  }
}

export const createImage = (parts: ActionParts) => snapshotAction(parts, 'createImage', 'image_snapshot')
export const createBackup = (parts: ActionParts) => snapshotAction(parts, 'createBackup', 'image_backup')

/** The image of what the server boots from; made once, however often it is asked for. */
function takeImage({ server, disks, host, input }: ServerSubject & { input: SnapshotInput }): Promise<ImageFile> {
  warmUpHashing()
  const rootVolumeId = rootDeviceOf(server, disks)?.volumeId
  const origin: ImageOrigin = rootVolumeId
    ? { kind: 'volume', volumeId: rootVolumeId }
    : { kind: 'server', serverId: server.id }
  return host.ensureImageOf(input.imageId, origin)
}

const isThere = async (read: Reader, input: SnapshotInput): Promise<boolean> =>
  (await readStatus(read, input)) !== undefined

async function readStatus(read: Reader, { imageId }: SnapshotInput): Promise<ImageStatus | undefined> {
  return (await read.selectFrom('images').select('status').where('id', '=', imageId).executeTakeFirst())?.status
}

/** Backups of the same type that are one too many, not counting protected ones. */
async function listOutdated(
  read: Reader,
  serverId: string,
  projectId: string,
  { rotation }: SnapshotInput,
): Promise<string[]> {
  if (!rotation) return []
  const images = await read
    .selectFrom('images')
    .select(['id', 'properties', 'isProtected'])
    .where('projectId', '=', projectId)
    .where('status', '=', 'active')
    .where('properties', 'like', `%${serverId}%`)
    .orderBy('createdAt', 'desc')
    .orderBy('id', 'desc')
    .execute()
  const backups = images.filter(({ properties }) => {
    const { image_type, instance_uuid, backup_type } = JSON.parse(properties) as Record<string, string>
    return image_type === 'backup' && instance_uuid === serverId && backup_type === rotation.type
  })
  return backups
    .slice(rotation.keep)
    .filter(({ isProtected }) => !isProtected)
    .map(({ id }) => id)
}
