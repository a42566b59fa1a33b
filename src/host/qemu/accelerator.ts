import { existsSync } from 'node:fs'
import { chmod, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { HostError } from '../host-driver.ts'
import { CommandError, run } from '../run-program.ts'
import { asUser, type LaunchPrograms } from './launch-command.ts'
import { readBootId } from './run-record.ts'

export type Accelerator = 'tcg' | 'kvm'

export interface AcceleratorInput {
  wish: 'auto' | Accelerator
  programs: LaunchPrograms
  user: { uid: number; gid: number }
  /** Where the outcome is kept, and the tiny disk while it is tried. */
  dataDir: string
  log: Logger
}

const KVM_DEVICE = '/dev/kvm'
/** A KVM that has not booted a boot sector by then is of no use. */
const TRIAL_LIMIT_MS = 3_000

/**
 * How guests shall run. `auto` boots a boot sector under KVM and under TCG and keeps the faster, since /dev/kvm can be
 * there and be useless (seen: 4.5 s against 0.1 s); the outcome holds until the machine boots anew or QEMU changes.
 * @throws HostError `missing` when KVM is demanded and not there.
 */
export async function chooseAccelerator(input: AcceleratorInput): Promise<Accelerator> {
  if (input.wish === 'tcg') return 'tcg'
  const hasDevice = existsSync(KVM_DEVICE)
  if (input.wish === 'kvm') {
    if (!hasDevice) throw new HostError('missing', 'This machine has no /dev/kvm; set the accelerator to auto or tcg.')
    return 'kvm'
  }
  if (!hasDevice) return 'tcg'
  const key = await outcomeKey(input.programs.qemu)
  const cache = join(input.dataDir, 'accelerator.json')
  const known = await readOutcome(cache)
  if (known?.key === key) return known.accelerator
  const kvmMs = await timeTinyBoot('kvm', input)
  const tcgMs = kvmMs === undefined ? undefined : await timeTinyBoot('tcg', input)
  const accelerator = kvmMs !== undefined && kvmMs < (tcgMs ?? Number.POSITIVE_INFINITY) ? 'kvm' : 'tcg'
  input.log.info({ accelerator, kvmMs, tcgMs }, 'timed a tiny boot under KVM and under TCG')
  try {
    await writeFile(`${cache}.unfinished`, JSON.stringify({ key, accelerator, kvmMs, tcgMs }))
    await rename(`${cache}.unfinished`, cache)
  } catch (error) {
    input.log.warn({ err: error }, 'which accelerator is faster could not be kept: the next start tries again')
  }
  return accelerator
}

/** The group QEMU has to be in to open /dev/kvm; never root's. Undefined when there is none such. */
export async function kvmGroup(): Promise<number | undefined> {
  const { gid } = await stat(KVM_DEVICE).catch(() => ({ gid: 0 }))
  return gid === 0 ? undefined : gid
}

/** Same boot, same QEMU: then the outcome is the same. */
async function outcomeKey(qemu: string): Promise<string> {
  const { size, mtimeMs } = await stat(qemu)
  return `${readBootId()} ${size} ${mtimeMs}`
}

async function readOutcome(path: string): Promise<{ key: string; accelerator: Accelerator } | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8'))
  } catch {
    return undefined
  }
}

/** The device isa-debug-exit ends QEMU with (value << 1) | 1. */
const EXIT_VALUE = 0x2a
const EXPECTED_EXIT = (EXIT_VALUE << 1) | 1

/** SeaBIOS does not boot from a disk of a single sector. */
const TRIAL_DISK_BYTES = 1024 * 1024

/** A disk with a boot sector of three instructions: mov dx, 0x501; mov al, EXIT_VALUE; out dx, al. */
function exitingDisk(): Buffer {
  const disk = Buffer.alloc(TRIAL_DISK_BYTES)
  disk.set([0xba, 0x01, 0x05, 0xb0, EXIT_VALUE, 0xee])
  disk.writeUInt16LE(0xaa55, 510)
  return disk
}

/**
 * How long the firmware and a boot sector take, in milliseconds; undefined when they do not end well in time. Runs as
 * guests do: same user, same sandbox, no network.
 */
export async function timeTinyBoot(
  accelerator: Accelerator,
  { programs, user, dataDir }: Pick<AcceleratorInput, 'programs' | 'user' | 'dataDir'>,
): Promise<number | undefined> {
  const directory = join(dataDir, `trial-${accelerator}`)
  await rm(directory, { recursive: true, force: true })
  await mkdir(directory)
  try {
    const disk = join(directory, 'disk.raw')
    await writeFile(disk, exitingDisk())
    await chmod(directory, 0o711)
    await chmod(disk, 0o644)
    const file = { driver: 'file', filename: disk, 'read-only': true }
    const argv = [
      ...[programs.unshare, '--net'],
      ...asUser(programs.setpriv, user, accelerator === 'kvm' ? await kvmGroup() : undefined),
      ...[programs.qemu, '-no-user-config', '-nodefaults', '-display', 'none', '-machine', 'q35', '-m', '64M'],
      ...['-accel', accelerator, '-cpu', accelerator === 'kvm' ? 'host' : 'max'],
      ...['-blockdev', JSON.stringify({ driver: 'raw', 'node-name': 'root', 'read-only': true, file })],
      ...['-device', 'virtio-blk-pci,drive=root,bootindex=1'],
      ...['-device', 'isa-debug-exit,iobase=0x501,iosize=2'],
      ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ]
    const startedAt = performance.now()
    const ended = await run(argv, { timeoutMs: TRIAL_LIMIT_MS }).then(() => 0, exitCode)
    return ended === EXPECTED_EXIT ? Math.round(performance.now() - startedAt) : undefined
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** The exit status a command failed with; undefined when a signal ended it. */
function exitCode(error: unknown): number | undefined {
  const code = error instanceof CommandError ? (error.cause as { code?: unknown }).code : undefined
  return typeof code === 'number' ? code : undefined
}
