/** Security groups, and what else a plan says of ports and networks, on real filters. With stand-ins. */
import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { after, test } from 'node:test'
import type { SecurityGroupPlan } from '../../src/host/host-driver.ts'
import { groupOf } from '../../src/host/linux-network/example-plans.ts'
import { runTool } from '../../src/host/linux-network/run-tool.ts'
import { newId } from '../../src/lib/ids.ts'
import { until } from '../support/until.ts'
import { allow, anything, listLeftNamespaces, listNamespaces, NetworkWorld, newNetwork, OUT } from './network-world.ts'
import { Agent, metadata, PATIENCE_MS, SILENCE_MS, StandIn } from './stand-in.ts'

after(async () => assert.deepEqual(await listLeftNamespaces(), [], 'namespaces were left behind'))

const heard = async (agent: Agent): Promise<string[]> => (await agent.ask({ ask: 'heard' })) as string[]

/** Every rule in a namespace with the number the kernel gave it, which another rule of the same words does not share. */
async function listHandles(namespace: string): Promise<string[]> {
  const listing = await runTool('ip', ['netns', 'exec', namespace, 'nft', '--handle', 'list', 'ruleset'])
  return listing.split('\n').filter((line) => / # handle \d+$/.test(line) && !/\{ # handle/.test(line))
}

test('a change of a group touches its own rules, cuts what it had allowed, and is remembered', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newNetwork()
  const web: SecurityGroupPlan = { groupId: newId(), rules: [OUT, allow('tcp', 22), allow('tcp', 80)], members: [] }
  const [plan, other] = [newPort({ securityGroups: [web] }), newPort()]
  await world.ensure(plan, other)
  await using guest = await StandIn.plug(world.network, plan)
  await using peer = await StandIn.plug(world.network, other)
  for (const port of [22, 80]) await guest.agent.ask({ ask: 'listen', port })
  assert.equal(await peer.agent.ask({ ask: 'hold', address: guest.address, port: 22 }), 'open')
  assert.equal(await peer.agent.ask({ ask: 'echo', text: 'one', waitMs: PATIENCE_MS }), 'one')

  const before = new Set(await listHandles(world.namespaceOf(plan)))
  await world.network.ensureSecurityGroup({ ...web, rules: [OUT, allow('tcp', 80)] })
  const after = await listHandles(world.namespaceOf(plan))
  assert.deepEqual(
    after.filter((line) => !before.has(line)).map((line) => line.trim().replace(/ # handle.*/, '')),
    ['tcp dport 80 accept'].map((rule) => `meta nfproto ipv4 ${rule}`),
  )
  assert.equal(await peer.agent.ask({ ask: 'echo', text: 'two', waitMs: SILENCE_MS }), 'silent')
  assert.equal(await peer.agent.tryConnect(guest.address, 22), 'silent')
  assert.equal(await peer.agent.connect(guest.address, 80), 'open')

  // A group that no port here is in is nothing to this host; one that the last port left is forgotten.
  await world.network.ensureSecurityGroup({ ...web, groupId: newId() })
  assert.equal((await readdir(world.file(plan, 'groups'))).length, 2)
  await world.restart()
  assert.equal(await peer.agent.tryConnect(guest.address, 22), 'silent')
  await world.ensure({ ...plan, securityGroups: [groupOf(OUT)] })
  assert.equal((await readdir(world.file(plan, 'groups'))).length, 1)
  assert.equal(await peer.agent.tryConnect(guest.address, 80), 'silent')
})

test('a group of ten thousand rules is in force, and so is one rule more', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newNetwork()
  // Each with a prefix and a port of its own, so that none can share another's match.
  const rules = Array.from({ length: 10_000 }, (_, n) =>
    allow('tcp', 1_000 + n, `198.${18 + (n >> 14)}.${(n >> 6) & 255}.${(n & 63) << 2}/30`),
  )
  const group: SecurityGroupPlan = { groupId: newId(), rules: [OUT, ...rules], members: [] }
  const [plan, other] = [newPort({ securityGroups: [group] }), newPort()]
  await world.ensure(plan, other)
  await using guest = await StandIn.plug(world.network, plan)
  await using peer = await StandIn.plug(world.network, other)
  await guest.agent.ask({ ask: 'listen', port: 22 })
  const listed = await runTool('ip', [
    'netns',
    'exec',
    world.namespaceOf(plan),
    'nft',
    'list',
    'table',
    'inet',
    'novella',
  ])
  assert.equal(listed.match(/198\..*tcp dport \d+ accept$/gm)?.length, rules.length)
  assert.equal(await peer.agent.tryConnect(guest.address, 22), 'silent')
  await world.network.ensureSecurityGroup({ ...group, rules: [...group.rules, allow('tcp', 22)] })
  assert.equal(await peer.agent.connect(guest.address, 22), 'open')
})

test('a rule for a remote group admits its members and nobody else, as they come and go', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newNetwork()
  const clients = newId()
  const remote = { ...allow('tcp', 22), remoteGroupId: clients }
  const web = (...addresses: string[]): SecurityGroupPlan => ({
    groupId: 'web',
    rules: [OUT, remote],
    members: [{ groupId: clients, addresses }],
  })
  const [plan, one, two] = [newPort({ securityGroups: [web()] }), newPort(), newPort()]
  await world.ensure(plan, one, two)
  await using guest = await StandIn.plug(world.network, plan)
  await using first = await StandIn.plug(world.network, one)
  await using second = await StandIn.plug(world.network, two)
  await guest.agent.ask({ ask: 'listen', port: 22 })
  assert.equal(await first.agent.tryConnect(guest.address, 22), 'silent')

  await world.network.ensureSecurityGroup(web(first.address))
  assert.equal(await first.agent.connect(guest.address, 22), 'open')
  assert.equal(await second.agent.tryConnect(guest.address, 22), 'silent')

  await world.network.ensureSecurityGroup(web(second.address, '10.9.0.0/16', 'fd00::1'))
  assert.equal(await second.agent.connect(guest.address, 22), 'open')
  assert.equal(await first.agent.tryConnect(guest.address, 22), 'silent')
})

