import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RouterPlan } from '../host-driver.ts'
import { buildEdgeRules, designEdge } from './edge.ts'
import { numberLimits, planQueues, readClasses } from './floating-limits.ts'
import { planAdvertisements } from './router-advertisements.ts'
import { designRouter } from './router-design.ts'
import { exampleRouter, externalNetwork, innerNetwork, routerPort } from './router-example.ts'
import { planRouterLinks, planRouterRoutes, type RouterLink } from './router-links.ts'
import { endName, gatewayName, interfaceName } from './router-names.ts'
import { buildRouterRules } from './router-rules.ts'

const floatingIp = (ipAddress: string, fixedIpAddress: string, rateLimitKbps = 0) => ({
  floatingIpId: ipAddress,
  ipAddress,
  fixedIpAddress,
  rateLimitKbps,
})
const forwarding = (outsideAddress: string | null, outsidePort: number) => ({
  outsideAddress,
  outsidePort,
  insideAddress: '10.0.0.5',
  insidePort: 22,
  protocol: 'tcp' as const,
})

test('a device has its address with the length of its subnet, the gateway those of the outside besides', () => {
  const design = designRouter(
    exampleRouter({
      floatingIps: [floatingIp('203.0.113.10', '10.0.0.5')],
      portForwardings: [forwarding(null, 22), forwarding('203.0.113.12', 22), forwarding('203.0.113.12', 23)],
    }),
  )
  assert.deepEqual(
    design.devices.map(({ name, addresses, isGateway }) => ({ name, addresses, isGateway })),
    [
      { name: interfaceName('port-a'), addresses: ['10.0.0.1/24', 'fd00::1/64'], isGateway: false },
      {
        name: gatewayName('port-out'),
        addresses: ['203.0.113.2/24', '203.0.113.10/32', '203.0.113.12/32'],
        isGateway: true,
      },
    ],
  )
  assert.equal(new Set(design.devices.map((device) => device.endName)).size, 2)
})

test('routes: the default by the gateway unless named, and none whose next hop is on no network', () => {
  const routesOf = (change: Partial<RouterPlan>) =>
    designRouter(exampleRouter(change)).routes.map(({ to, via }) => `${to} ${via}`)
  assert.deepEqual(routesOf({}), ['default 203.0.113.1'])
  assert.deepEqual(routesOf({ gateway: null }), [])
  const routes = [
    { destination: '192.0.2.9/24', nexthop: '10.0.0.77' },
    { destination: '192.0.2.0/24', nexthop: '10.0.0.78' },
    { destination: '198.51.100.0/24', nexthop: '10.9.9.9' },
    { destination: '2001:DB8::/32', nexthop: 'fd00::0:77' },
  ]
  assert.deepEqual(routesOf({ routes }), ['192.0.2.0/24 10.0.0.77', '2001:db8::/32 fd00::77', 'default 203.0.113.1'])
  assert.deepEqual(routesOf({ routes: [{ destination: '0.0.0.0/0', nexthop: '10.0.0.9' }] }), ['default 10.0.0.9'])
})

test('a plan with a value that is none is refused', () => {
  const bad: Partial<RouterPlan>[] = [
    { floatingIps: [floatingIp('203.0.113.10; flush ruleset', '10.0.0.5')] },
    { floatingIps: [floatingIp('203.0.113.10', 'fd00::5')] },
    { floatingIps: [floatingIp('203.0.113.10', '10.0.0.5', -1)] },
    { portForwardings: [forwarding(null, 0)] },
    { routes: [{ destination: 'default via 10.0.0.9', nexthop: '10.0.0.9' }] },
    { interfaces: [{ ...routerPort('port-a', innerNetwork(), '10.0.0.1'), macAddress: 'fa:16:3e:00:00:01 up' }] },
    { interfaces: [routerPort('port-a', { ...innerNetwork(), subnets: [] }, '10.0.0.1')] },
  ]
  for (const change of bad)
    assert.throws(() => designRouter(exampleRouter(change)), /^Error: (Not an?|Port)/, JSON.stringify(change))
})

