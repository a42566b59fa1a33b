/** The network side of a QEMU host: real namespaces, filters, DHCP and metadata, tried with stand-ins and with guests. */
import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { PortPlan } from '../../src/host/host-driver.ts'
import { groupOf } from '../../src/host/linux-network/example-plans.ts'
import { FLOWS_PER_ADDRESS } from '../../src/host/linux-network/flow-limit.ts'
import { buildTiny } from '../../src/images/tiny/build-tiny.ts'
import { newId, newMacAddress } from '../../src/lib/ids.ts'
import { until } from '../support/until.ts'
import { BareGuest, run } from './bare-guest.ts'
import { allow, anything, isRunning, listLeftNamespaces, NetworkWorld, newNetwork, OUT } from './network-world.ts'
import { Agent, metadata, PATIENCE_MS, SILENCE_MS, StandIn } from './stand-in.ts'

after(async () => assert.deepEqual(await listLeftNamespaces(), [], 'namespaces were left behind'))

test('a guest is reached where a rule allows it, from another guest and from the namespace alike', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newNetwork()
  const [plan, other] = [newPort({ securityGroups: [groupOf(OUT, allow('tcp', 22))] }), newPort()]
  await world.ensure(plan, other)
  await using web = await StandIn.plug(world.network, plan)
  await using peer = await StandIn.plug(world.network, other)
  await using inside = await Agent.start(world.namespaceOf(plan))
  for (const port of [22, 80]) await web.agent.ask({ ask: 'listen', port })
  await peer.agent.ask({ ask: 'listen', port: 22 })

  assert.equal(await peer.agent.connect(web.address, 22), 'open')
  assert.equal(await inside.connect(web.address, 22), 'open')
  assert.equal(await peer.agent.tryConnect(web.address, 80), 'silent')
  assert.equal(await inside.tryConnect(web.address, 80), 'silent')
  assert.equal(await web.agent.tryConnect(peer.address, 22), 'silent')

  // The rule for one source lets in that one.
  await world.ensure({ ...other, securityGroups: [groupOf(OUT, allow('tcp', 22, `${web.address}/32`))] })
  assert.equal(await web.agent.connect(peer.address, 22), 'open')
  assert.equal(await inside.tryConnect(peer.address, 22), 'silent')
})

test('a rule that is taken away ends the connections it had allowed, and no rule for egress means none', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newNetwork()
  const [plan, other] = [newPort({ securityGroups: [groupOf(OUT, allow('tcp', 22))] }), newPort()]
  await world.ensure(plan, other)
  await using web = await StandIn.plug(world.network, plan)
  await using peer = await StandIn.plug(world.network, other)
  await web.agent.ask({ ask: 'listen', port: 22 })
  assert.equal(await peer.agent.ask({ ask: 'hold', address: web.address, port: 22 }), 'open')
  assert.equal(await peer.agent.ask({ ask: 'echo', text: 'one', waitMs: PATIENCE_MS }), 'one')

  await world.ensure({ ...plan, securityGroups: [groupOf(OUT)] })
  assert.equal(await peer.agent.ask({ ask: 'echo', text: 'two', waitMs: SILENCE_MS }), 'silent')

  await world.ensure(
    { ...plan, securityGroups: [groupOf(OUT, allow('tcp', 22))] },
    { ...other, securityGroups: [groupOf()] },
  )
  assert.equal(await peer.agent.tryConnect(web.address, 22), 'silent')
  assert.deepEqual(await peer.agent.ask(metadata), { status: 200, body: `${plan.network.networkId} ${peer.address}` })
})

test('nothing of the namespace but DHCP and metadata is open to a guest', async () => {
  await using world = await NetworkWorld.open()
  const plan = newNetwork()()
  await world.ensure(plan)
  await using guest = await StandIn.plug(world.network, plan)
  await using inside = await Agent.start(world.namespaceOf(plan))
  await inside.ask({ ask: 'listen', port: 22 })
  await inside.ask({ ask: 'listenUdp', port: 53 })

  assert.equal(await inside.connect('10.78.0.2', 22), 'open')
  assert.equal(await guest.agent.tryConnect('10.78.0.2', 22), 'silent')
  assert.equal(await guest.agent.tryConnect('169.254.169.254', 22), 'silent')
  assert.equal(await guest.agent.tryConnect('10.78.0.2', 80), 'silent')
  assert.equal(await guest.agent.connect('169.254.169.254', 80), 'open')
  await guest.agent.ask({ ask: 'sendUdp', address: '10.78.0.2', port: 53, text: 'from the guest' })
  await inside.ask({ ask: 'sendUdp', address: '10.78.0.2', port: 53, text: 'from inside' })
  await until('the datagram from inside comes', async () => (await heard(inside)).includes('from inside'))
  assert.deepEqual(await heard(inside), ['from inside'])

  // The service believes source addresses, so it is closed to a device of the bridge whose sender no filter vouches for.
  assert.equal(await guest.agent.connect('169.254.169.254', 80), 'open')
  const tap = (await world.network.findTap(plan.portId))?.tapName ?? ''
  await run('ip', ['-n', world.namespaceOf(plan), 'link', 'set', tap, 'down', 'name', 'uplink'])
  await run('ip', ['-n', world.namespaceOf(plan), 'link', 'set', 'uplink', 'up'])
  assert.equal(await guest.agent.tryConnect('169.254.169.254', 80), 'silent')
})

