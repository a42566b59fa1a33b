/**
 * Makes a disk of the house format (qcow2, standalone) of uploaded bytes, in a child that can do little: a user of its
 * own, no network, limits of processor, memory, time and size, no open file but the two it needs.
 *
 * The image firewall (`images/formats/`) has inspected the bytes before; what this guards against is what an inspection
 * of headers cannot see, and mistakes in QEMU's readers.
 */
import { constants } from 'node:fs'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { signalGroup, spawnGroup } from '../../lib/process-group.ts'
import { syncDirectory } from '../durable-file.ts'
import { findProgram } from '../run-program.ts'
import {
  CONVERSION_ENV,
  type ConversionLimits,
  type ConversionPrograms,
  conversionCommand,
  conversionDriver,
} from './conversion-command.ts'
import { readQcow2Header } from './qcow2-header.ts'

export interface Conversion {
  /** Absolute path of the program. */
  qemuImg: string
  /** A regular file that `user` may read by its mode (0644, say); its directories may be closed to them. */
  source: string
  /** `disk_format` as it was declared and inspected. */
  format: string
  /** Replaced when it is there. It appears whole, root's, mode 0644, or not at all. */
  target: string
  user: { uid: number; gid: number }
  limits: ConversionLimits
  /** How much is done, 0 to 1, now and then. */
  onProgress?: (share: number) => void
  /** Ends the conversion; it then fails with the signal's reason. */
  signal?: AbortSignal
}

/** Why a conversion failed; the first two name a limit of `ConversionLimits`. */
export type ConversionFailure = 'tookTooLong' | 'grewTooLarge' | 'unusable' | 'cannotRun'

/** A conversion that did not end well; nothing is left of it. The message is for whoever uploaded the image. */
export class ConversionError extends Error {
  override readonly name = 'ConversionError'
  readonly failure: ConversionFailure

  constructor(failure: ConversionFailure, message: string, options?: ErrorOptions) {
    super(message, options)
    this.failure = failure
  }
}

const FINISHED_MODE = 0o644

/**
 * Converts an inspected image. The result is on the disk, in its directory too, when this returns. A full disk shows as
 * `unusable`: ask for the free space then.
 * @throws ConversionError; Error of the system when a file cannot be opened or made.
 */
export async function convertToHouse(conversion: Conversion): Promise<void> {
  const { target, user, limits, format } = conversion
  conversion.signal?.throwIfAborted()
  const driver = conversionDriver(format)
  if (driver === undefined) throw new ConversionError('unusable', `Images of format ${format} cannot be converted.`)
  const programs = findPrograms(conversion.qemuImg)
  const unfinished = `${target}.unfinished`
  await rm(unfinished, { force: true })
  try {
    await using source = await open(conversion.source, constants.O_RDONLY | constants.O_NOFOLLOW)
    await demandReadable(source, user)
    await using made = await open(unfinished, 'wx', 0o600)
    await made.chown(user.uid, user.gid)
    await runChild(conversionCommand({ programs, driver, user, limits }), source, made, conversion)
    await made.chown(process.geteuid?.() ?? 0, process.getegid?.() ?? 0)
    await made.chmod(FINISHED_MODE)
    await demandHouseFormat(unfinished, limits)
    await made.sync()
    await rename(unfinished, target)
    await syncDirectory(dirname(target))
  } catch (error) {
    await rm(unfinished, { force: true })
    throw error
  }
}

function findPrograms(qemuImg: string): ConversionPrograms {
  const find = (name: string): string => {
    const path = findProgram(name)
    if (path !== undefined) return path
    const cause = new Error(`${name} of util-linux is not installed`)
    throw new ConversionError('cannotRun', 'This host cannot convert images.', { cause })
  }
  return { prlimit: find('prlimit'), unshare: find('unshare'), setpriv: find('setpriv'), qemuImg }
}

