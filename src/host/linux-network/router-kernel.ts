/** Looks into the namespace of a router or the edge, and changes it, with `ip`, `tc` and `nft`. */
import { type ObservedClass, type ObservedQueues, readClasses } from './floating-limits.ts'
import type { ObservedRoute, ObservedRouter, RouterLink } from './router-links.ts'
import { ROUTER_TABLE } from './router-rules.ts'
import { runInNamespace, runTool } from './run-tool.ts'

/**
 * Routers answer for their own addresses only and by the card they are on (arp_ignore), tell neighbours when they get
 * one (arp_notify), believe nobody's advertisements, and take packets by whatever way a tenant's routes bring them.
 * `ip_forward` comes first, since it sets others back.
 */
const SETTINGS = [
  'net/ipv4/ip_forward=1',
  'net/ipv4/conf/all/send_redirects=0',
  'net/ipv4/conf/default/send_redirects=0',
  'net/ipv4/conf/all/accept_redirects=0',
  'net/ipv4/conf/default/accept_redirects=0',
  'net/ipv4/conf/all/rp_filter=0',
  'net/ipv4/conf/default/rp_filter=0',
  'net/ipv4/conf/all/arp_ignore=1',
  'net/ipv4/conf/all/arp_announce=2',
  'net/ipv4/conf/all/arp_notify=1',
  'net/ipv4/conf/all/promote_secondaries=1',
  'net/ipv6/conf/all/accept_ra=0',
  'net/ipv6/conf/default/accept_ra=0',
  'net/ipv6/conf/all/accept_redirects=0',
  'net/ipv6/conf/default/accept_redirects=0',
  'net/ipv6/conf/all/disable_ipv6=0',
  'net/ipv6/conf/default/disable_ipv6=0',
  'net/ipv6/conf/all/forwarding=1',
]

/** By a shell, since a plain write must happen inside; the text is ours. A kernel may lack IPv6. */
export async function applyRouterSettings(namespace: string): Promise<void> {
  const lines = SETTINGS.map((setting) => {
    const [path, value] = setting.split('=')
    const write = `echo ${value} > /proc/sys/${path}`
    return setting.startsWith('net/ipv6/') ? `{ [ ! -e /proc/sys/${path} ] || ${write}; }` : write
  })
  await runInNamespace(namespace, ['/bin/sh', '-c', lines.join(' && ')])
}

/** Devices, addresses, and the routes that go by a next hop. */
export async function observeRouter(namespace: string): Promise<ObservedRouter> {
  const ask = (args: string[], input?: string) =>
    runTool('ip', [...args, '-n', namespace, '-json', ...ALL_SHOWN], input)
  const [text, text6] = await Promise.all([ask([], 'addr show\nroute show\n'), ask(['-6'], 'route show\n')])
  // One line of JSON for each command, or none for one that has nothing to show.
  const shown = (output: string) =>
    output
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line))
  const [links = [], routes = []] = shown(text) as [RouterLink[]?, Partial<ObservedRoute>[]?]
  const [routes6 = []] = shown(text6) as [Partial<ObservedRoute>[]?]
  const byNextHop = (route: Partial<ObservedRoute>): route is ObservedRoute => route.gateway !== undefined
  return {
    links,
    routes: [...routes, ...routes6].filter(byNextHop),
    shaped: links.filter(({ qdisc }) => qdisc === 'htb').map(({ ifname }) => ifname),
  }
}
const ALL_SHOWN = ['-batch', '-']

/** Runs `ip` commands in order, stopping at the first that fails. */
export async function changeNamespace(namespace: string, commands: readonly string[]): Promise<void> {
  if (commands.length > 0) await runTool('ip', ['-n', namespace, '-batch', '-'], batch(commands))
}

/** The classes of devices that have our kind of queue. */
export async function observeQueues(namespace: string, shaped: string[]): Promise<ObservedQueues> {
  const classes: ObservedClass[][] = await Promise.all(
    shaped.map(async (device) =>
      readClasses(device, await runTool('tc', ['-n', namespace, 'class', 'show', 'dev', device])),
    ),
  )
  return { shaped, classes: classes.flat() }
}

export async function changeQueues(namespace: string, commands: readonly string[]): Promise<void> {
  if (commands.length > 0) await runTool('tc', ['-n', namespace, '-batch', '-'], batch(commands))
}

const batch = (commands: readonly string[]): string => commands.map((command) => `${command}\n`).join('')

/** The rules as the kernel has them, as text that only serves to be compared; empty when there are none. */
export const readRules = (namespace: string): Promise<string> =>
  runInNamespace(namespace, ['nft', '-s', 'list', 'table', ...ROUTER_TABLE.split(' ')]).catch(() => '')

/** Replaces the rules at once, and answers them as the kernel has them. */
export const replaceRules = (namespace: string, script: string): Promise<string> =>
  runInNamespace(namespace, ['/bin/sh', '-c', `nft -f - && nft -s list table ${ROUTER_TABLE}`], script)

/**
 * Tells the neighbours of devices all their addresses anew: who knew one of them at another card learns the new one.
 * Setting the MAC a device has already makes the kernel do that (arp_notify), and nothing else.
 */
export const announce = (namespace: string, devices: readonly { name: string; mac: string }[]): Promise<void> =>
  changeNamespace(
    namespace,
    devices.map(({ name, mac }) => `link set ${name} address ${mac}`),
  )
