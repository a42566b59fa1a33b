import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NetworkPlan, SubnetPlan } from '../host-driver.ts'
import { dhcpFiles, dropStaleLeases, planDhcp } from './dhcp-config.ts'
import { EXAMPLE_NETWORK, heldPort } from './example-plans.ts'

const FILES = dhcpFiles('/data/networks/net-1')
const USER = { name: 'nobody', group: 'nogroup' }
const [subnet] = EXAMPLE_NETWORK.subnets as [SubnetPlan]
const network = (...subnets: SubnetPlan[]): NetworkPlan => ({ ...EXAMPLE_NETWORK, subnets })

test('a guest gets its address and name, the routes of its subnet and the one to the metadata service', () => {
  const routed = {
    ...subnet,
    dnsNameservers: ['192.0.2.53', 'fd00::53'],
    hostRoutes: [
      { destination: '198.51.100.0/24', nexthop: '10.0.0.3' },
      { destination: '203.0.113.9/32', nexthop: '10.0.0.4' },
      { destination: '10.0.0.0/22', nexthop: '0.0.0.0' },
    ],
  }
  const config = planDhcp(network(routed), [heldPort(2), heldPort(1)], FILES, USER)
  assert.equal(config?.hosts, 'fa:16:3e:00:00:01,10.0.0.11,web-1\nfa:16:3e:00:00:02,10.0.0.12,web-2\n')
  assert.deepEqual(config?.options.split('\n'), [
    'tag:s0,3,10.0.0.1',
    'tag:s0,121,169.254.169.254/32,10.0.0.2,198.51.100.0/24,10.0.0.3,203.0.113.9/32,10.0.0.4,0.0.0.0/0,10.0.0.1',
    'tag:s0,26,1450',
    'tag:s0,6,192.0.2.53',
    '',
  ])
  assert.ok(config?.args.includes('--dhcp-range=set:s0,10.0.0.0,static,255.255.252.0,86400'))
})

test('without a gateway no router and no default route are named', () => {
  const config = planDhcp(network({ ...subnet, gatewayIp: null }), [], FILES, USER)
  assert.deepEqual(config?.options.split('\n').slice(0, 2), ['tag:s0,3', 'tag:s0,121,169.254.169.254/32,10.0.0.2'])
})

test('one dnsmasq serves every subnet with DHCP, and none is run without one', () => {
  const other = { ...subnet, subnetId: 'sub-b', cidr: '10.9.0.0/24', gatewayIp: '10.9.0.1', dhcpAddress: '10.9.0.2' }
  const port = heldPort(1, {
    addresses: [
      { subnetId: 'sub-a', ipAddress: '10.0.0.11' },
      { subnetId: 'sub-a', ipAddress: '10.0.0.21' },
      { subnetId: 'sub-b', ipAddress: '10.9.0.11' },
    ],
  })
  const config = planDhcp(network(other, subnet), [port], FILES, USER)
  assert.equal(config?.hosts, 'fa:16:3e:00:00:01,10.0.0.11,web-1\nfa:16:3e:00:00:01,10.9.0.11,web-1\n')
  assert.match(config?.options ?? '', /^tag:s1,3,10\.9\.0\.1$/m)
  assert.equal(planDhcp(network({ ...subnet, dhcpAddress: null }), [port], FILES, USER), undefined)
})

test('options of a port are told apart by its tag, and a value that is none is refused', () => {
  const dhcpOptions = [
    { name: 'bootfile-name', value: 'pxelinux.0', ipVersion: 4 as const },
    { name: '6', value: '192.0.2.1,192.0.2.2', ipVersion: 4 as const },
    { name: 'dns-server', value: 'fd00::53', ipVersion: 6 as const },
  ]
  const config = planDhcp(EXAMPLE_NETWORK, [heldPort(1, { dhcpOptions }), heldPort(2)], FILES, USER)
  assert.equal(config?.hosts, 'fa:16:3e:00:00:01,10.0.0.11,web-1\nfa:16:3e:00:00:02,10.0.0.12,web-2\n')
  assert.deepEqual(
    config?.args.filter((arg) => arg.includes('set:p')),
    ['--dhcp-mac=set:p1,fa:16:3e:00:00:01'],
  )
  assert.deepEqual(config?.options.split('\n').slice(-4), [
    'tag:p1,option:bootfile-name,pxelinux.0',
    'tag:p1,6,192.0.2.1,192.0.2.2',
    'tag:p1,option6:dns-server,[fd00::53]',
    '',
  ])
  const bad = [{ name: 'bootfile-name', value: 'x\ntag:s0,3,10.0.0.66', ipVersion: 4 as const }]
  assert.throws(() => planDhcp(EXAMPLE_NETWORK, [heldPort(1, { dhcpOptions: bad })], FILES, USER), /cannot carry/)
  assert.throws(() => planDhcp(network(), [heldPort(1, { dhcpOptions: bad })], FILES, USER), /cannot carry/)
})