const heard = async (agent: Agent): Promise<string[]> => (await agent.ask({ ask: 'heard' })) as string[]

test('frames with a foreign address or MAC are dropped, unless anti-spoofing is off', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newNetwork()
  const plan = newPort()
  const other = newPort({ securityGroups: [groupOf(OUT, anything('ingress'))] })
  await world.ensure(plan, other)
  await using liar = await StandIn.plug(world.network, plan)
  await using peer = await StandIn.plug(world.network, other)
  await peer.agent.ask({ ask: 'listenUdp', port: 9 })
  const send = (text: string, more: { from?: string; fromPort?: number } = {}) =>
    liar.agent.ask({ ask: 'sendUdp', address: peer.address, port: 9, text, ...more })
  const arrives = (text: string) => until(`${text} arrives`, async () => (await heard(peer.agent)).includes(text))
  const mac = (address: string) => liar.change(`link set eth0 address ${address}`)

  await liar.change('addr add 10.78.0.99/24 dev eth0')
  await send('own address')
  await arrives('own address')
  await send('foreign address', { from: '10.78.0.99' })
  await send('as a DHCP server', { from: liar.address, fromPort: 67 })
  await mac('fa:16:3e:99:99:99')
  await liar.change(`neigh replace ${peer.address} lladdr ${other.macAddress} dev eth0`) // its ARP is dropped as well
  await send('foreign MAC')
  await mac(plan.macAddress)
  await send('own address again')
  await arrives('own address again')
  assert.deepEqual(await heard(peer.agent), ['own address', 'own address again'])

  await world.ensure({ ...plan, antiSpoofing: false })
  await send('foreign address, allowed', { from: '10.78.0.99' })
  await arrives('foreign address, allowed')
  // Even so the metadata of another address stay closed.
  const asOther = await liar.agent.ask({ ...metadata, from: '10.78.0.99', waitMs: SILENCE_MS })
  assert.deepEqual(asOther, { status: 0, body: 'silent' })
  assert.deepEqual(await liar.agent.ask({ ...metadata, from: liar.address }), {
    status: 200,
    body: `${plan.network.networkId} ${liar.address}`,
  })
})

test('broadcasts and frames for a foreign address meet the security group of each receiver', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newNetwork()
  const [plan, closed, open] = [newPort(), newPort(), newPort({ securityGroups: [groupOf(OUT, allow('udp', 9))] })]
  await world.ensure(plan, closed, open)
  await using sender = await StandIn.plug(world.network, plan)
  await using first = await StandIn.plug(world.network, closed)
  await using second = await StandIn.plug(world.network, open)
  const foreign = '198.51.100.7'
  for (const receiver of [first, second]) {
    await receiver.agent.ask({ ask: 'listenUdp', port: 9 })
    await receiver.change(`addr add ${foreign}/32 dev eth0`)
  }
  await sender.agent.ask({ ask: 'sendUdp', address: '255.255.255.255', port: 9, text: 'to all' })
  for (const { address } of [first, second]) {
    await sender.change(`route replace ${foreign} via ${address}`)
    await sender.agent.ask({ ask: 'sendUdp', address: foreign, port: 9, text: `by ${address}` })
  }
  await until('both arrive', async () => (await heard(second.agent)).length === 2)
  assert.deepEqual(await heard(second.agent), ['to all', `by ${second.address}`])
  assert.deepEqual(await heard(first.agent), [])
})

