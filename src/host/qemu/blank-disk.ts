import { open, readdir, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { HostError } from '../host-driver.ts'
import { run } from '../run-program.ts'
import type { BlankDiskPlan } from '../volume-host.ts'
import { finishFile } from '../volumes/disk-shelf.ts'
import { convertRaw, createDisk, SPACE_TO_SPARE_BYTES } from '../volumes/qemu-img.ts'
import { demandSpace } from './host-facts.ts'
import type { QemuPrograms } from './qemu-programs.ts'
import { isLocalDisk, localDisk, type ServerFiles } from './server-files.ts'

const MIB = 1024 ** 2
const PREPARE_MS = 120_000

/**
 * A disk of a server's own, prepared. It appears whole or not at all, in the server's directory, which must be there.
 * Cloud-init knows file systems by their labels: `ephemeral0` is the first disk that was made, and so on.
 * @throws HostError `noSpace`, `startFailed`.
 */
export async function makeBlankDisk(disk: BlankDiskPlan, files: ServerFiles, programs: QemuPrograms): Promise<void> {
  const path = localDisk(files, disk.diskId)
  const [unfinished, raw] = [`${path}.unfinished`, `${path}.unfinished-raw`]
  for (const leftover of [unfinished, raw]) await rm(leftover, { force: true })
  await demandSpace(dirname(path), SPACE_TO_SPARE_BYTES)
  try {
    if (disk.content === 'nothing') await createDisk(unfinished, disk.sizeMib * MIB)
    else {
      const count = (await readdir(files.directory)).filter(isLocalDisk).length
      await prepare(disk, raw, count, programs)
      await convertRaw(programs.qemuImg, raw, unfinished)
    }
    await finishFile(unfinished, path, 0o600)
  } finally {
    for (const leftover of [unfinished, raw]) await rm(leftover, { force: true })
  }
}

/** A sparse file with a file system, or a swap area, in it. */
async function prepare(disk: BlankDiskPlan, raw: string, count: number, programs: QemuPrograms): Promise<void> {
  {
    await using file = await open(raw, 'wx', 0o600)
    await file.truncate(disk.sizeMib * MIB)
  }
  const ext4 = ['-q', '-F', '-t', 'ext4', '-L', `ephemeral${count}`, '-E', 'lazy_itable_init=1,lazy_journal_init=1']
  const argv = disk.content === 'swap' ? [programs.mkswap, raw] : [programs.mke2fs, ...ext4, raw]
  await run(argv, { timeoutMs: PREPARE_MS }).catch(async (cause: unknown) => {
    await rm(raw, { force: true })
    await demandSpace(dirname(raw), SPACE_TO_SPARE_BYTES)
    throw new HostError('startFailed', 'The disk could not be prepared.', { cause })
  })
}
