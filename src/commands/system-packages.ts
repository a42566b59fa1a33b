import { accessSync, constants, existsSync } from 'node:fs'
import { join } from 'node:path'
import { signalGroup, spawnGroup } from '../lib/process-group.ts'

/** A program or file that must be there, and the Debian package it comes in. */
interface Need {
  program: string
  package: string
}

const need = (name: string, program: string): Need => ({ program, package: name })

/** What real guests need. A need with a slash is a file. */
export const FOR_GUESTS: Need[] = [
  need('qemu-system-x86', 'qemu-system-x86_64'),
  need('qemu-utils', 'qemu-img'),
  need('ovmf', '/usr/share/OVMF/OVMF_CODE_4M.fd'),
  need('iproute2', 'ip'),
  need('nftables', 'nft'),
  need('dnsmasq-base', 'dnsmasq'),
  need('util-linux', 'setpriv'),
  need('e2fsprogs', 'mke2fs'),
  need('fdisk', 'sfdisk'),
  need('mtools', 'mcopy'),
  need('syslinux', 'syslinux'),
  need('syslinux-common', '/usr/lib/syslinux/mbr/mbr.bin'),
]

/** What the tests need besides. */
export const FOR_TESTS: Need[] = [
  need('openssh-client', 'ssh'),
  need('curl', 'curl'),
  need('genisoimage', 'genisoimage'),
  need('chromium', 'chromium'),
  need('postgresql', '/usr/lib/postgresql'),
]

const DIRECTORIES = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

/** A program that is missing cannot be installed here; the message names the packages. */
export class MissingPackagesError extends Error {
  override readonly name = 'MissingPackagesError'
}

/**
 * Installs the Debian packages of what is missing, and shows it. Quick when nothing is.
 * @param signal ends the installation where apt can be ended: at once while it downloads; once it unpacks, after what it
 * has begun, since packages that are half there are worse than a short wait.
 * @throws MissingPackagesError with the exact command, when not root or not on Debian or Ubuntu; the signal's reason.
 */
export async function ensureSystemPackages(
  needs: readonly Need[],
  say: (message: string) => void,
  signal?: AbortSignal,
): Promise<void> {
  const packages = [...new Set(needs.filter((one) => !isThere(one.program)).map((one) => one.package))]
  if (packages.length === 0) return
  const command = `apt-get install --no-install-recommends ${packages.join(' ')}`
  if (process.getuid?.() !== 0 || !isThere('apt-get')) {
    throw new MissingPackagesError(
      `This machine lacks programs that Novella needs. On Debian or Ubuntu, as root:\n  ${command}\n` +
        `Elsewhere, install what holds: ${packages.join(', ')}.`,
    )
  }
  say(`installing Debian packages: ${command}`)
  const install = ['install', '-y', '-qq', '--no-install-recommends', ...packages]
  if (!(await apt(['update', '-qq'], signal)) || !(await apt(install, signal))) {
    throw new MissingPackagesError(
      `The packages could not be installed; the lines above say why. The command was:\n  ${command}`,
    )
  }
}

/**
 * Runs apt-get to its end.
 * @returns whether it ended well.
 * @throws the signal's reason when that ended it.
 */
async function apt(args: readonly string[], signal?: AbortSignal): Promise<boolean> {
  signal?.throwIfAborted()
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  // Its chatter goes where progress goes: standard output is for whoever reads what a command answers.
  const child = spawnGroup('apt-get', args, { env, stdio: ['ignore', 2, 2] })
  // Only apt itself: it knows where dpkg can be left.
  const interrupt = () => child.kill('SIGINT')
  signal?.addEventListener('abort', interrupt, { once: true })
  const code = await new Promise<number | null>((resolve) => {
    child.once('error', () => resolve(null))
    child.once('exit', resolve)
  })
  signal?.removeEventListener('abort', interrupt)
  if (signal?.aborted) {
    // Its helpers for downloads notice late that nobody listens any more.
    signalGroup(child, 'SIGTERM')
    signal.throwIfAborted()
  }
  return code === 0
}

function isThere(program: string): boolean {
  if (program.includes('/')) return existsSync(program)
  return DIRECTORIES.some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
