/** Routers of a host, in real namespaces: what passes between networks and to the outside, tried with stand-ins. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
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
import { Agent, PATIENCE_MS, SILENCE_MS, StandIn } from './stand-in.ts'

after(async () => assert.deepEqual(await listLeftNamespaces(), [], 'namespaces were left behind'))

const GATEWAY = '203.0.113.2'
const [FLOATING, OTHER_FLOATING] = ['203.0.113.10', '203.0.113.11']
const forwarding = (
  outsidePort: number,
  insideAddress: string,
  insidePort: number,
  protocol: 'tcp' | 'udp' = 'tcp',
) => ({
  outsideAddress: null,
  outsidePort,
  insideAddress,
  insidePort,
  protocol,
})

/** Who called a stand-in since it was last asked. */
const callersOf = ({ agent }: { agent: Agent }) => agent.ask({ ask: 'callers' }) as Promise<string[]>

/** Whoever calls is connected before the one who is called has looked who it is. */
async function assertCallers(guest: { agent: Agent }, expected: string[]): Promise<void> {
  const callers: string[] = []
  await until('all callers are seen', async () => {
    callers.push(...(await callersOf(guest)))
    return callers.length >= expected.length
  })
  assert.deepEqual(callers, expected)
}
const listen = (...guests: { agent: Agent }[]) =>
  Promise.all(guests.map(({ agent }) => agent.ask({ ask: 'listen', port: 22 })))
const echo = (agent: Agent, text: string, waitMs: number) => agent.ask({ ask: 'echo', text, waitMs })

test('a router joins two networks by their own addresses, while it is up, and goes with its last trace', async () => {
  await using world = await RouterWorld.open()
  const [left, right] = [networkPlan(['10.0.0.0/24']), networkPlan(['10.0.1.0/24'])]
  const plan = routerPlan([left, right])
  await world.ensureRouter(plan)
  await using one = await world.plugGuest(left, '10.0.0.5')
  await using other = await world.plugGuest(right, '10.0.1.5')
  await listen(one, other)
  assert.equal(await one.agent.connect('10.0.1.5', 22), 'open')
  assert.equal(await other.agent.connect('10.0.0.5', 22), 'open')
  await assertCallers(one, ['10.0.1.5'])
  await assertCallers(other, ['10.0.0.5'])
  assert.deepEqual((await world.network.readNetworking()).routerIds, [plan.routerId])

  assert.equal(await one.agent.ask({ ask: 'hold', address: '10.0.1.5', port: 22 }), 'open')
  await world.ensureRouter({ ...plan, isUp: false })
  assert.equal(await echo(one.agent, 'down', SILENCE_MS), 'silent')
  assert.equal(await other.agent.tryConnect('10.0.0.5', 22), 'silent')
  await world.ensureRouter(plan)
  assert.equal(await other.agent.connect('10.0.0.5', 22), 'open')

  // Its plan is the whole truth: an interface that is not in it goes.
  await world.ensureRouter({ ...plan, interfaces: plan.interfaces.slice(0, 1) })
  assert.match(String(await one.agent.tryConnect('10.0.1.5', 22)), /UNREACH/)
  await world.network.removeRouter(plan.routerId)
  await world.network.removeRouter(plan.routerId)
  assert.deepEqual((await world.network.readNetworking()).routerIds, [])
  const names = (await run('ip', ['netns', 'list'])).stdout
  assert.ok(!names.includes(world.namespaceOf(plan.routerId)))
})

test('the outside sees the gateway or the floating IP, and gets in by nothing but floating IPs', async () => {
  await using world = await RouterWorld.open()
  const [inside, external] = [networkPlan(['10.0.0.0/24']), externalPlan()]
  const plan = routerPlan([inside], { network: external, ipAddress: GATEWAY })
  await world.ensureRouter({ ...plan, floatingIps: [floatingIp(FLOATING, '10.0.0.5')] })
  await using web = await world.plugGuest(inside, '10.0.0.5')
  await using plain = await world.plugGuest(inside, '10.0.0.6')
  await using outside = await world.standOutside(external, '203.0.113.99')
  await using edge = await Agent.start(world.edgeOf(external))
  await listen(web, plain, outside)

  assert.equal(await web.agent.connect(outside.address, 22), 'open')
  assert.equal(await plain.agent.connect(outside.address, 22), 'open')
  await assertCallers(outside, [FLOATING, GATEWAY])

  assert.equal(await outside.agent.connect(FLOATING, 22), 'open')
  assert.equal(await edge.connect(FLOATING, 22), 'open')
  await assertCallers(web, [outside.address, '203.0.113.1'])
  assert.equal(await outside.agent.tryConnect(GATEWAY, 22), 'silent')
  await run('ip', ['-n', outside.namespace, 'route', 'add', '10.0.0.0/24', 'via', GATEWAY])
  assert.equal(await outside.agent.tryConnect('10.0.0.6', 22), 'silent')

  // Without SNAT the inside addresses are the outside's own business.
  await world.ensureRouter({ ...plan, gateway: plan.gateway && { ...plan.gateway, hasSnat: false } })
  assert.equal(await outside.agent.connect('10.0.0.6', 22), 'open')
  assert.equal(await plain.agent.connect(outside.address, 22), 'open')
  await assertCallers(outside, ['10.0.0.6'])
})

