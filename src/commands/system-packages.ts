import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { join } from 'node:path'

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
 * @throws MissingPackagesError with the exact command, when not root or not on Debian or Ubuntu.
 */
export function ensureSystemPackages(needs: readonly Need[], say: (message: string) => void): void {
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
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  // Its chatter goes where progress goes: standard output is for whoever reads what a command answers.
  const apt = (...args: string[]) => spawnSync('apt-get', args, { env, stdio: ['ignore', 2, 2] }).status === 0
  const install = () => apt('install', '-y', '-qq', '--no-install-recommends', ...packages)
  if (!apt('update', '-qq') || !install()) {
    throw new MissingPackagesError(
      `The packages could not be installed; the lines above say why. The command was:\n  ${command}`,
    )
  }
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
