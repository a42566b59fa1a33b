/** Images of a server that were begun and never done: what is left when their action is taken over or gives up. */
import type { Save } from '../actions/action.ts'
import type { Reader } from '../db/database.ts'
import { dropImage } from '../images/image-writer.ts'
import type { ActionParts } from './server-action.ts'

/** Input of `createImage` and `createBackup`. */
export interface SnapshotInput {
  imageId: string
  /** Of backups: of its type, only so many of the newest stay. */
  rotation: { type: string; keep: number } | null
  /** The guest ran when its machine went down: it is started again once the image is done. */
  startsAgain?: boolean
  /** Of a server that boots from a volume: what the image is made of instead of bytes. */
  snapshots?: { snapshotId: string; volumeId: string }[]
}

/** Names of the actions that make images. */
export const IMAGE_ACTIONS = ['createImage', 'createBackup'] as const

/** Ids of the images of a server that are not done. */
export async function listUnfinishedImages(read: Reader, serverId: string): Promise<string[]> {
  const actions = await read
    .selectFrom('actions')
    .select('input')
    .where('resourceId', '=', serverId)
    .where('name', 'in', IMAGE_ACTIONS)
    .execute()
  if (actions.length === 0) return []
  const ids = actions.map(({ input }) => (JSON.parse(input) as SnapshotInput).imageId)
  const images = await read
    .selectFrom('images')
    .select('id')
    .where('id', 'in', ids)
    .where('status', 'in', ['queued', 'saving'])
    .execute()
  return images.map(({ id }) => id)
}

/**
 * Makes them gone. Only when nobody makes them any more.
 * @returns what to save: their rows go.
 */
export async function dropUnfinishedImages(parts: ActionParts, serverId: string): Promise<Save> {
  const saves: Save[] = []
  for (const imageId of await listUnfinishedImages(parts.db.read, serverId)) {
    saves.push(await dropImage(parts, imageId))
  }
  return async (tx) => {
    for (const save of saves) await save(tx)
  }
}