test('guests reach each other, and themselves, by floating IPs and forwardings, and are known by them', async () => {
  await using world = await RouterWorld.open()
  const [inside, external] = [networkPlan(['10.0.0.0/24']), externalPlan()]
  const plan = routerPlan([inside], { network: external, ipAddress: GATEWAY })
  await world.ensureRouter({
    ...plan,
    floatingIps: [floatingIp(FLOATING, '10.0.0.5'), floatingIp(OTHER_FLOATING, '10.0.0.6')],
    portForwardings: [forwarding(2222, '10.0.0.6', 22)],
  })
  await using web = await world.plugGuest(inside, '10.0.0.5')
  await using other = await world.plugGuest(inside, '10.0.0.6')
  await using plain = await world.plugGuest(inside, '10.0.0.7')
  await listen(web, other)
  assert.equal(await web.agent.connect(OTHER_FLOATING, 22), 'open')
  assert.equal(await plain.agent.connect(OTHER_FLOATING, 22), 'open')
  assert.equal(await web.agent.connect(GATEWAY, 2222), 'open')
  await assertCallers(other, [FLOATING, GATEWAY, FLOATING])
  assert.equal(await web.agent.connect(FLOATING, 22), 'open')
  await assertCallers(web, [FLOATING])
})

test('a port of the gateway or of an address of its own leads to one inside, by its protocol alone', async () => {
  await using world = await RouterWorld.open()
  const [inside, external] = [networkPlan(['10.0.0.0/24']), externalPlan()]
  const plan = routerPlan([inside], { network: external, ipAddress: GATEWAY })
  const portForwardings = [
    forwarding(2222, '10.0.0.5', 22),
    forwarding(53, '10.0.0.5', 5353, 'udp'),
    { ...forwarding(80, '10.0.0.6', 22), outsideAddress: '203.0.113.20' },
  ]
  await world.ensureRouter({ ...plan, portForwardings })
  await using web = await world.plugGuest(inside, '10.0.0.5')
  await using other = await world.plugGuest(inside, '10.0.0.6')
  await using outside = await world.standOutside(external, '203.0.113.99')
  await listen(web, other)
  await web.agent.ask({ ask: 'listenUdp', port: 5353 })

  assert.equal(await outside.agent.connect(GATEWAY, 2222), 'open')
  assert.equal(await outside.agent.connect('203.0.113.20', 80), 'open')
  await assertCallers(web, [outside.address])
  await assertCallers(other, [outside.address])
  await outside.agent.ask({ ask: 'sendUdp', address: GATEWAY, port: 53, text: 'question' })
  await until('the datagram comes', async () =>
    ((await web.agent.ask({ ask: 'heard' })) as string[]).includes('question'),
  )
  assert.equal(await outside.agent.tryConnect(GATEWAY, 53), 'silent')
  assert.equal(await outside.agent.tryConnect('203.0.113.20', 2222), 'silent')

  // One is taken away, and what it had let through ends; the others go on.
  assert.equal(await outside.agent.ask({ ask: 'hold', address: GATEWAY, port: 2222 }), 'open')
  await world.ensureRouter({ ...plan, portForwardings: portForwardings.slice(1) })
  assert.equal(await echo(outside.agent, 'gone', SILENCE_MS), 'silent')
  assert.equal(await outside.agent.connect('203.0.113.20', 80), 'open')
})

