import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NetworkPlan } from '../host-driver.ts'
import { EXAMPLE_NETWORK } from './example-plans.ts'
import { type ObservedLink, planLinks } from './link-plan.ts'
import { bridgeMac, tapName } from './names.ts'

const USER = { uid: 64_055, gid: 64_056 }
const TAP = tapName('port-1')
const lo: ObservedLink = { ifname: 'lo', mtu: 65_536, flags: ['LOOPBACK', 'UP'], addr_info: [] }
const br0: ObservedLink = {
  ifname: 'br0',
  mtu: 1450,
  flags: ['BROADCAST', 'UP'],
  addr_info: [
    { family: 'inet', local: '10.0.0.2', prefixlen: 22 },
    { family: 'inet', local: '169.254.169.254', prefixlen: 32 },
    { family: 'inet6', local: 'fe80::1', prefixlen: 64, scope: 'link' },
  ],
}
const tap: ObservedLink = { ifname: TAP, mtu: 1450, master: 'br0', flags: ['UP'], addr_info: [] }
const plan = (
  portIds: string[],
  observed: ObservedLink[],
  network: NetworkPlan = EXAMPLE_NETWORK,
  ends: string[] = [],
  speaksIpv6 = false,
) => planLinks({ network, portIds, ends: new Set(ends), speaksIpv6 }, observed, USER)
const makeTap = [`tuntap add dev ${TAP} mode tap user 64055 group 64056`, `link set ${TAP} mtu 1450 master br0 up`]

test('each difference between the namespace and the plan is made good, and nothing else is touched', () => {
  const table: [string, string[], ObservedLink[], string[]][] = [
    ['all is there', ['port-1'], [lo, br0, tap], []],
    [
      'a new namespace',
      ['port-1'],
      [{ ...lo, flags: ['LOOPBACK'] }],
      [
        'link set lo up',
        `link add br0 address ${bridgeMac('net-1')} type bridge mcast_snooping 0`,
        'link set br0 mtu 1450 up',
        'addr add 10.0.0.2/22 dev br0',
        'addr add 169.254.169.254/32 dev br0',
        ...makeTap,
      ],
    ],
    ['a new port', ['port-1'], [lo, br0], makeTap],
    ['a removed port', [], [lo, br0, tap], [`link delete ${TAP}`]],
    [
      'a bridge of another MAC',
      [],
      [lo, { ...br0, address: 'fa:16:3e:00:00:01' }],
      [`link set br0 address ${bridgeMac('net-1')}`],
    ],
    ['a foreign device', [], [lo, br0, { ...tap, ifname: 'vx42' }], []],
    ['a tap off the bridge', ['port-1'], [lo, br0, { ...tap, master: 'br9' }], makeTap.slice(1)],
    ['a tap that is down', ['port-1'], [lo, br0, { ...tap, flags: [] }], makeTap.slice(1)],
    [
      'a changed MTU',
      ['port-1'],
      [lo, { ...br0, mtu: 1500 }, { ...tap, mtu: 1500 }],
      ['link set br0 mtu 1450 up', ...makeTap.slice(1)],
    ],
    [
      'a changed address',
      [],
      [lo, { ...br0, addr_info: [{ family: 'inet', local: '10.0.0.9', prefixlen: 22 }] }],
      ['addr del 10.0.0.9/22 dev br0', 'addr add 10.0.0.2/22 dev br0', 'addr add 169.254.169.254/32 dev br0'],
    ],
  ]
  for (const [what, ports, observed, commands] of table) {
    assert.deepEqual(plan(ports, observed), commands, what)
  }
})

test('a bridge taken away by hand comes back with its addresses and its taps', () => {
  const commands = plan(['port-1'], [lo, { ...tap, master: undefined }] as ObservedLink[])
  assert.equal(commands.length, 5)
  assert.equal(commands.at(-1), makeTap[1])
})

test('a router’s end is put on the bridge where it is, never made, and goes when no router names it', () => {
  const end = { ...tap, ifname: 'vr1' }
  assert.deepEqual(plan([], [lo, br0], EXAMPLE_NETWORK, ['vr1']), [])
  assert.deepEqual(plan([], [lo, br0, end], EXAMPLE_NETWORK, ['vr1']), [])
  assert.deepEqual(plan([], [lo, br0, { ...end, flags: [] }], EXAMPLE_NETWORK, ['vr1']), [
    'link set vr1 mtu 1450 master br0 up',
  ])
  assert.deepEqual(plan([], [lo, br0, end]), ['link delete vr1'])
})

test('IPv6 addresses come once the bridge speaks it, and an external network has none at all', () => {
  const [subnet] = EXAMPLE_NETWORK.subnets
  assert.ok(subnet)
  const six = { ...subnet, ipVersion: 6 as const, cidr: 'fd00:1::/64', dhcpAddress: 'FD00:1:0::2' }
  const network = { ...EXAMPLE_NETWORK, subnets: [...EXAMPLE_NETWORK.subnets, six] }
  const planned = (bridge: ObservedLink) => plan([], [lo, bridge], network, [], true)
  assert.deepEqual(plan([], [lo, br0], network), [])
  assert.deepEqual(planned(br0), ['addr add fd00:1::2/64 dev br0 nodad'])
  const given = { family: 'inet6', local: 'fd00:1::2', prefixlen: 64, scope: 'global' }
  const speaking = { ...br0, addr_info: [...br0.addr_info, given] }
  assert.deepEqual(planned(speaking), [])
  assert.deepEqual(plan([], [lo, speaking]), ['addr del fd00:1::2/64 dev br0'])
  const outside = plan([], [lo, speaking], { ...network, isExternal: true })
  assert.ok(outside.length === 3 && outside.every((line) => line.startsWith('addr del ')), outside.join())
})

test('names of taps fit the kernel and differ for ids that differ at their end', () => {
  const names = ['00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002'].map(tapName)
  assert.equal(new Set(names).size, 2)
  for (const name of names) assert.match(name, /^tap[0-9a-f]{12}$/)
})
