/** How routers outlive restarts and damage done by hand, what they tell of IPv6, and how they meet the world. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { formatIpv6, linkLocalOf } from '../../src/host/linux-network/ipv6.ts'
import { novella } from '../support/novella-process.ts'
import { until } from '../support/until.ts'
import { run } from './bare-guest.ts'
import {
  externalPlan,
  floatingIp,
  guestPort,
  listLeftNamespaces,
  networkPlan,
  RouterWorld,
  routerPlan,
} from './linux-router-world.ts'
import { Agent, StandIn } from './stand-in.ts'

after(async () => assert.deepEqual(await listLeftNamespaces(), [], 'namespaces were left behind'))

const GATEWAY = '203.0.113.2'
const FLOATING = '203.0.113.10'

/** One guest behind a router with a floating IP, on a rate limit, and somebody outside. */
async function openStory(world: RouterWorld) {
  const [inside, external] = [networkPlan(['10.0.0.0/24']), externalPlan()]
  const plan = {
    ...routerPlan([inside], { network: external, ipAddress: GATEWAY }),
    floatingIps: [floatingIp(FLOATING, '10.0.0.5', 8_000)],
  }
  await world.ensureRouter(plan)
  const guest = await world.plugGuest(inside, '10.0.0.5')
  await guest.agent.ask({ ask: 'listen', port: 22 })
  return { plan, inside, external, guest }
}

test('a router goes on while the process is away, is found again, and what became of it meanwhile is mended', async () => {
  await using world = await RouterWorld.open()
  const { plan, external, guest: web } = await openStory(world)
  await using guest = web
  await using outside = await world.standOutside(external, '203.0.113.99')
  await world.network[Symbol.asyncDispose]()
  assert.equal(await outside.agent.connect(FLOATING, 22), 'open')
  assert.equal(await outside.agent.ask({ ask: 'hold', address: FLOATING, port: 22 }), 'open')
  await world.restart()
  assert.deepEqual((await world.network.readNetworking()).routerIds, [plan.routerId])
  assert.equal(await outside.agent.ask({ ask: 'echo', text: 'still here', waitMs: 20_000 }), 'still here')
  assert.deepEqual(world.complaints, [])

  await world.network[Symbol.asyncDispose]()
  await run('ip', ['netns', 'delete', world.namespaceOf(plan.routerId)])
  await run('ip', ['netns', 'delete', world.edgeOf(external)])
  await world.restart()
  assert.equal(await outside.agent.connect(FLOATING, 22), 'open')
  await using edge = await Agent.start(world.edgeOf(external))
  assert.equal(await edge.connect(FLOATING, 22), 'open')
  assert.equal(guest.address, '10.0.0.5')
})

test('what is changed by hand is mended without a verb, with a line in the log for each', async () => {
  await using world = await RouterWorld.open()
  const { plan, external, guest: web } = await openStory(world)
  await using _guest = web
  await using outside = await world.standOutside(external, '203.0.113.99')
  await world.restart({ careEveryMs: 50 })
  const router = world.namespaceOf(plan.routerId)
  const inside = (...command: string[]) => run('ip', ['netns', 'exec', router, ...command])
  const links: { ifname: string }[] = JSON.parse((await run('ip', ['-n', router, '-json', 'link', 'show'])).stdout)
  const outer = links.find(({ ifname }) => ifname.startsWith('out-'))?.ifname ?? ''
  const damages: [string, string, () => Promise<unknown>][] = [
    ['the namespace is deleted', 'namespace', () => run('ip', ['netns', 'delete', router])],
    ['the rules are flushed', 'rules', () => inside('nft', 'flush', 'ruleset')],
    ['a rule is added', 'rules', () => inside('nft', 'insert', 'rule', 'inet', 'novella', 'forward', 'drop')],
    ['the gateway is deleted', 'devices', () => run('ip', ['-n', router, 'link', 'delete', outer])],
    [
      'the floating IP is taken off',
      'devices',
      () => run('ip', ['-n', router, 'addr', 'del', `${FLOATING}/32`, 'dev', outer]),
    ],
    ['the default route is deleted', 'routes', () => run('ip', ['-n', router, 'route', 'del', 'default'])],
    ['the queue is deleted', 'queues', () => run('tc', ['-n', router, 'qdisc', 'del', 'dev', outer, 'root'])],
  ]
  for (const [what, change, damage] of damages) {
    world.complaints.length = 0
    await damage()
    const line = await until(`a line tells that ${what}`, () =>
      world.complaints.find((one) => one.routerId === plan.routerId),
    )
    assert.match(JSON.stringify(line?.changes), new RegExp(`"${change}"`), what)
    assert.equal(await outside.agent.connect(FLOATING, 22), 'open', what)
    assert.equal(world.complaints.filter((one) => one.routerId === plan.routerId).length, 1, what)
  }

  // What the router did not make stays.
  await run('ip', ['-n', router, 'link', 'add', 'mine', 'type', 'veth', 'peer', 'name', 'mine2'])
  await world.ensureRouter(plan)
  assert.match((await run('ip', ['-n', router, 'link', 'show', 'mine'])).stdout, /mine/)
})