test('tenants with the same addresses meet by floating IPs alone, and one that moves is found at once', async () => {
  await using world = await RouterWorld.open()
  const external = externalPlan()
  const [mine, yours] = [networkPlan(['10.0.0.0/24']), networkPlan(['10.0.0.0/24'])]
  const myRouter = routerPlan([mine], { network: external, ipAddress: GATEWAY })
  const yourRouter = routerPlan([yours], { network: external, ipAddress: '203.0.113.3' })
  const [toMe, toYou] = [floatingIp(FLOATING, '10.0.0.5'), floatingIp(OTHER_FLOATING, '10.0.0.5')]
  await world.ensureRouter({ ...myRouter, floatingIps: [toMe] }, { ...yourRouter, floatingIps: [toYou] })
  await using me = await world.plugGuest(mine, '10.0.0.5')
  await using you = await world.plugGuest(yours, '10.0.0.5')
  await using outside = await world.standOutside(external, '203.0.113.99')
  await using edge = await Agent.start(world.edgeOf(external))
  await listen(me, you)
  assert.equal(await me.agent.connect(OTHER_FLOATING, 22), 'open')
  await assertCallers(you, [FLOATING])
  assert.deepEqual(await callersOf(me), [])

  const reach = async () => {
    for (const { agent } of [outside, { agent: edge }]) assert.equal(await agent.connect(FLOATING, 22), 'open')
    const reached = [0, 0]
    await until('both callers are seen', async () => {
      for (const [index, guest] of [me, you].entries()) {
        reached[index] = (reached[index] ?? 0) + (await callersOf(guest)).length
      }
      return reached.reduce((sum, count) => sum + count) >= 2
    })
    return reached
  }
  assert.deepEqual(await reach(), [2, 0])
  await world.ensureRouter(myRouter, { ...yourRouter, floatingIps: [toYou, toMe] })
  assert.deepEqual(await reach(), [0, 2])
  // And back, its new place first.
  await world.ensureRouter({ ...myRouter, floatingIps: [toMe] }, { ...yourRouter, floatingIps: [toYou] })
  assert.deepEqual(await reach(), [2, 0])
})

test('a floating IP that is taken away ends the connections by it, both ways, and no others', async () => {
  await using world = await RouterWorld.open()
  const [inside, external] = [networkPlan(['10.0.0.0/24']), externalPlan()]
  const plan = routerPlan([inside], { network: external, ipAddress: GATEWAY })
  const both = [floatingIp(FLOATING, '10.0.0.5'), floatingIp(OTHER_FLOATING, '10.0.0.6')]
  await world.ensureRouter({ ...plan, floatingIps: both })
  await using web = await world.plugGuest(inside, '10.0.0.5')
  await using other = await world.plugGuest(inside, '10.0.0.6')
  await using outside = await world.standOutside(external, '203.0.113.99')
  await using second = await world.standOutside(external, '203.0.113.98')
  await listen(web, other, outside)
  const hold = (agent: Agent, address: string) => agent.ask({ ask: 'hold', address, port: 22 })
  assert.equal(await hold(outside.agent, FLOATING), 'open')
  assert.equal(await hold(web.agent, outside.address), 'open')
  assert.equal(await hold(second.agent, OTHER_FLOATING), 'open')
  for (const agent of [outside.agent, web.agent, second.agent])
    assert.equal(await echo(agent, 'one', PATIENCE_MS), 'one')

  await world.ensureRouter({ ...plan, floatingIps: both.slice(1) })
  // Silence, or the other side's word that it knows of no such connection.
  assert.notEqual(await echo(outside.agent, 'two', SILENCE_MS), 'two')
  assert.notEqual(await echo(web.agent, 'two', SILENCE_MS), 'two')
  assert.equal(await echo(second.agent, 'two', PATIENCE_MS), 'two')
  // From now on the guest is known by the gateway.
  await callersOf(outside)
  assert.equal(await web.agent.connect(outside.address, 22), 'open')
  await assertCallers(outside, [GATEWAY])
})

test('a sender that never pauses is led elsewhere as soon as its floating IP is', async () => {
  await using world = await RouterWorld.open()
  const [inside, external] = [networkPlan(['10.0.0.0/24']), externalPlan()]
  const plan = routerPlan([inside], { network: external, ipAddress: GATEWAY })
  await world.ensureRouter({ ...plan, floatingIps: [floatingIp(FLOATING, '10.0.0.5')] })
  await using web = await world.plugGuest(inside, '10.0.0.5')
  await using other = await world.plugGuest(inside, '10.0.0.6')
  await using outside = await world.standOutside(external, '203.0.113.99')
  for (const { agent } of [web, other]) await agent.ask({ ask: 'listenUdp', port: 53 })
  const reaches = ({ agent }: typeof web, text: string) =>
    until(`'${text}' comes`, async () => {
      await outside.agent.ask({ ask: 'sendUdp', address: FLOATING, port: 53, fromPort: 5_000, text })
      return ((await agent.ask({ ask: 'heard' })) as string[]).includes(text)
    })
  await reaches(web, 'one')
  await world.ensureRouter({ ...plan, floatingIps: [floatingIp(FLOATING, '10.0.0.6')] })
  await reaches(other, 'two')
})

