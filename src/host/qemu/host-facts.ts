import { readFileSync, statSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { dirname } from 'node:path'
import { HostError } from '../host-driver.ts'

const MIB = 1024 * 1024

/**
 * Memory of the machine in MiB: all of it, and what could be given out without swapping.
 * Source: proc(5), MemTotal and MemAvailable.
 */
export function readMemory(): { totalMib: number; availableMib: number } {
  const text = readFileSync('/proc/meminfo', 'utf8')
  const mib = (name: string): number =>
    Math.floor(Number(new RegExp(`^${name}: *([0-9]+) kB`, 'm').exec(text)?.[1]) / 1024)
  return { totalMib: mib('MemTotal'), availableMib: mib('MemAvailable') }
}

/** Cores this process may use. */
export const readVcpus = (): number => availableParallelism()

/** Size of the file system that holds `path`, and what is free in it for others than root, in bytes. */
export async function readSpace(path: string): Promise<{ totalBytes: number; freeBytes: number }> {
  const { bsize, blocks, bavail } = await statfs(path)
  return { totalBytes: bsize * blocks, freeBytes: bsize * bavail }
}

/** @throws HostError `noSpace` saying how much is missing, when the file system of `path` has less than `needed` free. */
export async function demandSpace(path: string, neededBytes: number): Promise<void> {
  const { freeBytes } = await readSpace(path)
  if (freeBytes >= neededBytes) return
  const [missing, needed] = [neededBytes - freeBytes, neededBytes].map((bytes) => Math.ceil(bytes / MIB))
  throw new HostError(
    'noSpace',
    `The host has no space left for the disk: ${missing} MiB of ${needed} MiB are missing.`,
  )
}

/** @throws HostError `noMemory` saying how much is missing, when the machine has less than `neededMib` to give. */
export function demandMemory(neededMib: number): void {
  const { availableMib } = readMemory()
  if (availableMib >= neededMib) return
  const missing = neededMib - availableMib
  throw new HostError('noMemory', `The host has not enough memory: ${missing} MiB of ${neededMib} MiB are missing.`)
}

/** The first directory on the way to `path`, from the root, that `user` may not pass; undefined when there is none. */
export function findClosedDirectory(path: string, user: { uid: number; gid: number }): string | undefined {
  const parent = dirname(path)
  const above = parent === path ? undefined : findClosedDirectory(parent, user)
  if (above !== undefined) return above
  const { mode, uid, gid } = statSync(path)
  const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001
  return (mode & bit) === 0 ? path : undefined
}
