import { readFile } from 'node:fs/promises'
import { readUplink, type UplinkSetting } from '../host/linux-network/uplink-setting.ts'
import { run } from '../host/run-program.ts'
import { type Finding, missing, ok, warn } from './doctor-report.ts'

const TIMEOUT_MS = 20_000

/** What the setting `uplink` needs of the machine. Only looks. */
export async function lookAtUplink(setting: string): Promise<Finding[]> {
  const uplink = readUplink(setting)
  const { kind } = uplink
  if (kind === 'none') {
    return [ok('uplink', 'none: floating IPs are reached from inside, and with novella edge COMMAND')]
  }
  return [...(kind === 'nat' ? [await lookAtForwarding()] : [await lookAtBridge(uplink)]), ...(await lookAtFilters())]
}

async function lookAtForwarding(): Promise<Finding> {
  const [name, note] = ['ip_forward', 'uplink = nat: this machine routes for its guests']
  const value = await readFile('/proc/sys/net/ipv4/ip_forward', 'utf8').catch(() => '')
  if (value.trim() === '1') return ok(name, note)
  return warn(name, note, 'Novella turns it on with the first gateway; to keep it: sysctl -w net.ipv4.ip_forward=1')
}

async function lookAtBridge({ bridge }: Extract<UplinkSetting, { kind: 'bridge' }>): Promise<Finding> {
  const [name, note] = ['uplink', `bridge=${bridge}: external networks are on it`]
  const argv = ['ip', '-json', 'link', 'show', 'type', 'bridge']
  const bridges: { ifname: string }[] = JSON.parse((await run(argv, { timeoutMs: TIMEOUT_MS }).catch(() => '')) || '[]')
  if (bridges.some(({ ifname }) => ifname === bridge)) return ok(name, note)
  return missing(name, note, `there is no bridge ${bridge}; ip link add ${bridge} type bridge, or another uplink`)
}

/** A firewall of the machine's own (Docker's, ufw's) may drop what it should pass on. */
async function lookAtFilters(): Promise<Finding[]> {
  const text = await run(['nft', '-j', 'list', 'chains'], { timeoutMs: TIMEOUT_MS }).catch(() => '')
  const name = 'firewall'
  if (text === '') return [warn(name, 'the machine’s own rules could not be read', 'run novella doctor as root')]
  const chains: { chain?: { hook?: string; policy?: string; table: string; family: string } }[] =
    JSON.parse(text).nftables
  const dropping = chains.flatMap(({ chain }) => (chain?.hook === 'forward' && chain.policy === 'drop' ? [chain] : []))
  if (dropping.length === 0) return [ok(name, 'the machine’s own rules pass on what guests send')]
  const tables = dropping.map(({ family, table }) => `${family} ${table}`).join(', ')
  const note = `the machine’s own rules (${tables}) drop what they do not know`
  return [
    warn(
      name,
      note,
      'let devices nv… pass: iptables -I FORWARD -i nv+ -j ACCEPT; iptables -I FORWARD -o nv+ -j ACCEPT',
    ),
  ]
}
