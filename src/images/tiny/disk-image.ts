/** A disk that boots by itself, made of plain files: no loop device, no mount. */
import { type FileHandle, open, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { KERNEL_ARGUMENTS, MASTER_BOOT_RECORD, ROOT_MIB } from './recipe.ts'
import { runTool } from './run-tool.ts'

const MIB = 1024 * 1024
const SECTOR = 512
/** The first partition starts where partition programs put it, which leaves room for boot code. */
const BOOT_OFFSET = 1 * MIB
/** Boot code ends where the partition table begins. */
const BOOT_CODE_BYTES = 440

const SYSLINUX_CONFIG = `DEFAULT tiny
PROMPT 0
LABEL tiny
  KERNEL vmlinuz
  INITRD initrd
  APPEND ${KERNEL_ARGUMENTS}
`

/**
 * Writes `disk.qcow2`: boot code, a FAT partition with syslinux, kernel and initrd, and the ext4 root file system.
 * @param work directory for intermediate files.
 * @param parts.root directory that becomes the root file system; the modes and owners of its files are kept.
 * @param signal ends what is under way.
 */
export async function writeDisk(
  work: string,
  parts: { root: string; kernel: string; initrd: string },
  disk: string,
  signal?: AbortSignal,
): Promise<void> {
  const raw = join(work, 'disk.raw')
  const boot = (await stat(parts.kernel)).size + (await stat(parts.initrd)).size
  // Two MiB for syslinux and the file system's own tables.
  const bootBytes = (Math.ceil(boot / MIB) + 2) * MIB
  const rootOffset = BOOT_OFFSET + bootBytes
  await writeFile(raw, '')
  await truncate(raw, rootOffset + ROOT_MIB * MIB)
  await writePartitionTable(work, raw, bootBytes, rootOffset)
  await writeBootPartition(work, raw, bootBytes, parts)
  await writeRootPartition(work, raw, rootOffset, parts.root, signal)
  await runTool('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, disk], { signal })
}

async function writePartitionTable(work: string, raw: string, bootBytes: number, rootOffset: number): Promise<void> {
  const script = join(work, 'partitions')
  await writeFile(
    script,
    `label: dos\n${BOOT_OFFSET / SECTOR},${bootBytes / SECTOR},6,*\n${rootOffset / SECTOR},${(ROOT_MIB * MIB) / SECTOR},83\n`,
  )
  // sfdisk reads its script from standard input only.
  await runTool('sh', ['-c', 'sfdisk --quiet --no-reread --no-tell-kernel "$1" <"$2"', 'sh', raw, script])
  await using image = await open(raw, 'r+')
  await using bootCode = await open(MASTER_BOOT_RECORD.file)
  const { buffer } = await bootCode.read(Buffer.alloc(BOOT_CODE_BYTES), 0, BOOT_CODE_BYTES, 0)
  await image.write(buffer, 0, BOOT_CODE_BYTES, 0)
}

async function writeBootPartition(
  work: string,
  raw: string,
  bytes: number,
  { kernel, initrd }: { kernel: string; initrd: string },
): Promise<void> {
  const config = join(work, 'syslinux.cfg')
  await writeFile(config, SYSLINUX_CONFIG)
  const target = `${raw}@@${BOOT_OFFSET}`
  await runTool('mformat', ['-i', target, '-T', String(bytes / SECTOR), '-h', '64', '-s', '32', '::'])
  await runTool('mcopy', ['-i', target, kernel, '::/vmlinuz'])
  await runTool('mcopy', ['-i', target, initrd, '::/initrd'])
  await runTool('mcopy', ['-i', target, config, '::/syslinux.cfg'])
  await runTool('syslinux', ['--install', '--offset', String(BOOT_OFFSET), raw])
}

async function writeRootPartition(
  work: string,
  raw: string,
  offset: number,
  root: string,
  signal?: AbortSignal,
): Promise<void> {
  const fileSystem = join(work, 'root.ext4')
  // Without the lazy parts a guest would be busy writing tables after its first boot.
  const extended = 'root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0'
  const args = ['-q', '-t', 'ext4', '-L', 'root', '-E', extended, '-d', root, fileSystem, `${ROOT_MIB}M`]
  await runTool('mke2fs', args, { signal })
  await using from = await open(fileSystem)
  await using to = await open(raw, 'r+')
  await copySparsely(from, to, offset)
}

async function copySparsely(from: FileHandle, to: FileHandle, offset: number): Promise<void> {
  const zeros = Buffer.alloc(MIB)
  for (let at = 0; ; ) {
    const { bytesRead, buffer } = await from.read(Buffer.alloc(MIB), 0, MIB, at)
    if (bytesRead === 0) return
    const chunk = buffer.subarray(0, bytesRead)
    if (!chunk.equals(zeros.subarray(0, bytesRead))) await to.write(chunk, 0, bytesRead, offset + at)
    at += bytesRead
  }
}