test('a port or a network that is not up passes nothing, and one without groups is not filtered', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newNetwork()
  const [plan, other] = [newPort({ securityGroups: null }), newPort({ securityGroups: null })]
  await world.ensure(plan, other)
  await using guest = await StandIn.plug(world.network, plan)
  await using peer = await StandIn.plug(world.network, other)
  await guest.agent.ask({ ask: 'listen', port: 22 })
  assert.equal(await peer.agent.connect(guest.address, 22), 'open')

  const ask = (waitMs: number) => guest.agent.ask({ ask: 'discover', macAddress: plan.macAddress, waitMs })
  const isSilent = async () => {
    assert.equal(await peer.agent.tryConnect(guest.address, 22), 'silent')
    assert.equal(await ask(SILENCE_MS), 'silent')
    assert.deepEqual(await guest.agent.ask({ ...metadata, waitMs: SILENCE_MS }), { status: 0, body: 'silent' })
  }
  await world.ensure({ ...plan, isUp: false })
  await isSilent()
  await world.ensure(plan)
  assert.equal(await peer.agent.connect(guest.address, 22), 'open')

  await world.network.ensureNetwork({ ...plan.network, isUp: false })
  await isSilent()
  await world.network.ensureNetwork(plan.network)
  assert.equal(((await ask(PATIENCE_MS)) as { address: string }).address, guest.address)
})

test('an allowed address may be sent from, with its MAC, and never reads the metadata of its owner', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newNetwork()
  const shared = 'fa:16:3e:5a:5a:5a'
  const plan = newPort({
    allowedAddresses: [
      { ipAddress: '10.78.0.99', macAddress: shared },
      { ipAddress: '10.78.0.200/30', macAddress: shared },
    ],
  })
  const other = newPort({ securityGroups: [groupOf(OUT, anything('ingress'))] })
  await world.ensure(plan, other)
  await using guest = await StandIn.plug(world.network, plan)
  await using peer = await StandIn.plug(world.network, other)
  await peer.agent.ask({ ask: 'listen', port: 9 })
  await guest.change('addr add 10.78.0.99/24 dev eth0', 'addr add 10.78.0.201/24 dev eth0')
  assert.equal(await guest.agent.tryConnect(peer.address, 9, '10.78.0.99'), 'silent') // that MAC has not this address

  await guest.change(`link set eth0 address ${shared}`)
  await peer.change('neigh flush dev eth0')
  assert.equal(await guest.agent.connect(peer.address, 9, '10.78.0.99'), 'open') // with ARP both ways
  assert.equal(await guest.agent.connect(peer.address, 9, '10.78.0.201'), 'open')
  assert.equal(await guest.agent.tryConnect(peer.address, 9, guest.address), 'silent')
  const asked = await guest.agent.ask({ ...metadata, from: '10.78.0.99', waitMs: SILENCE_MS })
  assert.deepEqual(asked, { status: 0, body: 'silent' })
})