const observed = (plan: RouterPlan): RouterLink[] => [
  { ifname: 'lo', mtu: 65_536, flags: ['UP'], addr_info: [] },
  ...designRouter(plan).devices.map(({ name, mac, mtu, addresses }) => ({
    ifname: name,
    address: mac,
    mtu,
    flags: ['UP'],
    addr_info: [
      { family: 'inet6', local: 'fe80::1', prefixlen: 64, scope: 'link' },
      ...addresses.map((address) => {
        const [local, length] = address.split('/')
        return { family: 'inet', local, prefixlen: Number(length), scope: 'global' }
      }),
    ],
  })),
]
const endsThere = (isThere = true) =>
  new Map(['port-a', 'port-out'].map((portId) => [endName(portId), { namespace: `net-of-${portId}`, isThere }]))

test('devices: nothing to do when all is so, and only what differs else', () => {
  const plan = exampleRouter({ floatingIps: [floatingIp('203.0.113.10', '10.0.0.5')] })
  const design = designRouter(plan)
  const [inner, outer] = [interfaceName('port-a'), gatewayName('port-out')]
  const changes = (links: RouterLink[], ends = endsThere()) => planRouterLinks(design, { links }, ends)
  assert.deepEqual(changes(observed(plan)), [])

  const without = exampleRouter({ floatingIps: [floatingIp('203.0.113.11', '10.0.0.5')] })
  assert.deepEqual(changes(observed(without)), [
    `addr del 203.0.113.11/32 dev ${outer}`,
    `addr add 203.0.113.10/32 dev ${outer}`,
  ])
  assert.deepEqual(
    changes(observed(plan).map((link) => (link.ifname === inner ? { ...link, mtu: 9_000, flags: [] } : link))),
    [`link set ${inner} mtu 1450`, `link set ${inner} up`],
  )
  const foreign: RouterLink = { ifname: 'tun0', mtu: 1_500, flags: [], addr_info: [] }
  assert.deepEqual(changes([...observed(plan), foreign, { ...foreign, ifname: 'in-gone' }]), ['link delete in-gone'])
  const made = changes([], endsThere(false))
  assert.ok(
    made.includes(
      `link add ${inner} address fa:16:3e:00:00:0a mtu 1450 type veth peer name ${endName('port-a')} mtu 1450 netns net-of-port-a`,
    ),
  )
  assert.ok(made.includes(`addr add fd00::1/64 dev ${inner} nodad`))
  // The other end is gone: so the device leads nowhere.
  assert.deepEqual(changes(observed(plan), endsThere(false)).filter((line) => line.startsWith('link')).length, 6)
})

test('routes: only what differs', () => {
  const design = designRouter(exampleRouter())
  assert.deepEqual(planRouterRoutes(design, { routes: [{ dst: 'default', gateway: '203.0.113.1' }] }), [])
  assert.deepEqual(planRouterRoutes(design, { routes: [{ dst: 'default', gateway: '203.0.113.9' }] }), [
    'route del default via 203.0.113.9',
    'route replace default via 203.0.113.1 proto static',
  ])
})

test('a limit keeps its class whatever becomes of the others, and only a changed one is written', () => {
  const limited = (...rates: [string, number][]) =>
    designRouter(exampleRouter({ floatingIps: rates.map(([address, rate]) => floatingIp(address, '10.0.0.5', rate)) }))
  const three = limited(['203.0.113.10', 1_000], ['203.0.113.11', 0], ['203.0.113.12', 64])
  assert.deepEqual(numberLimits(three.floating), [
    { outside: '203.0.113.10', number: 0x710a, rateKbps: 1_000 },
    { outside: '203.0.113.12', number: 0x710c, rateKbps: 64 },
  ])
  assert.deepEqual(
    numberLimits(limited(['198.51.113.10', 1], ['203.0.113.10', 2]).floating).map(({ number }) => number),
    [0x710a, 0x710b],
  )
  const devices = three.devices.map(({ name }) => name)
  const now = {
    shaped: devices,
    classes: devices.flatMap((device) => [
      { device, number: 0x710a, rateKbps: 1_000 },
      { device, number: 0x710c, rateKbps: 64 },
    ]),
  }
  assert.deepEqual(planQueues(three, now), [])
  const changed = planQueues(limited(['203.0.113.10', 1_000], ['203.0.113.12', 128]), now)
  assert.equal(changed.length, 4)
  assert.ok(changed.every((line) => line.includes('1:710c')))
  assert.deepEqual(
    planQueues(limited(['203.0.113.10', 1_000]), now),
    devices.map((device) => `class del dev ${device} classid 1:710c`),
  )
  assert.deepEqual(
    planQueues(limited(), now),
    devices.map((device) => `qdisc del dev ${device} root`),
  )
  assert.deepEqual(planQueues(limited(), { shaped: [], classes: [] }), [])
})

