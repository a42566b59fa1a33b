/** IPv6 on a guest network: who gets which address from whom, and what a guest cannot pretend. With stand-ins. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { groupOf } from '../../src/host/linux-network/example-plans.ts'
import { formatIpv6, hex128, linkLocalOf, parseIpv6 } from '../../src/host/linux-network/ipv6.ts'
import { until } from '../support/until.ts'
import {
  allow,
  anything,
  listLeftNamespaces,
  NetworkWorld,
  newDualNetwork,
  newNetwork,
  OUT,
  six,
} from './network-world.ts'
import { Agent, PATIENCE_MS, StandIn } from './stand-in.ts'

after(async () => assert.deepEqual(await listLeftNamespaces(), [], 'namespaces were left behind'))

const ANYTHING_IN = six(anything('ingress'))
const linkLocal = (mac: string) => formatIpv6(linkLocalOf(mac))

/** Waits until a stand-in has made itself the address of its plan. */
async function awaitAddress(guest: StandIn, address: string): Promise<void> {
  await until(`${address} is there`, async () => (await guest.readAddresses()).includes(address))
}

test('guests make themselves the address of their plan, find each other, and meet the rules for IPv6', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newDualNetwork('slaac')
  const open = groupOf(OUT, six(OUT), six(allow('tcp', 22)))
  const [plan, other] = [newPort({ securityGroups: [open] }), newPort({ securityGroups: [groupOf(OUT, six(OUT))] })]
  await world.ensure(plan, other)
  await using web = await StandIn.plug(world.network, plan)
  await using peer = await StandIn.plug(world.network, other)
  const [webAddress, peerAddress] = [plan.addresses[1]?.ipAddress ?? '', other.addresses[1]?.ipAddress ?? '']
  await awaitAddress(web, webAddress)
  await awaitAddress(peer, peerAddress)
  for (const port of [22, 80]) await web.agent.ask({ ask: 'listen', port, host: '::' })
  await peer.agent.ask({ ask: 'listen', port: 22, host: '::' })

  assert.equal(await peer.agent.connect(webAddress, 22), 'open')
  assert.equal(await peer.agent.tryConnect(webAddress, 80), 'silent')
  assert.equal(await web.agent.tryConnect(peerAddress, 22), 'silent')
  assert.equal(await peer.agent.tryConnect(web.address, 22), 'silent') // the rule was for IPv6 alone
  await using inside = await Agent.start(world.namespaceOf(plan))
  assert.equal(await inside.connect(webAddress, 22), 'open')
  assert.equal(await inside.tryConnect(webAddress, 80), 'silent')
  // What is advertised is no way out of the subnet.
  const routes = await peer.show('-6 route show default')
  assert.equal(routes, '')

  await world.network.ensureSecurityGroup({ ...open, rules: [OUT, six(OUT)] })
  assert.equal(await peer.agent.tryConnect(webAddress, 22), 'silent')
})

test('a foreign address of IPv6, also a link-local one, is dropped, and so is the word that it is one’s own', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newDualNetwork('slaac')
  const securityGroups = [groupOf(OUT, six(OUT), ANYTHING_IN)]
  const [plan, other] = [newPort({ securityGroups }), newPort({ securityGroups })]
  await world.ensure(plan, other)
  await using liar = await StandIn.plug(world.network, plan)
  await using peer = await StandIn.plug(world.network, other)
  const [own = '', victim = ''] = [plan, other].map(({ addresses }) => addresses[1]?.ipAddress)
  await awaitAddress(liar, own)
  await awaitAddress(peer, victim)
  await peer.agent.ask({ ask: 'listen', port: 9, host: '::' })
  await liar.change('addr add fd78::66/64 dev eth0 nodad', 'addr add fe80::66/64 dev eth0 nodad')
  assert.equal(await liar.agent.connect(victim, 9, own), 'open')
  assert.equal(await liar.agent.tryConnect(victim, 9, 'fd78::66'), 'silent')

  // Neighbour advertisement: solicited, override; about a target; its MAC.
  const advertise = (target: string) =>
    Buffer.from(`8800000060000000${hex128(parseIpv6(target))}0201${plan.macAddress.replaceAll(':', '')}`, 'hex')
  const neighbours = () => peer.show('-6 neigh show')
  await peer.change('neigh replace fd78::77 dev eth0 lladdr fa:16:3e:77:77:77 nud reachable dev eth0')
  await liar.sendIcmpv6(victim, advertise('fd78::77'), own)
  await liar.agent.connect(victim, 9, own) // by now it would have arrived
  assert.match(await neighbours(), /fd78::77 dev eth0 lladdr fa:16:3e:77:77:77/)

  // Without the filter in between it would have been believed.
  await world.ensure({ ...plan, antiSpoofing: false })
  await liar.sendIcmpv6(victim, advertise('fd78::77'), own)
  await until('the lie is believed', async () =>
    (await neighbours()).includes(`fd78::77 dev eth0 lladdr ${plan.macAddress}`),
  )
  assert.equal(await liar.agent.connect(victim, 9, 'fd78::66'), 'open')
})