test('changes of a network reach guests that run: DNS, routes, MTU, and options of their own port', async () => {
  await using world = await NetworkWorld.open()
  const plan = newNetwork()({
    dhcpOptions: [
      { name: 'bootfile-name', value: 'pxelinux.0', ipVersion: 4 },
      { name: '42', value: '192.0.2.1,192.0.2.2', ipVersion: 4 },
    ],
  })
  await world.ensure(plan)
  await using guest = await StandIn.plug(world.network, plan)
  // Guests ask again, too, when nothing comes.
  const discover = async () => {
    const offered = await until('an offer comes', async () => {
      const offer = await guest.agent.ask({ ask: 'discover', macAddress: plan.macAddress, waitMs: 2_000 })
      return (offer as { options?: Record<number, string> }).options
    })
    return offered ?? {}
  }
  const [subnet] = plan.network.subnets
  assert.ok(subnet)
  const pid = await world.dnsmasqPid(plan)
  const first = await discover()
  assert.equal(first[6], 'c0000235')
  assert.equal(first[42], 'c0000201c0000202')
  assert.equal(Buffer.from(first[67] ?? '', 'hex').toString(), 'pxelinux.0\0')
  const network = {
    ...plan.network,
    mtu: 1400,
    subnets: [
      {
        ...subnet,
        dnsNameservers: ['192.0.2.99'],
        hostRoutes: [{ destination: '198.51.100.0/24', nexthop: '10.78.0.7' }],
      },
    ],
  }
  await world.network.ensureNetwork(network)
  await until('the new options are offered', async () => (await discover())[6] === 'c0000263')
  const options = await discover()
  assert.equal(await world.dnsmasqPid(plan), pid) // it read its files again and lives
  assert.equal(options[26], '0578')
  assert.match(options[121] ?? '', /18c633640a4e0007/)
  const shown = await runTool('ip', ['-n', world.namespaceOf(plan), '-json', 'link', 'show', 'dev', 'br0'])
  assert.equal(JSON.parse(shown)[0].mtu, 1400)

  // Without DHCP there is nobody to ask, and with it again there is.
  await world.network.ensureNetwork({ ...network, subnets: [{ ...subnet, dhcpAddress: null }] })
  assert.equal(await guest.agent.ask({ ask: 'discover', macAddress: plan.macAddress, waitMs: SILENCE_MS }), 'silent')
  await world.network.ensureNetwork(plan.network)
  assert.equal((await discover())[26], '05aa')
  await assert.rejects(
    world.network.ensurePort({ ...plan, dhcpOptions: [{ name: '67', value: 'a\n3,10.78.0.66', ipVersion: 4 }] }),
    /cannot carry/,
  )
})

test('a router’s end holds a network of its own, is reached by egress and meets ingress', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newNetwork()
  const plan = newPort({ securityGroups: [groupOf(OUT, allow('tcp', 22))] })
  const end = { name: 'vr1', network: plan.network }
  const attached = await world.network.attachRouterEnd(end.network, end.name)
  assert.deepEqual(attached, { namespace: world.namespaceOf(plan), isThere: false })

  // The far end: what a router would be.
  const far = `standin-${newId().slice(0, 8)}`
  await runTool('ip', ['netns', 'add', far])
  try {
    await runTool('ip', [
      '-n',
      attached.namespace,
      'link',
      'add',
      'vr1',
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      far,
    ])
    assert.equal((await world.network.attachRouterEnd(end.network, end.name)).isThere, true)
    for (const command of ['addr add 10.78.0.1/24 dev eth0', 'link set eth0 up']) {
      await runTool('ip', ['-n', far, ...command.split(' ')])
    }
    await world.ensure(plan)
    await using guest = await StandIn.plug(world.network, plan)
    await using router = await Agent.start(far)
    for (const port of [22, 80]) await guest.agent.ask({ ask: 'listen', port })
    await router.ask({ ask: 'listen', port: 9 })
    await router.ask({ ask: 'listenUdp', port: 9 })
    assert.equal(await router.connect(guest.address, 22), 'open')
    assert.equal(await router.tryConnect(guest.address, 80), 'silent')
    assert.equal(await guest.agent.connect('10.78.0.1', 9), 'open')

    // Its address and MAC are nobody else's.
    await guest.change('addr add 10.78.0.1/24 dev eth0')
    await guest.agent.ask({
      ask: 'sendUdp',
      address: '255.255.255.255',
      port: 9,
      text: 'as the router',
      from: '10.78.0.1',
    })
    await guest.agent.ask({
      ask: 'sendUdp',
      address: '255.255.255.255',
      port: 9,
      text: 'as oneself',
      from: guest.address,
    })
    await until('the honest one arrives', async () => (await heard(router)).includes('as oneself'))
    assert.deepEqual(await heard(router), ['as oneself'])

    // The last port goes and the network stays, for the router; with its end it goes.
    await world.network.removePort(plan.portId)
    assert.ok((await listNamespaces()).includes(attached.namespace))
    await world.restart()
    assert.equal((await world.network.attachRouterEnd(end.network, end.name)).isThere, true)
    await world.network.detachRouterEnd(plan.network.networkId, end.name)
    assert.ok(!(await listNamespaces()).includes(attached.namespace))
    await world.network.detachRouterEnd(plan.network.networkId, end.name)
  } finally {
    await runTool('ip', ['netns', 'delete', far])
  }
})
