/** How external networks meet the world: a namespace stands in the machine's place, with a neighbour behind it. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { runTool } from '../../src/host/linux-network/run-tool.ts'
import { newHexId } from '../../src/lib/ids.ts'
import { run } from './bare-guest.ts'
import {
  externalPlan,
  floatingIp,
  listLeftNamespaces,
  networkPlan,
  Outsider,
  RouterWorld,
  type RouterWorldOptions,
  routerPlan,
} from './linux-router-world.ts'
import { Agent } from './stand-in.ts'

after(async () => assert.deepEqual(await listLeftNamespaces(), [], 'namespaces were left behind'))

const FLOATING = '203.0.113.10'

/** A namespace in the machine's place, with a bridge `lan` that has an address. */
class Machine implements AsyncDisposable {
  readonly namespace = `machine-${newHexId().slice(0, 8)}`

  static async start(address?: string): Promise<Machine> {
    const machine = new Machine()
    await runTool('ip', ['netns', 'add', machine.namespace])
    const lines = ['link set lo up', 'link add lan type bridge', 'link set lan up']
    if (address !== undefined) lines.push(`addr add ${address}/24 dev lan`)
    await runTool('ip', ['-n', machine.namespace, '-batch', '-'], lines.map((line) => `${line}\n`).join(''))
    return machine
  }

  async traces(): Promise<{ devices: number; tables: string }> {
    const links: { ifname: string }[] = JSON.parse((await run('ip', ['-n', this.namespace, '-json', 'link'])).stdout)
    const tables = await run('ip', ['netns', 'exec', this.namespace, 'nft', 'list', 'tables'])
    return { devices: links.filter(({ ifname }) => ifname.startsWith('nv')).length, tables: tables.stdout }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run('ip', ['netns', 'delete', this.namespace])
  }
}

async function openStory(world: RouterWorld) {
  const [inside, external] = [networkPlan(['10.0.0.0/24']), externalPlan()]
  const router = routerPlan([inside], { network: external, ipAddress: '203.0.113.2' })
  const plan = { ...router, floatingIps: [floatingIp(FLOATING, '10.0.0.5')] }
  await world.ensureRouter(plan)
  const guest = await world.plugGuest(inside, '10.0.0.5')
  await guest.agent.ask({ ask: 'listen', port: 22 })
  return { plan, guest }
}

test('by nat guests reach the world as the machine, and the machine reaches floating IPs', async () => {
  await using machine = await Machine.start('192.0.2.1')
  await using neighbour = await Outsider.stand(machine.namespace, '192.0.2.9', 'lan')
  await using itself = await Agent.start(machine.namespace)
  await neighbour.agent.ask({ ask: 'listen', port: 22 })
  const options: RouterWorldOptions = { uplink: 'nat', outer: machine.namespace }
  await using world = await RouterWorld.open(options)
  const { plan, guest: web } = await openStory(world)
  await using guest = web

  assert.equal(await guest.agent.connect('192.0.2.9', 22), 'open')
  assert.deepEqual(await neighbour.agent.ask({ ask: 'callers' }), ['192.0.2.1'])
  assert.equal(await itself.connect(FLOATING, 22), 'open')
  assert.equal((await machine.traces()).devices, 1)
  assert.match((await machine.traces()).tables, /^table ip novella_[0-9a-f]{6}_[0-9a-f]{7}\n$/)

  // What is damaged by hand is mended by the next start, and asking again disturbs nothing.
  assert.equal(await guest.agent.ask({ ask: 'hold', address: '192.0.2.9', port: 22 }), 'open')
  await world.ensureRouter(plan)
  await world.restart()
  assert.equal(await guest.agent.ask({ ask: 'echo', text: 'still', waitMs: 20_000 }), 'still')
  const device = (await run('ip', ['-n', machine.namespace, '-o', 'link'])).stdout.match(/ (nv[0-9a-f]{13})@/)?.[1]
  await run('ip', ['-n', machine.namespace, 'link', 'delete', device ?? ''])
  await world.restart()
  assert.equal(await guest.agent.connect('192.0.2.9', 22), 'open')

  await world.restart({ uplink: 'none' })
  assert.deepEqual(await machine.traces(), { devices: 0, tables: '' })
  await world.restart({ uplink: 'nat' })
  assert.equal((await machine.traces()).devices, 1)
  await world.network.removeRouter(plan.routerId)
  assert.deepEqual(await machine.traces(), { devices: 0, tables: '' })
})

test('a machine that leads the external subnet elsewhere says so, and its own route stays', async () => {
  await using machine = await Machine.start('203.0.113.77')
  await using world = await RouterWorld.open({ uplink: 'nat', outer: machine.namespace })
  const [inside, external] = [networkPlan(['10.0.0.0/24']), externalPlan()]
  await using _ = await world.plugGuest(inside, '10.0.0.5')
  const plan = routerPlan([inside], { network: external, ipAddress: '203.0.113.2' })
  await assert.rejects(world.network.ensureRouter(plan), {
    name: 'HostError',
    message: /leads 203\.0\.113\.0\/24 to lan.*uplink to none/,
  })
  const routes = (await run('ip', ['-n', machine.namespace, 'route'])).stdout
  assert.match(routes, /^203\.0\.113\.0\/24 dev lan/m)
})

test('by a bridge the outside is the machine’s own network', async () => {
  await using machine = await Machine.start()
  await using neighbour = await Outsider.stand(machine.namespace, '203.0.113.99', 'lan')
  await neighbour.agent.ask({ ask: 'listen', port: 22 })
  await using world = await RouterWorld.open({ uplink: 'bridge=lan', outer: machine.namespace })
  const { plan, guest: web } = await openStory(world)
  await using guest = web
  assert.equal(await neighbour.agent.connect(FLOATING, 22), 'open')
  assert.equal(await guest.agent.connect('203.0.113.99', 22), 'open')
  assert.deepEqual(await neighbour.agent.ask({ ask: 'callers' }), [FLOATING])

  await world.restart({ uplink: 'none' })
  assert.deepEqual(await machine.traces(), { devices: 0, tables: '' })
  await world.restart()
  assert.equal(await neighbour.agent.connect(FLOATING, 22), 'open')
  await world.network.removeRouter(plan.routerId)
  assert.deepEqual(await machine.traces(), { devices: 0, tables: '' })
})

test('a bridge that is not there keeps the host from starting, and says what to do', async () => {
  await using machine = await Machine.start()
  await assert.rejects(RouterWorld.open({ uplink: 'bridge=nowhere', outer: machine.namespace }), {
    name: 'HostError',
    failure: 'missing',
    message: /no bridge nowhere\. Make it \(ip link add nowhere type bridge\)/,
  })
})