test('a guest is no router: its advertisements are dropped', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newDualNetwork('slaac')
  const securityGroups = [groupOf(OUT, six(OUT), ANYTHING_IN)]
  const [plan, other] = [newPort({ securityGroups }), newPort({ securityGroups })]
  await world.ensure(plan, other)
  await using liar = await StandIn.plug(world.network, plan)
  await using peer = await StandIn.plug(world.network, other)
  for (const [guest, { macAddress, addresses }] of [
    [liar, plan],
    [peer, other],
  ] as const) {
    await awaitAddress(guest, linkLocal(macAddress))
    await awaitAddress(guest, addresses[1]?.ipAddress ?? '')
  }
  // Router advertisement: hops, flags, a lifetime of half an hour; a prefix to make addresses of.
  const head = '860000004000070800000000000000000304'
  const advertise = (prefix: string) =>
    Buffer.from(`${head}40c0000027100000271000000000${hex128(parseIpv6(prefix))}`, 'hex')
  const learned = async (prefix: string) => (await peer.readAddresses()).some((address) => address.startsWith(prefix))
  await peer.agent.ask({ ask: 'listen', port: 9, host: '::' })
  await liar.sendIcmpv6('ff02::1', advertise('2001:db8:bad::'), linkLocal(plan.macAddress))
  await liar.agent.connect(other.addresses[1]?.ipAddress ?? '', 9)
  assert.ok(!(await learned('2001:db8:bad:')))
  assert.equal(await peer.show('-6 route show default'), '')

  await world.ensure({ ...plan, antiSpoofing: false })
  await liar.sendIcmpv6('ff02::1', advertise('2001:db8:600d::'), linkLocal(plan.macAddress))
  await until('the advertisement is believed', () => learned('2001:db8:600d:'))
})

test('DHCPv6 offers the address of the plan and the DNS servers', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newDualNetwork('dhcpv6-stateful')
  const securityGroups = [groupOf(OUT, six(OUT))]
  const [plan, other] = [newPort({ securityGroups }), newPort({ securityGroups })]
  await world.ensure(plan, other)
  await using guest = await StandIn.plug(world.network, plan)
  await awaitAddress(guest, linkLocal(plan.macAddress))
  const ask = { ask: 'solicit', macAddress: plan.macAddress, waitMs: PATIENCE_MS } as const
  assert.deepEqual(await guest.agent.ask(ask), {
    address: hex128(parseIpv6(plan.addresses[1]?.ipAddress ?? '')),
    dns: hex128(parseIpv6('fd00::53')),
  })
})

test('without state DHCPv6 tells the DNS servers, and the address is made of what is advertised', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newDualNetwork('dhcpv6-stateless')
  const plan = newPort({ securityGroups: [groupOf(OUT, six(OUT))] })
  await world.ensure(plan)
  await using guest = await StandIn.plug(world.network, plan)
  await awaitAddress(guest, linkLocal(plan.macAddress))
  await awaitAddress(guest, plan.addresses[1]?.ipAddress ?? '')
  const ask = { ask: 'solicit', macAddress: plan.macAddress, waitMs: PATIENCE_MS, isInformationOnly: true } as const
  assert.deepEqual(await guest.agent.ask(ask), { dns: hex128(parseIpv6('fd00::53')) })
})

test('without a subnet of IPv6 none passes; one that comes and goes takes effect while guests run', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newNetwork()
  const securityGroups = [groupOf(OUT, six(OUT), ANYTHING_IN, anything('ingress'))]
  const [plan, other] = [newPort({ securityGroups }), newPort({ securityGroups })]
  await world.ensure(plan, other)
  await using guest = await StandIn.plug(world.network, plan)
  await using peer = await StandIn.plug(world.network, other)
  const to = linkLocal(other.macAddress)
  await awaitAddress(guest, linkLocal(plan.macAddress))
  await awaitAddress(peer, to)
  await peer.agent.ask({ ask: 'listen', port: 9, host: '::' })
  assert.equal(await guest.agent.tryConnect(`${to}%eth0`, 9), 'silent')

  const dual = newDualNetwork('slaac')().network.subnets[1]
  assert.ok(dual)
  const subnets = [...plan.network.subnets, dual]
  await world.network.ensureNetwork({ ...plan.network, subnets })
  assert.equal(await guest.agent.connect(`${to}%eth0`, 9), 'open')
  await until('an address is made of what is advertised', async () =>
    (await guest.readAddresses()).some((address) => address.startsWith('fd78:')),
  )

  await world.network.ensureNetwork(plan.network)
  assert.equal(await guest.agent.tryConnect(`${to}%eth0`, 9), 'silent')
})
