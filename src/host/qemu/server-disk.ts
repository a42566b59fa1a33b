import { existsSync } from 'node:fs'
import { chmod, chown, mkdir, open, readFile, readlink, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { syncDirectory } from '../durable-file.ts'
import { type DiskPlan, type HardwarePlan, HostError } from '../host-driver.ts'
import { isBuildOf } from '../volumes/bases.ts'
import { DiskShelf } from '../volumes/disk-shelf.ts'
import { bootFile } from '../volumes/image-maker.ts'
import { writeEmptyQcow2 } from './empty-qcow2.ts'
import { demandSpace } from './host-facts.ts'
import { type Qcow2Header, readQcow2Header } from './qcow2-header.ts'
import type { DirectBoot } from './qemu-args.ts'
import type { ServerFiles } from './server-files.ts'

const GIB = 1024 ** 3
/** What must be free to make an overlay: it starts at 200 KiB and grows, and a full disk stops every guest. */
const SPACE_FOR_OVERLAY_BYTES = 64 * 1024 * 1024

const IMAGE_ID = /^[A-Za-z0-9][A-Za-z0-9._-]*$/

/** The disk that new servers of this image are made from. */
async function newestDisk(imagesDir: string, imageId: string): Promise<string> {
  const disk = imageDisk(imagesDir, imageId)
  const target = await readlink(dirname(disk)).catch(() => imageId)
  return isBuildOf(target, imageId) ? imageDisk(imagesDir, target) : disk
}

/** The qcow2 file of an image below `imagesDir`. @throws HostError `noImage` for an id that is no file name. */
export function imageDisk(imagesDir: string, imageId: string): string {
  if (!IMAGE_ID.test(imageId)) throw new HostError('noImage', 'The image is not on this host.')
  return join(imagesDir, imageId, 'disk.qcow2')
}

/**
 * Makes the server's directory and, unless it is there, its disk: an overlay that appears whole or not at all, also
 * after a power cut, for a disk that exists is never made anew.
 * @throws HostError `noImage`, `noSpace`.
 */
export async function ensureOverlay(
  plan: DiskPlan,
  files: ServerFiles,
  host: { imagesDir: string; findUser: () => { uid: number; gid: number } },
): Promise<void> {
  if (existsSync(files.disk)) return
  const base = await newestDisk(host.imagesDir, plan.imageId)
  const { virtualBytes } = await readImage(base)
  const bytes = Math.max(plan.sizeGib * GIB, virtualBytes)
  await demandSpace(dirname(files.directory), SPACE_FOR_OVERLAY_BYTES)
  await mkdir(files.directory, { recursive: true })
  await chmod(files.directory, 0o711)
  await rm(files.unfinishedDisk, { force: true })
  try {
    await writeEmptyQcow2(files.unfinishedDisk, bytes, base)
  } catch (cause) {
    await rm(files.unfinishedDisk, { force: true })
    await demandSpace(dirname(files.directory), SPACE_FOR_OVERLAY_BYTES)
    throw new HostError('startFailed', 'The disk could not be made.', { cause })
  }
  await chmod(files.unfinishedDisk, 0o600)
  const { uid, gid } = host.findUser()
  await chown(files.unfinishedDisk, uid, gid)
  await syncFile(files.unfinishedDisk)
  await rename(files.unfinishedDisk, files.disk)
  for (const directory of [files.directory, dirname(files.directory)]) await syncDirectory(directory)
}

async function syncFile(path: string): Promise<void> {
  await using file = await open(path, 'r')
  await file.sync()
}

/** @throws HostError `noImage` when there is none, or none of the house format: qcow2 that leans on no other file. */
async function readImage(path: string): Promise<Qcow2Header> {
  try {
    const header = await readQcow2Header(path)
    if (header.backingFile !== undefined || header.hasDataFile) throw new Error(`${path} leans on another file`)
    return header
  } catch (cause) {
    throw new HostError('noImage', 'The image is not on this host.', { cause })
  }
}

/**
 * The file below a server's disk, as QEMU shall be told it.
 * @throws HostError `noDisk` when the server has no disk, or one made from another image; `noImage`.
 */
export async function baseOfDisk(files: ServerFiles, imagesDir: string, imageId: string): Promise<string> {
  let overlay: Qcow2Header
  try {
    overlay = await readQcow2Header(files.disk)
  } catch (cause) {
    throw new HostError('noDisk', 'The server has no disk on this host.', { cause })
  }
  // Only the image's name counts, so that a data directory may be moved. Data of one image over another are garbage.
  const name = basename(dirname(overlay.backingFile ?? ''))
  if (name !== imageId && !isBuildOf(name, imageId)) {
    throw new HostError('noDisk', "The server's disk was made from another image.", {
      cause: new Error(`${files.disk} is an overlay of ${overlay.backingFile ?? 'nothing'}`),
    })
  }
  const base = imageDisk(imagesDir, name)
  await readImage(base)
  return base
}

/** The kernel that lies beside an image's disk, with its initrd and command line; undefined when there is none. */
export async function findDirectBoot(baseDisk: string): Promise<DirectBoot | undefined> {
  const [kernel, initrd, cmdline] = ['kernel', 'initrd', 'cmdline'].map((name) => join(dirname(baseDisk), name))
  if (kernel === undefined || cmdline === undefined || !existsSync(kernel) || !existsSync(cmdline)) return undefined
  return {
    kernel,
    initrd: initrd !== undefined && existsSync(initrd) ? initrd : undefined,
    cmdline: (await readFile(cmdline, 'utf8')).trim(),
  }
}

/**
 * The kernel that an image names, and its initial RAM disk: images too, which lie among the others.
 * @throws HostError `noImage` when one of them is not on this host.
 */
export function findKernel(imagesDir: string, wish: NonNullable<HardwarePlan['kernel']>): DirectBoot {
  const images = new DiskShelf(imagesDir, 0o644)
  const find = (imageId: string, what: string): string => {
    const file = bootFile(images, imageId)
    if (existsSync(file)) return file
    throw new HostError('noImage', `The image's ${what} is not on this host.`, {
      cause: new Error(`${file} is not there`),
    })
  }
  const { kernelImageId, ramdiskImageId, cmdline } = wish
  return {
    kernel: find(kernelImageId, 'kernel'),
    initrd: ramdiskImageId === null ? undefined : find(ramdiskImageId, 'initial RAM disk'),
    cmdline,
  }
}
