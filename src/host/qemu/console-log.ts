import {
  closeSync,
  fstatSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import type { ServerFiles } from './server-files.ts'

/** How much of a console is kept, in bytes. The two files hold at most twice as much: see console-writer.ts. */
export const CONSOLE_KEPT_BYTES = 1024 * 1024

const CONTROL_SEQUENCE = /\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_a-z])/g
const CONTROL_CHARACTER = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g

/**
 * Console bytes as text that is safe to show: terminal sequences and control characters but tab and newline are gone,
 * bytes that are not UTF-8 are replaced. Pure.
 */
export const cleanConsole = (bytes: Buffer): string =>
  bytes.toString('utf8').replace(CONTROL_SEQUENCE, '').replace(CONTROL_CHARACTER, '')

/** The last `lines` lines of a text, a line that is not ended yet counting as one. Pure. */
export function lastLines(text: string, lines: number): string {
  if (lines <= 0) return ''
  let start = text.endsWith('\n') ? text.length - 1 : text.length
  for (let found = 0; found < lines; found++) {
    if (start === 0) return text
    const newline = text.lastIndexOf('\n', start - 1)
    if (newline === -1) return text
    start = newline
  }
  return text.slice(start + 1)
}

/** The end of the console as bytes, at most CONSOLE_KEPT_BYTES; empty when there is none. */
export function readConsoleTail(files: ServerFiles): Buffer {
  const newer = readTail(files.consoleLog, CONSOLE_KEPT_BYTES)
  const room = CONSOLE_KEPT_BYTES - newer.length
  return room > 0 ? Buffer.concat([readTail(files.olderConsoleLog, room), newer]) : newer
}

/**
 * Cuts a console log that has grown past its limit, as it does where QEMU of the first Novella writes it itself: what
 * is kept moves to the older file, and QEMU, which appends, goes on at the start. Synchronous on purpose: what the guest writes between the copy and the cut is lost.
 * @throws Error when nothing could be kept, on a full disk for instance. The log is cut all the same: it may be what
 * fills the disk.
 */
export function boundConsole(files: ServerFiles): void {
  if (sizeOf(files.consoleLog) <= CONSOLE_KEPT_BYTES) return
  const unfinished = `${files.olderConsoleLog}.unfinished`
  try {
    writeFileSync(unfinished, readTail(files.consoleLog, CONSOLE_KEPT_BYTES), { mode: 0o600 })
    renameSync(unfinished, files.olderConsoleLog)
  } catch (error) {
    rmSync(unfinished, { force: true, recursive: true })
    throw error
  } finally {
    truncateSync(files.consoleLog, 0)
  }
}

/** Size of a file in bytes, 0 when it is not there. */
export const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0

/** The last bytes of a file, at most `most`; empty when it is not there. */
export function readTail(path: string, most: number): Buffer {
  if (sizeOf(path) === 0) return Buffer.alloc(0)
  const file = openSync(path, 'r')
  try {
    const { size } = fstatSync(file)
    const length = Math.min(size, most)
    const buffer = Buffer.alloc(length)
    return buffer.subarray(0, readSync(file, buffer, 0, length, size - length))
  } finally {
    closeSync(file)
  }
}
