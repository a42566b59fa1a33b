import { asUser } from './launch-command.ts'

/** What a conversion may take. Each ends it when it is reached. */
export interface ConversionLimits {
  /** The converted disk as a guest sees it. */
  virtualBytes: number
  cpuSeconds: number
  /** Address space, which is more than what is used: 1 GiB is enough for every format. */
  memoryBytes: number
  /** The file that is made. Something more than `virtualBytes`, for tables: see `convertedBytes`. */
  fileBytes: number
  timeoutMs: number
}

/** The largest file that a disk of this size can become: its data, all distinct, and the tables of qcow2 about them. */
export const convertedBytes = (virtualBytes: number): number =>
  Math.ceil(virtualBytes * (1 + 1 / 1024)) + 4 * 1024 * 1024

/** The programs a conversion needs, as absolute paths. */
export interface ConversionPrograms {
  prlimit: string
  unshare: string
  setpriv: string
  qemuImg: string
}

/** What QEMU calls the values of `disk_format`. Those that are left out cannot be converted. */
const DRIVERS: Readonly<Record<string, string>> = {
  raw: 'raw',
  iso: 'raw',
  ami: 'raw',
  aki: 'raw',
  ari: 'raw',
  qcow2: 'qcow2',
  vmdk: 'vmdk',
  vdi: 'vdi',
  vhd: 'vpc',
  vhdx: 'vhdx',
}

/** QEMU's driver for a `disk_format`; undefined for what cannot be converted. */
export const conversionDriver = (diskFormat: string): string | undefined =>
  Object.hasOwn(DRIVERS, diskFormat) ? DRIVERS[diskFormat] : undefined

const STACK_BYTES = 2 * 1024 * 1024

/**
 * All of the child's environment. Without it, the C library reserves 64 MiB of address space for each thread that
 * allocates, and honest compressed images reach the limit by chance.
 */
export const CONVERSION_ENV: Readonly<Record<string, string>> = { MALLOC_ARENA_MAX: '1' }

/** The descriptors under which the child finds what it reads and what it writes. */
export const SOURCE_FD = 3
export const TARGET_FD = 4

/**
 * The command that converts; each link of the chain execs the next, so that the process id stays. Pure.
 *
 *   prlimit → unshare (no network, no shared memory) → setpriv (the user, no capability, ends when we end) → qemu-img
 *
 * The child is given two open files instead of paths: it can open nothing else below directories that are closed to its
 * user. The source is named as a tree of drivers, so that no format is guessed and no name is read as an address, and a
 * qcow2 is told to have no backing file whatever its header says.
 */
export function conversionCommand(input: {
  programs: ConversionPrograms
  driver: string
  user: { uid: number; gid: number }
  limits: ConversionLimits
}): string[] {
  const { programs, driver, limits } = input
  const file = { driver: 'file', filename: `/proc/self/fd/${SOURCE_FD}`, 'read-only': true }
  const source = { driver, file, 'read-only': true, ...(driver === 'qcow2' ? { backing: null } : {}) }
  return [
    programs.prlimit,
    `--as=${limits.memoryBytes}`,
    // At the first limit it is told which; at the second it is ended, whatever it makes of that.
    `--cpu=${limits.cpuSeconds}:${limits.cpuSeconds + 1}`,
    `--fsize=${limits.fileBytes}`,
    // Each thread reserves this much of the address space.
    `--stack=${STACK_BYTES}`,
    '--core=0',
    '--nofile=64',
    '--',
    programs.unshare,
    '--net',
    '--ipc',
    ...asUser(programs.setpriv, input.user),
    '--pdeathsig=KILL',
    programs.qemuImg,
    ...['convert', '-p', '-O', 'qcow2', `json:${JSON.stringify(source)}`, `/proc/self/fd/${TARGET_FD}`],
  ]
}