test('a subnet of IPv6 is advertised without a default route, and served as its mode says', () => {
  const modes = { slaac: 'ra-only', 'dhcpv6-stateless': 'ra-stateless', 'dhcpv6-stateful': 'static' } as const
  const six = { ...subnet, subnetId: 'sub-b', ipVersion: 6 as const, cidr: 'fd00:1::/64', dhcpAddress: 'fd00:1::2' }
  const addresses = [
    { subnetId: 'sub-a', ipAddress: '10.0.0.11' },
    { subnetId: 'sub-b', ipAddress: 'FD00:1::11' },
  ]
  for (const [mode, word] of Object.entries(modes)) {
    const served = { ...six, ipv6Mode: mode as keyof typeof modes, dnsNameservers: ['192.0.2.53', 'fd00::53'] }
    const config = planDhcp(network(subnet, served), [heldPort(1, { addresses })], FILES, USER)
    assert.ok(config)
    assert.ok(config.args.includes(`--dhcp-range=set:s1,fd00:1::,${word},64,86400`), config.args.join(' '))
    assert.ok(config.args.includes('--ra-param=br0,mtu:1450,600,0'))
    assert.equal(config.hosts, 'fa:16:3e:00:00:01,10.0.0.11,web-1\nfa:16:3e:00:00:01,[fd00:1::11],web-1\n')
    assert.match(config.options, /^tag:s1,option6:23,\[fd00::53\]$/m)
  }
  assert.equal(planDhcp(network({ ...six, ipv6Mode: null }), [], FILES, USER), undefined)
})

test('of a host name only a first label that is one is written', () => {
  const table: [string, string][] = [
    ['web', ',web'],
    ['web.example.test', ',web'],
    ['', ''],
    ['-web', ''],
    ['web,1h\nfa:16:3e:00:00:99,10.0.0.99', ''],
    ['wéb', ''],
    ['a'.repeat(64), ''],
    ['a'.repeat(63), `,${'a'.repeat(63)}`],
  ]
  for (const [hostName, written] of table) {
    const config = planDhcp(EXAMPLE_NETWORK, [heldPort(1, { hostName })], FILES, USER)
    assert.equal(config?.hosts, `fa:16:3e:00:00:01,10.0.0.11${written}\n`, hostName)
  }
})

test('a lease of an address that was given to another card is dropped, others stay', () => {
  const own = '1800000000 fa:16:3e:00:00:01 10.0.0.11 web-1 01:fa:16:3e:00:00:01'
  const stale = '1800000000 fa:16:3e:00:00:99 10.0.0.12 old *'
  const foreign = '1800000000 fa:16:3e:00:00:98 10.0.0.98 * *'
  const six = '1800000000 15728640 fd00:1::11 web-1 00:02:00:00:ab:11:22'
  const reservations = new Map([
    ['fd00:1::11', 'fa:16:3e:00:00:01'],
    ['10.0.0.11', 'fa:16:3e:00:00:01'],
    ['10.0.0.12', 'fa:16:3e:00:00:02'],
  ])
  assert.equal(dropStaleLeases(`${own}\n${stale}\n${foreign}\n${six}\n`, reservations), `${own}\n${foreign}\n${six}\n`)
  reservations.delete('fd00:1::11')
  assert.equal(dropStaleLeases(`duid 00:01\n${six}\n`, reservations), 'duid 00:01\n')
})
