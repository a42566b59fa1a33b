import { HostError } from '../host-driver.ts'
import { findProgram, SYSTEM_PATH } from '../run-program.ts'
import type { LaunchPrograms } from './launch-command.ts'

export interface QemuPrograms extends LaunchPrograms {
  qemuImg: string
  mke2fs: string
  mkswap: string
}

/** Where each program comes from in Debian and Ubuntu. */
const PACKAGES = {
  qemu: ['qemu-system-x86_64', 'qemu-system-x86'],
  qemuImg: ['qemu-img', 'qemu-utils'],
  ip: ['ip', 'iproute2'],
  perl: ['perl', 'perl-base'],
  setpriv: ['setpriv', 'util-linux'],
  unshare: ['unshare', 'util-linux'],
  mke2fs: ['mke2fs', 'e2fsprogs'],
  mkswap: ['mkswap', 'util-linux'],
} as const satisfies Record<keyof QemuPrograms, readonly [program: string, debianPackage: string]>

/**
 * The programs this driver calls, as absolute paths.
 * @param searchPath colon-separated directories.
 * @throws HostError `missing` with the command that installs what is not there.
 */
export function findQemuPrograms(searchPath: string = SYSTEM_PATH): QemuPrograms {
  const found: Partial<QemuPrograms> = {}
  const missing = new Map<string, string>()
  for (const [key, [program, debianPackage]] of Object.entries(PACKAGES)) {
    const path = findProgram(program, searchPath)
    if (path === undefined) missing.set(program, debianPackage)
    else found[key as keyof QemuPrograms] = path
  }
  if (missing.size === 0) return found as QemuPrograms
  const packages = [...new Set(missing.values())].join(' ')
  throw new HostError('missing', `Not installed: ${[...missing.keys()].join(', ')}. Run: apt-get install ${packages}`)
}
