import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { run } from '../host/run-program.ts'
import { type Finding, missing, ok, warn } from './doctor-report.ts'

/** A part of the kernel, tried in a namespace of its own; each trial stands on the ones before. */
interface Trial {
  name: string
  purpose: string
  /** What to do when it fails. */
  advice: string
  isNeeded: boolean
  /** @throws when the kernel lacks it. */
  attempt(namespace: string): Promise<unknown>
}

const TIMEOUT_MS = 20_000
const command = (...argv: string[]) => run(argv, { timeoutMs: TIMEOUT_MS })
const ip = (namespace: string, ...args: string[]) => command('ip', '-n', namespace, ...args)
const inside = (namespace: string, argv: string[], input = '') =>
  run(['ip', 'netns', 'exec', namespace, ...argv], { timeoutMs: TIMEOUT_MS, input })
const rules = (namespace: string, chain: string, ...lines: string[]) =>
  inside(
    namespace,
    ['nft', '-f', '-'],
    `table ${chain.split(' ')[0]} try {\nchain try {\n${[chain.slice(chain.indexOf(' ') + 1), ...lines].join('\n')}\n}\n}\ndelete table ${chain.split(' ')[0]} try\n`,
  )

const load = (module: string) => `modprobe ${module}; if that fails, the kernel was built without it`

const TRIALS: Trial[] = [
  {
    name: 'bridge',
    purpose: 'joins guests of a network',
    advice: load('bridge'),
    isNeeded: true,
    attempt: (ns) => ip(ns, 'link', 'add', 'try-br', 'type', 'bridge'),
  },
  {
    name: 'veth',
    purpose: 'joins routers to networks',
    advice: load('veth'),
    isNeeded: true,
    attempt: (ns) => ip(ns, 'link', 'add', 'try-a', 'type', 'veth', 'peer', 'name', 'try-b'),
  },
  {
    name: 'tun',
    purpose: 'network cards of guests',
    advice: load('tun'),
    isNeeded: true,
    attempt: (ns) => ip(ns, 'tuntap', 'add', 'dev', 'try-tap', 'mode', 'tap'),
  },
  {
    name: 'br_netfilter',
    purpose: 'security groups between guests of one network',
    advice: load('br_netfilter'),
    isNeeded: true,
    async attempt(ns) {
      if (!existsSync('/proc/sys/net/bridge')) await command('modprobe', 'br_netfilter')
      await inside(ns, ['/bin/sh', '-c', 'echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables'])
    },
  },
  {
    name: 'nft inet, conntrack',
    purpose: 'security groups with replies',
    advice: load('nft_ct nf_conntrack'),
    isNeeded: true,
    attempt: (ns) =>
      rules(
        ns,
        'inet type filter hook forward priority 0; policy drop;',
        'ct state established ct direction reply accept',
      ),
  },
  {
    name: 'nft bridge',
    purpose: 'keeps guests from taking each other’s addresses',
    advice: load('nf_tables'),
    isNeeded: true,
    attempt: (ns) =>
      rules(
        ns,
        'bridge type filter hook prerouting priority -300; policy accept;',
        'ether saddr fa:16:3e:00:00:01 meta mark set 1',
      ),
  },
  {
    name: 'nft nat',
    purpose: 'routers and floating IPs',
    advice: load('nft_chain_nat'),
    isNeeded: true,
    attempt: (ns) =>
      rules(
        ns,
        'inet type nat hook postrouting priority 100; policy accept;',
        'ct status dnat snat ip to 192.0.2.1',
        'masquerade',
      ),
  },
  {
    name: 'nft connlimit',
    purpose: 'bounds the connections of one guest',
    advice: `${load('nft_connlimit')}; one guest may then use up its network’s connection tracking`,
    isNeeded: false,
    attempt: (ns) => rules(ns, 'inet type filter hook forward priority 0; policy accept;', 'ct count over 10 drop'),
  },
  {
    name: 'tc htb',
    purpose: 'rate limits of floating IPs',
    advice: `${load('sch_htb')}; floating IPs with a rate limit then fail`,
    isNeeded: false,
    attempt: (ns) =>
      command('tc', '-n', ns, 'qdisc', 'add', 'dev', 'try-a', 'root', 'handle', '1:', 'htb', 'default', '0'),
  },
  {
    name: 'ipv6',
    purpose: 'IPv6 subnets',
    advice: 'start the kernel without ipv6.disable=1; IPv6 subnets carry nothing then',
    isNeeded: false,
    attempt: (ns) => inside(ns, ['/bin/sh', '-c', 'echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6']),
  },
]

/** Each part of the kernel that networks need, really tried; in a namespace that is gone afterwards. */
export async function tryKernel(): Promise<Finding[]> {
  if (process.getuid?.() !== 0) {
    return [warn('kernel', 'what networks need of it was not tried', 'run novella doctor as root')]
  }
  const namespace = `novella-doctor-${randomBytes(4).toString('hex')}`
  const purpose = 'a network stack for each network and router'
  try {
    await command('ip', 'netns', 'add', namespace)
  } catch (error) {
    return [missing('network namespaces', purpose, `a kernel with CONFIG_NET_NS, and iproute2 (${said(error)})`)]
  }
  try {
    const findings = [ok('network namespaces', purpose)]
    for (const trial of TRIALS) findings.push(await attempt(trial, namespace))
    return findings
  } finally {
    await command('ip', 'netns', 'delete', namespace)
  }
}

async function attempt({ name, purpose, advice, isNeeded, attempt: go }: Trial, namespace: string): Promise<Finding> {
  try {
    await go(namespace)
    return ok(name, purpose)
  } catch (error) {
    return (isNeeded ? missing : warn)(name, purpose, `${advice} (${said(error)})`)
  }
}

/** The first line of what a tool said. */
const said = (error: unknown): string =>
  ((error as { stderr?: string }).stderr ?? '').trim().split('\n')[0] || (error as Error).message
