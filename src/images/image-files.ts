/**
 * Puts an image where the host of this machine reads it. Disks of servers are overlays of an image's disk, so a disk
 * that was placed once must never change: every build gets a directory of its own, named by its content, and the
 * image's name is a link to the newest.
 *
 *   IMAGES/ID.3f2a…/{disk.qcow2,kernel,initrd,cmdline}      a build; never changed
 *   IMAGES/ID → ID.3f2a…                                    what new servers are made from
 *
 * The host resolves the link when it makes an overlay. Builds that no new server uses stay: only the host knows
 * which disks lean on them.
 */

import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import {
  chmod,
  copyFile,
  link,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
} from 'node:fs/promises'
import { basename, join } from 'node:path'

const FILES = ['disk.qcow2', 'kernel', 'initrd', 'cmdline'] as const
const UNFINISHED = '.placing-'

/**
 * Makes `IMAGES/ID/` hold the files of a build. What is placed appears whole or not at all; doing it again changes
 * nothing. To be called by one process at a time for a directory of images.
 * @param imagesDir made when it is not there.
 * @param builtDirectory holds `disk.qcow2`, `kernel`, `initrd`, `cmdline` and `facts.json`, and stays as it is.
 * @returns the directory the build was placed in.
 */
export async function placeImage(imagesDir: string, imageId: string, builtDirectory: string): Promise<string> {
  const name = `${imageId}.${await readKey(builtDirectory)}`
  const placed = join(imagesDir, name)
  await mkdir(imagesDir, { recursive: true })
  await removeUnfinished(imagesDir)
  if (!(await exists(placed))) await fill(imagesDir, builtDirectory, placed)
  await pointTo(imagesDir, imageId, name)
  return placed
}

/** The content's name. The facts hold a hash of the disk, by far the largest file; it is not read again. */
async function readKey(builtDirectory: string): Promise<string> {
  const hash = createHash('sha256')
  for (const name of ['facts.json', 'kernel', 'initrd', 'cmdline']) {
    const content = await readFile(join(builtDirectory, name))
    hash.update(`${name} ${content.length}\n`).update(content)
  }
  return hash.digest('hex').slice(0, 16)
}

async function fill(imagesDir: string, from: string, placed: string): Promise<void> {
  const work = await mkdtemp(join(imagesDir, UNFINISHED))
  for (const name of FILES) {
    await linkOrCopy(join(from, name), join(work, name))
    await chmod(join(work, name), 0o644)
    await sync(join(work, name))
  }
  await chmod(work, 0o755)
  await sync(work)
  await rename(work, placed)
  await sync(imagesDir)
}

/** A second name costs no space; on another file system, or one without second names, it must be a copy. */
async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    await link(from, to)
  } catch (error) {
    if (!['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP'].includes(codeOf(error) ?? '')) throw error
    await copyFile(from, to, constants.COPYFILE_FICLONE)
  }
}

/** A link cannot be changed in place, but another can be renamed over it. */
async function pointTo(imagesDir: string, imageId: string, name: string): Promise<void> {
  const work = await mkdtemp(join(imagesDir, UNFINISHED))
  await symlink(basename(name), join(work, 'link'))
  await rename(join(work, 'link'), join(imagesDir, imageId))
  await rm(work, { recursive: true })
  await sync(imagesDir)
}

/** What a process left that was killed in the middle. */
async function removeUnfinished(imagesDir: string): Promise<void> {
  const names = (await readdir(imagesDir)).filter((name) => name.startsWith(UNFINISHED))
  for (const name of names) await rm(join(imagesDir, name), { recursive: true, force: true })
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path)
    return true
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw error
  }
}

/** Makes sure that a file, or the names in a directory, outlive a power cut. */
async function sync(path: string): Promise<void> {
  await using file = await open(path, 'r')
  await file.sync()
}

const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error ? String(error.code) : undefined