/** Its user opens the source anew, by the mode of the file; a refusal then would read as if the image were damaged. */
async function demandReadable(source: FileHandle, user: { uid: number; gid: number }): Promise<void> {
  const { uid, gid, mode } = await source.stat()
  const bit = uid === user.uid ? 0o400 : gid === user.gid ? 0o040 : 0o004
  if ((mode & bit) !== 0) return
  const cause = new Error(`user ${user.uid} may not read a source of mode ${(mode & 0o777).toString(8)}`)
  throw new ConversionError('cannotRun', 'This host cannot convert images.', { cause })
}

/** What the child made is looked at as if a stranger had: it read hostile bytes. */
async function demandHouseFormat(path: string, limits: ConversionLimits): Promise<void> {
  try {
    const header = await readQcow2Header(path)
    if (header.backingFile !== undefined || header.hasDataFile) throw new Error(`${path} leans on another file`)
    if (header.virtualBytes > limits.virtualBytes) throw new Error(`${path} is a disk of ${header.virtualBytes} bytes`)
  } catch (cause) {
    throw new ConversionError('unusable', 'The image became something else than was seen in it.', { cause })
  }
}

/** How much of what the child says is kept for the log, in characters. */
const STDERR_TAIL = 2_000

function runChild(argv: string[], source: FileHandle, made: FileHandle, conversion: Conversion): Promise<void> {
  const { limits, onProgress, signal } = conversion
  const [program = '', ...args] = argv
  return new Promise((resolve, reject) => {
    const child = spawnGroup(program, args, {
      env: { ...CONVERSION_ENV },
      cwd: '/',
      stdio: ['ignore', 'pipe', 'pipe', source.fd, made.fd],
    })
    let said = ''
    let isLate = false
    const kill = (): void => signalGroup(child, 'SIGKILL')
    const timer = setTimeout(() => {
      isLate = true
      kill()
    }, limits.timeoutMs)
    signal?.addEventListener('abort', kill, { once: true })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-STDERR_TAIL)
    })
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const share = lastShare(text)
      if (share !== undefined) onProgress?.(share)
    })
    const settle = (outcome: () => void): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', kill)
      outcome()
    }
    child.on('error', (cause) =>
      settle(() => reject(new ConversionError('cannotRun', 'This host cannot convert images.', { cause }))),
    )
    child.on('close', (code, signalName) =>
      settle(() => {
        if (code === 0) return resolve()
        if (signal?.aborted) return reject(signal.reason)
        const cause = new Error(`${basename(conversion.qemuImg)} ended with ${signalName ?? code}: ${said.trim()}`)
        const fail = (size: number) => reject(toFailure(isLate, signalName, size >= limits.fileBytes, cause))
        made.stat().then((status) => fail(status.size), reject)
      }),
    )
  })
}

/**
 * What it was, by the signal of a limit: setrlimit(2). Out of memory, QEMU ends itself; it goes on without a signal when
 * the file may grow no more, which its size tells.
 */
function toFailure(isLate: boolean, signalName: NodeJS.Signals | null, isFull: boolean, cause: Error): ConversionError {
  if (isLate || signalName === 'SIGXCPU') {
    return new ConversionError('tookTooLong', 'The image took too long to convert.', { cause })
  }
  if (signalName === 'SIGXFSZ' || isFull) {
    return new ConversionError('grewTooLarge', 'The image became larger than its disk can be.', { cause })
  }
  // Neither the image nor we did that: the kernel, short of memory, or a person.
  if (signalName === 'SIGKILL') return new ConversionError('cannotRun', 'The conversion was ended.', { cause })
  return new ConversionError('unusable', 'The image cannot be read as a disk of its format.', { cause })
}

/** The last of the shares in what `qemu-img -p` writes: `    (12.34/100%)` and a carriage return each. */
function lastShare(text: string): number | undefined {
  const percent = [...text.matchAll(/\((\d+\.\d+)\/100%\)/g)].at(-1)?.[1]
  return percent === undefined ? undefined : Number(percent) / 100
}