test('a guest that opens connections without end leaves room for the others, also when rules change meanwhile', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newNetwork()
  const [plan, other] = [
    newPort(),
    newPort({ securityGroups: [groupOf(OUT, allow('tcp', 22), { ...allow('udp', 1), portRangeMax: 65_535 })] }),
  ]
  await world.ensure(plan, other)
  await using greedy = await StandIn.plug(world.network, plan)
  await using peer = await StandIn.plug(world.network, other)
  const flood = (flows: number) => greedy.agent.ask({ ask: 'flood', address: peer.address, flows })
  const countFlows = async () => {
    const path = '/proc/sys/net/netfilter/nf_conntrack_count'
    return Number((await run('ip', ['netns', 'exec', world.namespaceOf(plan), 'cat', path])).stdout)
  }
  await flood(FLOWS_PER_ADDRESS)
  await world.ensure(newPort())
  await flood(FLOWS_PER_ADDRESS + 500)
  const count = await countFlows()
  assert.ok(count > 1_000 && count <= FLOWS_PER_ADDRESS + 20, `${count} connections`)
  assert.equal(await peer.agent.connect('169.254.169.254', 80), 'open')
})

test('a guest is offered its address and options by DHCP, and not in the name of another', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newNetwork()
  const [plan, other] = [newPort(), newPort()]
  await world.ensure(plan, other)
  await using guest = await StandIn.plug(world.network, plan)
  const discover = (macAddress: string, waitMs = PATIENCE_MS) =>
    guest.agent.ask({ ask: 'discover', macAddress, waitMs }) as Promise<{ address: string; options: object }>

  const offer = await discover(plan.macAddress)
  assert.equal(offer.address, '10.78.0.11')
  const { 1: mask, 3: router, 6: dns, 12: name, 26: mtu, 121: routes } = offer.options as Record<number, string>
  assert.deepEqual({ mask, router, dns, mtu }, { mask: 'ffffff00', router: '0a4e0001', dns: 'c0000235', mtu: '05aa' })
  assert.equal(Buffer.from(name ?? '', 'hex').toString(), 'guest-1')
  assert.equal(routes, '20a9fea9fe0a4e0002' + '000a4e0001') // metadata by the DHCP address, all else by the gateway
  assert.equal(await discover(other.macAddress, SILENCE_MS), 'silent')
  // Without the filter in between dnsmasq would have answered.
  await world.ensure({ ...plan, antiSpoofing: false })
  assert.equal((await discover(other.macAddress)).address, '10.78.0.12')
})

test('an address given to a new card is offered to it, though the old card still holds a lease', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newNetwork()
  const [plan, keeper] = [newPort(), newPort()]
  await world.ensure(plan, keeper)
  const pid = await world.dnsmasqPid(plan)
  await using old = await StandIn.plug(world.network, plan)
  await old.agent.ask({ ask: 'discover', macAddress: plan.macAddress, waitMs: PATIENCE_MS })
  // As dnsmasq records it once the guest has taken the offer.
  const lease = `4000000000 ${plan.macAddress} 10.78.0.11 guest-1 *\n`
  process.kill(pid, 'SIGKILL')
  await until('dnsmasq is gone', async () => !(await isRunning(pid)))
  await writeFile(world.file(plan, 'dhcp-leases'), lease)
  await world.network.removePort(plan.portId)

  const renewed = { ...plan, portId: newId(), macAddress: newMacAddress() }
  await world.ensure(renewed)
  await using guest = await StandIn.plug(world.network, renewed)
  const ask = { ask: 'discover', macAddress: renewed.macAddress, waitMs: PATIENCE_MS } as const
  assert.equal(((await guest.agent.ask(ask)) as { address: string }).address, '10.78.0.11')
})

test('overlapping networks serve DHCP and metadata separately, by socket and address, whatever a header says', async () => {
  await using world = await NetworkWorld.open()
  const plans = [newNetwork()({ hostName: 'one' }), newNetwork()({ hostName: 'two' })] as const
  await world.ensure(...plans)
  await using one = await StandIn.plug(world.network, plans[0])
  await using two = await StandIn.plug(world.network, plans[1])
  assert.equal(one.address, two.address)
  for (const [guest, plan] of [
    [one, plans[0]],
    [two, plans[1]],
  ] as const) {
    assert.deepEqual(await guest.agent.ask(metadata), {
      status: 200,
      body: `${plan.network.networkId} 10.78.0.11`,
    })
    // Each DHCP server knows its own guest alone: the other's card has the same address and another name.
    const ask = { ask: 'discover', macAddress: plan.macAddress, waitMs: PATIENCE_MS } as const
    const offer = (await guest.agent.ask(ask)) as { address: string; options: Record<number, string> }
    assert.equal(offer.address, '10.78.0.11')
    assert.equal(Buffer.from(offer.options[12] ?? '', 'hex').toString(), plan.hostName)
  }
  await one.agent.ask({ ...metadata, method: 'PUT', path: '/latest/api/token?x=1', body: 'x' })
  const last = world.asked.at(-1)
  assert.deepEqual([last?.method, last?.path], ['PUT', '/latest/api/token?x=1'])
})