test('classes are read as the kernel shows them', () => {
  const text = [
    'class htb 1:710a root leaf 8001: prio 0 rate 1Mbit ceil 1Mbit burst 16Kb cburst 1600b ',
    'class htb 1:ff root prio 0 rate 123456Kbit ceil 123456Kbit burst 16Kb cburst 1600b ',
    '',
  ].join('\n')
  assert.deepEqual(readClasses('out-1', text), [
    { device: 'out-1', number: 0x710a, rateKbps: 1_000 },
    { device: 'out-1', number: 0xff, rateKbps: 123_456 },
  ])
})

test('rules: without a gateway nothing is translated, and a router that is not up has no way through', () => {
  const rules = (change: Partial<RouterPlan>) => buildRouterRules(designRouter(exampleRouter(change)))
  assert.doesNotMatch(
    rules({ gateway: null, floatingIps: [floatingIp('203.0.113.10', '10.0.0.5', 5)] }),
    /snat|dnat|203\.0/,
  )
  const closed = rules({ isUp: false })
  assert.doesNotMatch(closed, /nat|icmp|established/)
  assert.equal(closed.match(/policy drop/g)?.length, 3)
  assert.match(rules({}), /snat ip to 203\.0\.113\.2/)
  assert.doesNotMatch(
    rules({ gateway: { ...routerPort('port-out', externalNetwork(), '203.0.113.2'), hasSnat: false } }),
    /oifname \S+ ip saddr != /,
  )
})

test('rules: an inside source counts only from its own side, and nothing goes to link-local addresses', () => {
  const script = buildRouterRules(designRouter(exampleRouter()))
  const [, forward = ''] = /chain forward \{\n([^}]*)\}/.exec(script) ?? []
  const name = interfaceName('port-a')
  const lines = forward.split('\n').map((line) => line.trim())
  assert.deepEqual(
    lines.filter(
      (line) => line.startsWith('ip daddr') || line.includes('saddr 10.') || line.startsWith('iifname != "in-'),
    ),
    [
      'ip daddr 169.254.0.0/16 ct direction original drop',
      `iifname != "${name}" ip saddr 10.0.0.0/24 drop`,
      `iifname != "${name}" ip6 saddr fd00::/64 drop`,
    ],
  )
})

test('only who has the gateway address of a subnet advertises itself to the guests there', () => {
  const user = { name: 'nobody', group: 'nogroup' }
  const args = (...addresses: string[]) =>
    planAdvertisements(
      designRouter(exampleRouter({ interfaces: [routerPort('port-a', innerNetwork(), ...addresses)] })),
      '/routers/router',
      user,
    )
  assert.ok(args('10.0.0.1', 'fd00::1')?.includes('--dhcp-range=set:s0,fd00::,ra-only,64'))
  assert.equal(args('10.0.0.77', 'fd00::77'), undefined)
  assert.equal(args('10.0.0.1'), undefined)
})

test('the edge stands at the gateway of the external network and lets nothing but its uplink through', () => {
  const design = designEdge(externalNetwork())
  assert.deepEqual(design.devices[0]?.addresses, ['203.0.113.1/24'])
  assert.match(buildEdgeRules(design), /iifname { "in-[0-9a-f]+" } oifname "up0" accept/)
})
