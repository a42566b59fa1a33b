import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PortPlan } from '../host-driver.ts'
import { EXAMPLE_NETWORK, examplePort } from './example-plans.ts'
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
    { family: 'inet6', local: 'fe80::1', prefixlen: 64 },
  ],
}
const tap: ObservedLink = { ifname: TAP, mtu: 1450, master: 'br0', flags: ['UP'], addr_info: [] }
const makeTap = [`tuntap add dev ${TAP} mode tap user 64055 group 64056`, `link set ${TAP} mtu 1450 master br0 up`]

test('each difference between the namespace and the plan is made good, and nothing else is touched', () => {
  const table: [string, PortPlan[], ObservedLink[], string[]][] = [
    ['all is there', [examplePort(1)], [lo, br0, tap], []],
    [
      'a new namespace',
      [examplePort(1)],
      [{ ...lo, flags: ['LOOPBACK'] }],
      [
        'link set lo up',
        `link add br0 address ${bridgeMac('net-1')} type bridge`,
        'link set br0 mtu 1450 up',
        'addr add 10.0.0.2/22 dev br0',
        'addr add 169.254.169.254/32 dev br0',
        ...makeTap,
      ],
    ],
    ['a new port', [examplePort(1)], [lo, br0], makeTap],
    ['a removed port', [], [lo, br0, tap], [`link delete ${TAP}`]],
    ['a foreign device', [], [lo, br0, { ...tap, ifname: 'vx42' }], []],
    ['a tap off the bridge', [examplePort(1)], [lo, br0, { ...tap, master: 'br9' }], makeTap.slice(1)],
    ['a tap that is down', [examplePort(1)], [lo, br0, { ...tap, flags: [] }], makeTap.slice(1)],
    [
      'a changed MTU',
      [examplePort(1)],
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
    assert.deepEqual(planLinks(EXAMPLE_NETWORK, ports, observed, USER), commands, what)
  }
})

test('a bridge taken away by hand comes back with its addresses and its taps', () => {
  const commands = planLinks(
    EXAMPLE_NETWORK,
    [examplePort(1)],
    [lo, { ...tap, master: undefined }] as ObservedLink[],
    USER,
  )
  assert.equal(commands.length, 5)
  assert.equal(commands.at(-1), makeTap[1])
})

test('names of taps fit the kernel and differ for ids that differ at their end', () => {
  const names = ['00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002'].map(tapName)
  assert.equal(new Set(names).size, 2)
  for (const name of names) assert.match(name, /^tap[0-9a-f]{12}$/)
})
