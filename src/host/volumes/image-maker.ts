import { existsSync } from 'node:fs'
import { copyFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { HostError } from '../host-driver.ts'
import { convertedBytes } from '../qemu/conversion-command.ts'
import { ConversionError, convertToHouse } from '../qemu/convert-image.ts'
import { demandSpace, readSpace } from '../qemu/host-facts.ts'
import type { ImagePlan } from '../volume-host.ts'
import type { DiskShelf } from './disk-shelf.ts'
import { SPACE_TO_SPARE_BYTES } from './qemu-img.ts'

const SECTOR_BYTES = 512
const MIB = 1024 ** 2
const GIB = 1024 ** 3
const CONVERSION_MEMORY_BYTES = GIB
/** A child that does nothing but this writes a GiB in a few seconds; on a busy machine in a minute. */
const SECONDS_A_GIB = 60
const LEAST_SECONDS = 60

/** Formats that are a kernel or an initial RAM disk: taken as they are, and never a disk. */
const BOOT_FORMATS = ['aki', 'ari']

const BOOT_FILE = 'boot-file'

/** Where a kernel or an initial RAM disk lies: in the directory of its image, which has no disk. */
export const bootFile = (images: DiskShelf, imageId: string): string => join(images.directory(imageId), BOOT_FILE)

/**
 * Makes a base of an uploaded image, unless it is there.
 * @throws HostError `noSpace`, `badImage`.
 */
export async function ensureConverted(
  image: ImagePlan,
  images: DiskShelf,
  host: { qemuImg: string; user: { uid: number; gid: number } },
): Promise<void> {
  const { imageId, file: source, diskFormat } = image
  if (BOOT_FORMATS.includes(diskFormat)) return await ensureBootFile(image, images)
  if (images.has(imageId)) return
  const virtualBytes = Math.ceil(image.virtualBytes / SECTOR_BYTES) * SECTOR_BYTES
  const seconds = LEAST_SECONDS + Math.ceil((SECONDS_A_GIB * virtualBytes) / GIB)
  await demandSpace(images.path, SPACE_TO_SPARE_BYTES)
  const roomBytes = (await readSpace(images.path)).freeBytes - SPACE_TO_SPARE_BYTES
  const mostBytes = convertedBytes(virtualBytes)
  const limits = {
    virtualBytes,
    cpuSeconds: seconds,
    memoryBytes: CONVERSION_MEMORY_BYTES,
    // A few compressed bytes may become a disk of any size: guests and the database need some room meanwhile.
    fileBytes: Math.min(mostBytes, Math.max(MIB, Math.floor(roomBytes / MIB) * MIB)),
    timeoutMs: 4 * seconds * 1000,
  }
  await images.make(imageId, async (target) => {
    await convertToHouse({ ...host, source, format: diskFormat, target, limits }).catch(async (error: unknown) => {
      if (!(error instanceof ConversionError)) throw error
      // What it wrote is gone again by now: what it had to say is what tells a full disk.
      const isFull = error.failure === 'grewTooLarge' && limits.fileBytes < mostBytes
      if (isFull || String((error.cause as Error | undefined)?.message).includes('No space left on device')) {
        throw new HostError('noSpace', 'The host has no space left for the image.', { cause: error })
      }
      if (error.failure === 'cannotRun') throw new HostError('startFailed', error.message, { cause: error })
      throw new HostError('badImage', error.message, { cause: error })
    })
  })
}

async function ensureBootFile({ imageId, file }: ImagePlan, images: DiskShelf): Promise<void> {
  if (existsSync(bootFile(images, imageId))) return
  await demandSpace(images.path, (await stat(file)).size + SPACE_TO_SPARE_BYTES)
  await images.make(imageId, (unfinished) => copyFile(file, unfinished), BOOT_FILE)
}