test('a command of novella edge runs as if it stood outside, with the end it comes to', async () => {
  await using world = await RouterWorld.open()
  const { guest: web } = await openStory(world)
  await using guest = web
  const connect = `require('node:net').connect(22, '${FLOATING}', () => process.exit(7)).on('error', () => process.exit(8))`
  const { code, stderr } = await novella('edge', '--data', world.dataDir, process.execPath, '-e', connect)
  assert.deepEqual([code, stderr], [7, ''])
  assert.deepEqual(await guest.agent.ask({ ask: 'callers' }), ['203.0.113.1'])
  const gone = await novella('edge', '--data', world.dataDir, 'no-such-program')
  assert.notEqual(gone.code, 0)
})

test('a router whose plan cannot be read is found by the next asking', async () => {
  await using world = await RouterWorld.open()
  const { plan, external, guest: web } = await openStory(world)
  await using _guest = web
  await using outside = await world.standOutside(external, '203.0.113.99')
  await world.network[Symbol.asyncDispose]()
  await writeFile(join(world.dataDir, 'routers', plan.routerId, 'plan.json'), '{')
  await world.restart()
  assert.deepEqual((await world.network.readNetworking()).routerIds, [plan.routerId])
  await world.ensureRouter(plan)
  assert.equal(await outside.agent.connect(FLOATING, 22), 'open')
})

test('a plan with a value that is none changes nothing', async () => {
  await using world = await RouterWorld.open()
  const { plan, external, guest: web } = await openStory(world)
  await using _guest = web
  await using outside = await world.standOutside(external, '203.0.113.99')
  const bad = { ...plan, floatingIps: [floatingIp('203.0.113.66 }; flush ruleset', '10.0.0.5')] }
  await assert.rejects(world.network.ensureRouter(bad), /Not an IP address/)
  assert.equal(await outside.agent.connect(FLOATING, 22), 'open')
})

test('guests of IPv6 networks learn their router and their prefix from it, and meet through it', async () => {
  await using world = await RouterWorld.open()
  const networks = [networkPlan(['10.0.0.0/24', 'fd00:0:0:a::/64']), networkPlan(['10.0.1.0/24', 'fd00:0:0:b::/64'])]
  await world.ensureRouter(routerPlan(networks))
  const guests = []
  await using stack = new AsyncDisposableStack()
  for (const [index, network] of networks.entries()) {
    const port = guestPort(network, `10.0.${index}.5`)
    const prefix = (0xfd000000_0000000an + BigInt(index)) << 64n
    const own = formatIpv6(prefix | (linkLocalOf(port.macAddress) & 0xffffffff_ffffffffn))
    const addresses = [...port.addresses, { subnetId: network.subnets.at(-1)?.subnetId ?? '', ipAddress: own }]
    world.willRemove(port.portId)
    await world.network.ensurePort({ ...port, addresses })
    const guest = stack.use(await StandIn.plug(world.network, port))
    await guest.agent.ask({ ask: 'listen', port: 22, host: '::' })
    guests.push({ guest, own })
  }
  for (const { guest, own } of guests) {
    await until('the guest has its address and a way out', async () => {
      const shown = await run('ip', ['-n', guest.namespace, '-6', 'addr', 'show', 'scope', 'global', '-tentative'])
      const routes = await run('ip', ['-n', guest.namespace, '-6', 'route', 'show', 'default'])
      return shown.stdout.includes(`${own}/64`) && routes.stdout.includes('proto ra')
    })
  }
  const [one, other] = guests
  assert.equal(await one?.guest.agent.connect(other?.own ?? '', 22), 'open')
  assert.equal(await other?.guest.agent.connect(one?.own ?? '', 22), 'open')
})

test('a host without cards has no router in its kernel, and has it again with the first card', async () => {
  await using world = await RouterWorld.open()
  const [inside, external] = [networkPlan(['10.0.0.0/24']), externalPlan()]
  const plan = {
    ...routerPlan([inside], { network: external, ipAddress: GATEWAY }),
    floatingIps: [floatingIp(FLOATING, '10.0.0.5')],
  }
  await world.ensureRouter(plan)
  assert.deepEqual(await listLeftNamespaces(), [])
  {
    const port = guestPort(inside, '10.0.0.5')
    await world.network.ensurePort(port)
    await using guest = await StandIn.plug(world.network, port)
    await guest.change('route add default via 10.0.0.1')
    await guest.agent.ask({ ask: 'listen', port: 22 })
    await using outside = await world.standOutside(external, '203.0.113.99')
    assert.equal(await outside.agent.connect(FLOATING, 22), 'open')
    await world.network.removePort(port.portId)
  }
  assert.deepEqual(await listLeftNamespaces(), [])
  await world.restart()
  assert.deepEqual((await world.network.readNetworking()).routerIds, [plan.routerId])
  assert.deepEqual(await listLeftNamespaces(), [])
  assert.deepEqual(world.complaints, [])
})