test('the metadata service gives no internals away, refuses long bodies, and bounds what one guest asks', async () => {
  await using world = await NetworkWorld.open()
  const plan = newNetwork()()
  await world.ensure(plan)
  await using guest = await StandIn.plug(world.network, plan)
  world.answer = () => Promise.reject(new Error('secret detail'))
  assert.deepEqual(await guest.agent.ask(metadata), { status: 500, body: 'Internal Server Error' })
  const long = (await guest.agent.ask({ ...metadata, method: 'POST', body: 'x'.repeat(5_000) })) as { status: number }
  assert.equal(long.status, 413)

  let release = () => {}
  const gate = new Promise<void>((resolve) => {
    release = resolve
  })
  world.asked.length = 0
  world.answer = async () => {
    await gate
    return { status: 200, contentType: 'text/plain', body: 'late' }
  }
  const calls = Array.from({ length: 8 }, () => guest.agent.ask({ ...metadata, waitMs: PATIENCE_MS }))
  const refused = await Promise.race(calls)
  assert.equal((refused as { status: number }).status, 503)
  await until('four ask', () => world.asked.length === 4)
  release()
  const statuses = ((await Promise.all(calls)) as { status: number }[]).map(({ status }) => status)
  assert.ok(statuses.filter((status) => status === 200).length >= 4)
})

test('real guests boot by DHCP and metadata, and the default group holds for ping and tcp', async () => {
  await using world = await NetworkWorld.open()
  const image = await buildTiny({ cacheDir: process.env.NOVELLA_CACHE_DIR ?? '/var/cache/novella' })
  const newPort = newNetwork()
  const ping = { ...allow('icmp', 0), portRangeMin: null, portRangeMax: null }
  const plans = [
    newPort({ securityGroups: [groupOf(OUT, ping, ...[22, 80, 443].map((port) => allow('tcp', port)))] }),
    newPort(),
  ] as const
  await world.ensure(...plans)
  world.answer = async ({ ipAddress, path }) => {
    const plan = plans.find(({ addresses }) => addresses[0]?.ipAddress === ipAddress)
    return path === '/openstack/latest/meta_data.json' && plan
      ? {
          status: 200,
          contentType: 'application/json',
          body: JSON.stringify({ uuid: plan.serverId, name: plan.hostName }),
        }
      : { status: 404, contentType: 'text/plain', body: '' }
  }
  const start = async (plan: PortPlan) => {
    const directory = join(world.dataDir, plan.hostName)
    await mkdir(directory)
    const disk = join(directory, 'disk.qcow2')
    await run('qemu-img', [
      'create',
      '-q',
      '-f',
      'qcow2',
      '-F',
      'qcow2',
      '-b',
      join(image.directory, 'disk.qcow2'),
      disk,
    ])
    const tap = await world.network.findTap(plan.portId)
    const cards = [{ tap: tap?.tapName ?? '', macAddress: plan.macAddress }]
    return new BareGuest({ image, boot: 'kernel', disk, directory, namespace: tap?.namespace, cards })
  }
  await using web = await start(plans[0])
  await using peer = await start(plans[1])
  await web.awaitConsole(/\bguest-1 login: /)
  await peer.awaitConsole(/\bguest-2 login: /)

  assert.match(await web.shell('ip -4 addr show eth0'), /mtu 1450[\s\S]*inet 10\.78\.0\.11\/24/)
  await using inside = await Agent.start(world.namespaceOf(plans[0]))
  assert.equal(await inside.connect('10.78.0.11', 22), 'open')
  assert.equal(await inside.connect('10.78.0.11', 80), 'ECONNREFUSED')
  assert.equal(await inside.tryConnect('10.78.0.11', 8080), 'silent')
  assert.equal(await inside.tryConnect('10.78.0.12', 22), 'silent')
  const pings = (guest: BareGuest, address: string) =>
    guest.shell(`ping -c 3 -W 2 ${address} >/dev/null && echo answered || echo silent`)
  assert.equal(await pings(peer, '10.78.0.11'), 'answered\n')
  assert.equal(await pings(web, '10.78.0.12'), 'silent\n')
  assert.equal(await pings(web, '10.78.0.2'), 'answered\n')
})
