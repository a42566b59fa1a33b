import { access } from 'node:fs/promises'
import { HostError } from '../host-driver.ts'
import { findProgram } from '../run-program.ts'
import { runTool } from './run-tool.ts'

/** Debian packages that bring the tools. */
const PACKAGES: Readonly<Record<string, string>> = { ip: 'iproute2', nft: 'nftables', dnsmasq: 'dnsmasq-base' }

/** Kernel parts that a machine may have as modules: what shows that they are there. */
const KERNEL_PARTS: Readonly<Record<string, string>> = { tun: '/dev/net/tun', br_netfilter: '/proc/sys/net/bridge' }

export interface MachineFacts {
  isRoot: boolean
  /** Programs that were not found. */
  absentPrograms: string[]
  /** Kernel modules that are neither loaded, built in, nor to be loaded. */
  absentModules: string[]
}

/** What keeps guest networks from running on this machine, in words that say what to do; undefined when nothing does. */
export function describeMissing({ isRoot, absentPrograms, absentModules }: MachineFacts): string | undefined {
  if (!isRoot) return 'Guest networks need root: start Novella as root'
  if (absentPrograms.length > 0) {
    const packages = absentPrograms.map((program) => PACKAGES[program] ?? program).join(' ')
    return `Guest networks need ${absentPrograms.join(', ')}: apt-get install ${packages}`
  }
  if (absentModules.length > 0) {
    return `Guest networks need kernel modules that cannot be loaded: modprobe -a ${absentModules.join(' ')}`
  }
  return undefined
}

/**
 * Looks whether guest networks can run here; loads kernel modules where that is all there is to do.
 * @throws HostError `missing` naming what to install or to be.
 */
export async function checkMachine(): Promise<void> {
  const isRoot = process.getuid?.() === 0
  const absentModules: string[] = []
  for (const [module, path] of Object.entries(KERNEL_PARTS)) {
    if (await isThere(path)) continue
    if (isRoot) await runTool('modprobe', [module]).catch(() => {}) // what came of it is looked at
    if (!(await isThere(path))) absentModules.push(module)
  }
  const absentPrograms = Object.keys(PACKAGES).filter((program) => findProgram(program) === undefined)
  const missing = describeMissing({ isRoot, absentPrograms, absentModules })
  if (missing !== undefined) throw new HostError('missing', missing)
}

const isThere = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )
