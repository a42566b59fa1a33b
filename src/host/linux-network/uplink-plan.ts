/** The small link between the machine and the edge, and the machine's rules for it. Pure. */
import { createHash } from 'node:crypto'
import type { NetworkPlan } from '../host-driver.ts'
import { formatDestination, parseNetwork } from './router-addresses.ts'

export interface Transit {
  machine: string
  edge: string
}

/** Prefix length of the link between the two: each has two addresses to give. */
export const TRANSIT_BITS = 30

/** Two addresses of 169.254.32.0/19, which no guest's metadata service is in. */
function transitNumber(number: number): Transit {
  const [third, fourth] = [32 + Math.floor(number / 64), (number % 64) * 4]
  return { machine: `169.254.${third}.${fourth + 1}`, edge: `169.254.${third}.${fourth + 2}` }
}
const TRANSITS = 32 * 64

/** The addresses that a device has already, or else the first that no device has, beginning at one by its name. */
export function pickTransit(
  device: string,
  links: readonly { ifname: string; addr_info: readonly { local?: string }[] }[],
): Transit {
  const all = Array.from({ length: TRANSITS }, (_, number) => transitNumber(number))
  const addresses = (ofDevice: boolean) =>
    new Set(
      links
        .filter(({ ifname }) => (ifname === device) === ofDevice)
        .flatMap(({ addr_info }) => addr_info.map(({ local }) => local)),
    )
  const [own, others] = [addresses(true), addresses(false)]
  const first = createHash('sha256').update(device).digest().readUInt32BE() % TRANSITS
  const inOrder = [...all.slice(first), ...all.slice(0, first)]
  const transit = all.find(({ machine }) => own.has(machine)) ?? inOrder.find(({ machine }) => !others.has(machine))
  if (!transit) throw new Error('169.254.32.0/19 is all taken')
  return transit
}

/** The IPv4 subnets of an external network, as `ip route` prints them. */
export const externalNetworks = ({ subnets }: NetworkPlan): string[] =>
  subnets.filter(({ ipVersion }) => ipVersion === 4).map(({ cidr }) => formatDestination(parseNetwork(cidr)))

/** The machine's rules: what comes from the external subnets leaves by the machine's own address. */
export function buildNatTable(table: string, network: NetworkPlan, device: string): string {
  const sources = externalNetworks(network)
  return [
    `table ip ${table}`,
    `delete table ip ${table}`,
    `table ip ${table} {`,
    '  chain postrouting {',
    '    type nat hook postrouting priority srcnat; policy accept;',
    ...(sources.length > 0 ? [`    oifname != "${device}" ip saddr { ${sources.join(', ')} } masquerade`] : []),
    '  }',
    '}',
    '',
  ].join('\n')
}