test('a guest without filters cannot send through its router in the name of a guest behind it', async () => {
  await using world = await RouterWorld.open()
  const [left, right] = [networkPlan(['10.0.0.0/24']), networkPlan(['10.0.1.0/24'])]
  await world.ensureRouter(routerPlan([left, right]))
  await using victim = await world.plugGuest(right, '10.0.1.5')
  const port = { ...guestPort(left, '10.0.0.5'), antiSpoofing: false, securityGroups: null }
  world.willRemove(port.portId)
  await world.network.ensurePort(port)
  await using liar = await StandIn.plug(world.network, port)
  await liar.change('addr add 10.0.1.77/32 dev eth0', 'route add default via 10.0.0.1')
  await victim.agent.ask({ ask: 'listenUdp', port: 53 })

  const heard: string[] = []
  const send = (from: string, text: string) =>
    liar.agent.ask({ ask: 'sendUdp', address: '10.0.1.5', port: 53, from, text })
  const untilHeard = (text: string) =>
    until(`'${text}' comes`, async () => {
      await send('10.0.0.5', text)
      heard.push(...((await victim.agent.ask({ ask: 'heard' })) as string[]))
      return heard.includes(text)
    })
  await untilHeard('before')
  await send('10.0.1.77', 'lie')
  await untilHeard('after')
  assert.ok(!heard.includes('lie'))
})

test('a limited floating IP goes through a class of its rate on either side, and the others through none', async () => {
  await using world = await RouterWorld.open()
  const [inside, external] = [networkPlan(['10.0.0.0/24']), externalPlan()]
  const plan = routerPlan([inside], { network: external, ipAddress: GATEWAY })
  const limited = (rate: number, otherRate: number) => ({
    ...plan,
    floatingIps: [floatingIp(FLOATING, '10.0.0.5', rate), floatingIp(OTHER_FLOATING, '10.0.0.6', otherRate)],
  })
  await world.ensureRouter(limited(8_000, 0))
  await using web = await world.plugGuest(inside, '10.0.0.5')
  await using other = await world.plugGuest(inside, '10.0.0.6')
  await using outside = await world.standOutside(external, '203.0.113.99')
  await listen(web, other)
  const load = 'x'.repeat(50_000)
  const transfer = async (address: string) => {
    assert.equal(await outside.agent.ask({ ask: 'hold', address, port: 22 }), 'open')
    assert.match(String(await echo(outside.agent, load, PATIENCE_MS)), /^x+$/)
  }
  const classes = () => readClasses(world.namespaceOf(plan.routerId))

  await transfer(FLOATING)
  const passed = await until('both directions are counted', async () => {
    const now = await classes()
    return now.every(({ bytes }) => bytes > 50_000) ? now : undefined
  })
  assert.deepEqual(
    passed?.map(({ rate }) => rate),
    ['8Mbit', '8Mbit'],
  )
  await transfer(OTHER_FLOATING)

  await world.ensureRouter(limited(8_000, 1_000))
  assert.equal((await classes()).length, 4)
  await world.ensureRouter(limited(16_000, 0))
  const later = await classes()
  assert.deepEqual(
    later.map(({ rate }) => rate),
    ['16Mbit', '16Mbit'],
  )
  // The same classes: what was in their queues was not thrown away.
  assert.ok(
    later.every(({ bytes }) => bytes > 50_000),
    JSON.stringify(later),
  )
  await world.ensureRouter(limited(0, 0))
  assert.deepEqual(await classes(), [])
})

interface ClassCount {
  rate: string
  bytes: number
}

async function readClasses(namespace: string): Promise<ClassCount[]> {
  const links: { ifname: string }[] = JSON.parse((await run('ip', ['-n', namespace, '-json', 'link', 'show'])).stdout)
  const texts = links.map(
    async ({ ifname }) => (await run('tc', ['-n', namespace, '-s', 'class', 'show', 'dev', ifname])).stdout,
  )
  const found = (await Promise.all(texts)).join('').matchAll(/rate (\S+) .*\n Sent (\d+) bytes/g)
  return [...found].map(([, rate = '', bytes]) => ({ rate, bytes: Number(bytes) }))
}
