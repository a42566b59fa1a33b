/** Where a server goes: filters and one weigher, values in, value out. */
import type { Row } from '../db/schema.ts'
import type { Claim } from '../hosts/host-store.ts'

/** How much more is given out than there is. */
export interface Ratios {
  cpu: number
  ram: number
  disk: number
}

export interface Placement extends Claim {
  /** '' for any. */
  availabilityZone: string
}

/** What a host may give out in all. */
export function limitsOf(host: Pick<Row<'hosts'>, 'vcpus' | 'ramMib' | 'diskGib'>, ratios: Ratios): Claim {
  return {
    vcpus: Math.floor(host.vcpus * ratios.cpu),
    ramMib: Math.floor(host.ramMib * ratios.ram),
    diskGib: Math.floor(host.diskGib * ratios.disk),
  }
}

/**
 * The host with the most free memory among those that fit, or why each one does not: one sentence a host.
 */
export function pickHost(
  hosts: readonly Row<'hosts'>[],
  wanted: Placement,
  ratios: Ratios,
): { hostName: string; limits: Claim } | { refusals: string[] } {
  const refusals: string[] = []
  let best: { hostName: string; limits: Claim; freeMib: number } | undefined
  for (const host of hosts) {
    const limits = limitsOf(host, ratios)
    const refusal = refuse(host, wanted, limits)
    if (refusal !== undefined) {
      refusals.push(`${host.name}: ${refusal}`)
      continue
    }
    const freeMib = limits.ramMib - host.claimedRamMib
    if (!best || freeMib > best.freeMib) best = { hostName: host.name, limits, freeMib }
  }
  return best ? { hostName: best.hostName, limits: best.limits } : { refusals }
}

function refuse(host: Row<'hosts'>, wanted: Placement, limits: Claim): string | undefined {
  if (!host.isEnabled) return 'it is disabled.'
  if (wanted.availabilityZone !== '' && wanted.availabilityZone !== host.availabilityZone) {
    return `it is in zone ${host.availabilityZone}, not ${wanted.availabilityZone}.`
  }
  const short = (what: string, unit: string, needed: number, limit: number, claimed: number) =>
    needed > limit - claimed
      ? `it has ${Math.max(limit - claimed, 0)}${unit} ${what} free, ${needed} are needed.`
      : undefined
  return (
    short('of memory', ' MiB', wanted.ramMib, limits.ramMib, host.claimedRamMib) ??
    short('virtual CPUs', '', wanted.vcpus, limits.vcpus, host.claimedVcpus) ??
    short('of disk', ' GiB', wanted.diskGib, limits.diskGib, host.claimedDiskGib)
  )
}
