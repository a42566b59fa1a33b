/**
 * What `qemu-img` is asked for. Every format is named, none guessed; a chain is named file by file, so that what headers
 * say does not count; and its image locking stays on, so that it fails where a guest has the file open.
 */
import { rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { HostError } from '../host-driver.ts'
import { writeEmptyQcow2 } from '../qemu/empty-qcow2.ts'
import { demandSpace } from '../qemu/host-facts.ts'
import { CommandError, run } from '../run-program.ts'
import type { StoredVolume } from './volume-backend.ts'

const QUICK_MS = 30_000
/** A copy of a large disk; it is bounded only so that a process that hangs ends some day. */
const COPY_MS = 4 * 60 * 60_000
/** What must be free to make a disk: it starts at 200 KiB and grows, and a full disk stops every guest. */
export const SPACE_TO_SPARE_BYTES = 64 * 1024 * 1024

/** @throws HostError `noSpace`, and what else `asHostError` makes of a failure. */
export async function createDisk(target: string, bytes: number): Promise<void> {
  await demandSpace(dirname(target), SPACE_TO_SPARE_BYTES)
  await makeTarget(target, () => writeEmptyQcow2(target, bytes))
}

/** A disk that leans on `base`. */
export async function createOverlay(target: string, base: string, bytes: number): Promise<void> {
  await demandSpace(dirname(target), SPACE_TO_SPARE_BYTES)
  await makeTarget(target, () => writeEmptyQcow2(target, bytes, base))
}

/** A disk of its own with what `source` holds; nobody else may write that meanwhile. */
export async function flattenDisk(qemuImg: string, source: StoredVolume, target: string): Promise<void> {
  const words = ['driver=qcow2', ...fileWords('', source.file)]
  if (source.base !== undefined) words.push('backing.driver=qcow2', ...fileWords('backing.', source.base))
  await runOn(target, [qemuImg, 'convert', '-q', '--image-opts', words.join(','), '-O', 'qcow2', target], COPY_MS)
}

/** A qcow2 disk of a raw one. */
export async function convertRaw(qemuImg: string, source: string, target: string): Promise<void> {
  await runOn(target, [qemuImg, 'convert', '-q', '-f', 'raw', '-O', 'qcow2', source, target], COPY_MS)
}

/** A raw disk, sparse, of a qcow2 one that leans on nothing. */
export async function convertToRaw(qemuImg: string, source: string, target: string): Promise<void> {
  await runOn(target, [qemuImg, 'convert', '-q', '-f', 'qcow2', '-O', 'raw', source, target], COPY_MS)
}

/** Makes a disk larger that no guest has open; what the file was is kept when it fails. */
export async function growDisk(qemuImg: string, path: string, bytes: number): Promise<void> {
  try {
    await run([qemuImg, 'resize', '-q', '-f', 'qcow2', path, `${bytes}`], { timeoutMs: QUICK_MS })
  } catch (error) {
    throw asHostError(error)
  }
}

/** A comma ends an option's value; one of the value is written twice. */
const fileWords = (prefix: string, path: string): string[] => [
  `${prefix}file.driver=file`,
  `${prefix}file.filename=${path.replaceAll(',', ',,')}`,
]

/** Runs a command that makes `target`, which is gone when it fails. */
const runOn = (target: string, argv: readonly string[], timeoutMs: number): Promise<void> =>
  makeTarget(target, () => run(argv, { timeoutMs }))

async function makeTarget(target: string, make: () => Promise<unknown>): Promise<void> {
  try {
    await make()
  } catch (error) {
    await rm(target, { force: true })
    throw asHostError(error)
  }
}

/** `qemu-img` tells failures apart in words only; these two have been the same in every version. */
function asHostError(error: unknown): unknown {
  const isFull = (error as NodeJS.ErrnoException).code === 'ENOSPC'
  if (!isFull && !(error instanceof CommandError)) return error
  const said = error instanceof CommandError ? error.stderr : ''
  if (isFull || said.includes('No space left on device')) {
    return new HostError('noSpace', 'The host has no space left for the disk.', { cause: error })
  }
  if (/Failed to (get|lock)|lock/.test(said)) {
    return new HostError('unreachable', 'The disk is in use by a server that starts or ends.', { cause: error })
  }
  return new HostError('startFailed', 'The disk could not be made.', { cause: error })
}
