import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { makeDirectory } from './make-directory.ts'

/** The data directory cannot be used; the message says why and what to do. */
export class DataDirectoryError extends Error {
  override readonly name = 'DataDirectoryError'
}

/**
 * Makes the directory unless it is there. Others may pass through: QEMU, as a user of its own, has files below it.
 * @throws DataDirectoryError when it cannot be made.
 */
export function makeDataDirectory(directory: string): void {
  try {
    makeDirectory(directory, 0o711)
  } catch (error) {
    throw new DataDirectoryError(
      `The data directory ${directory} cannot be made: ${(error as Error).message}. Choose another with --data.`,
      { cause: error },
    )
  }
}

/**
 * Makes the directory and holds it for this process alone. The lock is the kernel's, on an open file, so it ends with
 * the process however that ends; the file beside it only says who to ask.
 * @throws DataDirectoryError when another process has it, or it cannot be written.
 */
export function lockDataDirectory(directory: string): Disposable {
  const ownerFile = join(directory, 'novella.pid')
  makeDataDirectory(directory)
  const lock = openLock(directory)
  try {
    lock.exec('begin exclusive')
  } catch (error) {
    lock.close()
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw unusable(directory, error)
    const owner = readOwner(ownerFile)
    throw new DataDirectoryError(
      `Another Novella${owner ? ` (process ${owner})` : ''} works on ${directory}. ` +
        `Stop it with 'novella down --data ${directory}', or choose another directory with --data.`,
      { cause: error },
    )
  }
  writeFileSync(ownerFile, `${process.pid}\n`)
  return {
    [Symbol.dispose]() {
      writeFileSync(ownerFile, '')
      lock.close()
    },
  }
}

const SQLITE_BUSY = 5

/**
 * The process that works on a data directory now; undefined when none does. The lock decides: a number that a killed
 * process left in the file may belong to somebody else by now.
 */
export function findOwner(directory: string): number | undefined {
  if (!existsSync(join(directory, 'novella.lock'))) return undefined
  using lock = openLock(directory)
  try {
    lock.exec('begin exclusive; rollback')
    return undefined
  } catch (error) {
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw unusable(directory, error)
    return readOwner(join(directory, 'novella.pid'))
  }
}

/**
 * The name of this directory's host. It is kept from the first start on: servers are found by it, so a machine that is
 * renamed must not become another host.
 * @param wished '' for the kept one, or at first the machine's own.
 * @throws DataDirectoryError when another is wished than kept.
 */
export function keepHostName(directory: string, wished: string): string {
  const file = join(directory, 'host-name')
  const kept = existsSync(file) ? readFileSync(file, 'utf8').trim() : ''
  if (kept !== '' && wished !== '' && kept !== wished) {
    throw new DataDirectoryError(
      `The servers of ${directory} belong to host '${kept}'; under the name '${wished}' they could not be reached. ` +
        `Leave host_name out, or set it to ${kept}.`,
    )
  }
  const name = kept || wished || hostname()
  if (kept === '') writeFileSync(file, `${name}\n`, { flush: true })
  return name
}

function openLock(directory: string): DatabaseSync {
  try {
    return new DatabaseSync(join(directory, 'novella.lock'), { timeout: 0 })
  } catch (error) {
    throw unusable(directory, error)
  }
}

const unusable = (directory: string, error: unknown) =>
  new DataDirectoryError(
    `The data directory ${directory} cannot be written: ${(error as Error).message}. ` +
      'Choose another with --data, or run as a user who may write there.',
    { cause: error },
  )

/** What the note beside the lock says; undefined when it says nothing. */
function readOwner(ownerFile: string): number | undefined {
  try {
    const pid = Number(readFileSync(ownerFile, 'utf8'))
    return pid > 0 ? pid : undefined
  } catch {
    return undefined
  }
}
