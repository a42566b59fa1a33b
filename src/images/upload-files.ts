/**
 * The bytes of images as users gave them, which download answers and checksums are of:
 *
 *   DATA/uploads/ID.part      arriving; nobody else touches it, and at the next start it goes
 *   DATA/uploads/ID.staged    arrived, waits to be imported
 *   DATA/uploads/ID           an active image's; never changed
 *   DATA/uploads/ID.adopted   the same for a moment, while it gets its name
 *   DATA/uploads/dropped.ID   empty: the bytes are gone or go, and the row does not say so yet
 *
 * Only names of images become names of files; those are checked when they come in.
 */
import { constants } from 'node:fs'
import { copyFile, link, mkdir, open, readdir, rename, rm, stat, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Config } from '../config.ts'
import { syncDirectory } from '../host/durable-file.ts'

export type UploadStage = 'part' | 'staged' | 'whole'

const SUFFIX: Record<UploadStage, string> = { part: '.part', staged: '.staged', whole: '' }
/** Others may pass through: the child that converts an image runs as a user of its own. */
const DIRECTORY_MODE = 0o711

export const uploadsDirectory = (config: Pick<Config, 'data'>): string => join(config.data, 'uploads')

/** Where the bytes of an image lie. */
export const uploadFile = (config: Pick<Config, 'data'>, imageId: string, stage: UploadStage): string =>
  join(uploadsDirectory(config), `${imageId}${SUFFIX[stage]}`)

/** Makes the directory unless it is there. */
export async function ensureUploadsDirectory(config: Pick<Config, 'data'>): Promise<void> {
  await mkdir(uploadsDirectory(config), { recursive: true, mode: DIRECTORY_MODE })
}

/** Every image that has bytes there, in any stage; those of the other files are none of ours. */
export async function readUploads(config: Pick<Config, 'data'>): Promise<{ imageId: string; stage: UploadStage }[]> {
  const names = await readdir(uploadsDirectory(config)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  return names.flatMap((name) => {
    const [, imageId, suffix] = /^([0-9a-f-]{36})(\.part|\.staged)?$/.exec(name) ?? []
    if (imageId === undefined) return []
    return [{ imageId, stage: suffix === '.part' ? 'part' : suffix === '.staged' ? 'staged' : ('whole' as const) }]
  })
}

const DROPPED = 'dropped.'

/** Says for the next start, lastingly, that an image's bytes are being removed here, until `forgetDropped`. */
export async function markDropped(config: Pick<Config, 'data'>, imageId: string): Promise<void> {
  await ensureUploadsDirectory(config)
  await writeFile(join(uploadsDirectory(config), DROPPED + imageId), '')
  await syncDirectory(uploadsDirectory(config))
}

export async function forgetDropped(config: Pick<Config, 'data'>, imageId: string): Promise<void> {
  await rm(join(uploadsDirectory(config), DROPPED + imageId), { force: true })
}

/** Ids of images whose removal was begun. */
export async function readDropped(config: Pick<Config, 'data'>): Promise<string[]> {
  const names = await readdir(uploadsDirectory(config)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  return names.filter((name) => name.startsWith(DROPPED)).map((name) => name.slice(DROPPED.length))
}

/** Gives a file its next name, lastingly. What had that name is replaced. */
export async function moveUpload(
  config: Pick<Config, 'data'>,
  imageId: string,
  from: UploadStage,
  to: UploadStage,
): Promise<void> {
  await rename(uploadFile(config, imageId, from), uploadFile(config, imageId, to))
  await syncDirectory(uploadsDirectory(config))
}

/**
 * Gives bytes that arrived their last name, besides the one they have: that one goes when the image is active. Doing it
 * again changes nothing.
 */
export async function publishUpload(
  config: Pick<Config, 'data'>,
  imageId: string,
  from: Exclude<UploadStage, 'whole'>,
): Promise<void> {
  const whole = uploadFile(config, imageId, 'whole')
  await rm(whole, { force: true })
  await link(uploadFile(config, imageId, from), whole)
  await syncDirectory(uploadsDirectory(config))
}

/** Removes the bytes of an image; accepts that there are none. */
export async function removeUpload(
  config: Pick<Config, 'data'>,
  imageId: string,
  stages: readonly UploadStage[] = ['part', 'staged', 'whole'],
): Promise<void> {
  for (const stage of stages) await rm(uploadFile(config, imageId, stage), { force: true })
  await syncDirectory(uploadsDirectory(config))
}

/**
 * Makes a file, which must never change again, the bytes of an image. A second name costs no space; on another file
 * system it must be a copy. Doing it again changes nothing.
 */
export async function adoptAsUpload(config: Pick<Config, 'data'>, imageId: string, file: string): Promise<void> {
  await ensureUploadsDirectory(config)
  // Not the name of what arrives: that is cleared at a start, with the image it is of.
  const part = `${uploadFile(config, imageId, 'whole')}.adopted`
  await rm(part, { force: true })
  try {
    await link(file, part)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? ''
    if (!['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP'].includes(code)) throw error
    await copyFile(file, part, constants.COPYFILE_FICLONE)
    await using copy = await open(part, 'r')
    await copy.sync()
  }
  const whole = uploadFile(config, imageId, 'whole')
  await rename(part, whole)
  // Two names of one file: then the rename did nothing, and the first name is still there.
  await rm(part, { force: true })
  await syncDirectory(uploadsDirectory(config))
}

/** In bytes; undefined when it is not there. */
export async function sizeOfUpload(
  config: Pick<Config, 'data'>,
  imageId: string,
  stage: UploadStage,
): Promise<number | undefined> {
  try {
    return (await stat(uploadFile(config, imageId, stage))).size
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** What still fits beside everything else, in bytes. */
export async function readRoom(config: Pick<Config, 'data'>): Promise<number> {
  const { bavail, bsize } = await statfs(config.data)
  return bavail * bsize
}

/** What must be left beside images that arrive, for the database above all. */
const SPARE_BYTES = 64 * 1024 * 1024

/** Whether so many bytes fit, and enough is left then. */
export const hasRoomFor = async (config: Pick<Config, 'data'>, bytes: number): Promise<boolean> =>
  (await readRoom(config)) >= bytes + SPARE_BYTES
