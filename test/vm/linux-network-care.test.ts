/** How a host's networks outlive crashes, restarts and damage done by hand. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { pino } from 'pino'
import { readConfig } from '../../src/config.ts'
import type { PortPlan } from '../../src/host/host-driver.ts'
import { groupOf } from '../../src/host/linux-network/example-plans.ts'
import { namespaceName } from '../../src/host/linux-network/names.ts'
import { openHost } from '../../src/host/open-host.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { newId } from '../../src/lib/ids.ts'
import { until } from '../support/until.ts'
import { run } from './bare-guest.ts'
import { allow, isRunning, listLeftNamespaces, listNamespaces, NetworkWorld, newNetwork, OUT } from './network-world.ts'
import { metadata, PATIENCE_MS, StandIn } from './stand-in.ts'

after(async () => assert.deepEqual(await listLeftNamespaces(), [], 'namespaces were left behind'))

test('everything goes on while the process is away, and is found again by the next one', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newNetwork()
  const plan = newPort()
  await world.ensure(plan)
  await using guest = await StandIn.plug(world.network, plan)
  const pid = await world.dnsmasqPid(plan)
  await world.network[Symbol.asyncDispose]()
  const ask = { ask: 'discover', macAddress: plan.macAddress, waitMs: PATIENCE_MS } as const
  assert.equal(((await guest.agent.ask(ask)) as { address: string }).address, '10.78.0.11')

  await world.restart()
  assert.equal(await world.dnsmasqPid(plan), pid)
  assert.equal(((await guest.agent.ask(metadata)) as { status: number }).status, 200)
  // A new guest is announced to the dnsmasq of the process before, and removal works on what it made.
  const next = newPort()
  await world.ensure(next)
  assert.equal(await world.dnsmasqPid(plan), pid)
  await using second = await StandIn.plug(world.network, next)
  const asked = { ...ask, macAddress: next.macAddress }
  assert.equal(((await second.agent.ask(asked)) as { address: string }).address, '10.78.0.12')
  await world.network.removePort(plan.portId)
  await world.network.removePort(next.portId)
  await until('dnsmasq is gone', async () => !(await isRunning(pid)))
  assert.ok(!(await listNamespaces()).includes(world.namespaceOf(plan)))
})

test('what was damaged by hand is mended when a port is asked for again', async () => {
  await using world = await NetworkWorld.open()
  const plan = newNetwork()()
  await world.ensure(plan)
  const namespace = world.namespaceOf(plan)
  const works = async () => {
    await using guest = await StandIn.plug(world.network, plan)
    assert.equal(((await guest.agent.ask(metadata)) as { status: number }).status, 200)
    const ask = { ask: 'discover', macAddress: plan.macAddress, waitMs: PATIENCE_MS } as const
    assert.equal(((await guest.agent.ask(ask)) as { address: string }).address, '10.78.0.11')
  }
  const damages: [string, () => Promise<unknown>][] = [
    ['the bridge is deleted', () => run('ip', ['-n', namespace, 'link', 'delete', 'br0'])],
    ['the namespace is deleted', () => run('ip', ['netns', 'delete', namespace])],
    ['making the namespace was broken off', () => breakOff(namespace)],
    ['the filters are flushed', () => run('ip', ['netns', 'exec', namespace, 'nft', 'flush', 'ruleset'])],
    ['dnsmasq is killed', async () => process.kill(await world.dnsmasqPid(plan), 'SIGKILL')],
    ['the tap is taken off', () => works()],
  ]
  for (const [what, damage] of damages) {
    const pid = await world.dnsmasqPid(plan)
    await damage()
    if (what.startsWith('dnsmasq')) await until('dnsmasq is gone', async () => !(await isRunning(pid)))
    await world.ensure(plan)
    assert.ok(await world.network.findTap(plan.portId), what)
    if (!what.includes('filters')) await works()
    await world.ensure(plan) // the stand-in took the tap's place with it
    const tables = await run('ip', ['netns', 'exec', namespace, 'nft', 'list', 'tables'])
    assert.equal(tables.stdout, 'table bridge novella\ntable inet novella\ntable inet novella_flows\n', what)
  }
})

/** As a killed `ip netns add` leaves it: a file with nothing mounted on it. */
async function breakOff(namespace: string): Promise<void> {
  await run('ip', ['netns', 'delete', namespace])
  await writeFile(join('/run/netns', namespace), '')
}

test('a data directory that is named by a symbolic link is the one it names', async () => {
  await using world = await NetworkWorld.open()
  const link = `${world.dataDir}-link`
  await symlink(world.dataDir, link)
  try {
    const { config } = readConfig(['--data', link, '--driver', 'qemu', '--qemu-user', 'nobody'], {})
    const answerMetadata = async () => ({ status: 404, contentType: 'text/plain', body: '' })
    await using host = await openHost({ config, clock: systemClock, log: pino({ level: 'silent' }), answerMetadata })
    const plan = newNetwork()()
    await host.ensurePort(plan)
    assert.ok((await listNamespaces()).includes(world.namespaceOf(plan)))
    await host.removePort(plan.portId)
  } finally {
    await rm(link)
  }
})

test('removing is complete, may be repeated, and finishes what a crash broke off', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newNetwork()
  const [one, two] = [newPort(), newPort()]
  await world.ensure(one, two)
  assert.equal(await world.network.findTap(newId()), undefined)
  await world.network.removePort(one.portId)
  await world.network.removePort(one.portId)
  assert.equal(await world.network.findTap(one.portId), undefined)
  assert.ok(await world.network.findTap(two.portId))
  assert.doesNotMatch(await readFile(world.file(one, 'dhcp-hosts'), 'utf8'), new RegExp(one.macAddress))

  // Killed after the namespace went, before the directory did.
  await run('ip', ['netns', 'delete', world.namespaceOf(two)])
  await world.restart()
  assert.equal(await world.network.findTap(two.portId), undefined)
  await world.network.removePort(two.portId)
  assert.deepEqual(await readdir(join(world.dataDir, 'networks')), [])

  // A namespace of ours that nothing names, and one of somebody else's directory.
  const stray = namespaceName(world.dataDir, newId())
  const foreign = `nv-${randomBytes(3).toString('hex')}-${newId()}`
  for (const name of [stray, foreign]) await run('ip', ['netns', 'add', name])
  try {
    await world.restart()
    const left = await listNamespaces()
    assert.deepEqual([left.includes(stray), left.includes(foreign)], [false, true])
  } finally {
    await run('ip', ['netns', 'delete', foreign])
  }
})

test('a plan with a value that is none changes nothing', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newNetwork()
  const plan = newPort()
  await world.ensure(plan)
  const bad = newPort({ macAddress: 'fa:16:3e:00:00:01,10.78.0.66' })
  await assert.rejects(world.network.ensurePort(bad), /Not a MAC/)
  assert.deepEqual(await readdir(world.file(plan, 'ports')), [`${plan.portId}.json`])
  await world.ensure(newPort())
})

test('a DHCP server that died is started anew without a verb', async () => {
  await using world = await NetworkWorld.open()
  const plan = newNetwork()()
  await world.ensure(plan)
  await world.restart({ careEveryMs: 50 })
  const pid = await world.dnsmasqPid(plan)
  process.kill(pid, 'SIGKILL')
  await until('another one runs', async () => {
    const next = await world.dnsmasqPid(plan)
    return next > 0 && next !== pid && (await isRunning(next))
  })
})

test('a port whose plan cannot be read keeps its tap, is found by the next asking, and can be removed', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newNetwork()
  const [one, two] = [newPort(), newPort()]
  await world.ensure(one, two)
  const damage = ({ portId }: PortPlan) => writeFile(world.file(one, `ports/${portId}.json`), '')

  await damage(one)
  await world.restart()
  assert.ok(await world.network.findTap(one.portId))
  await world.network.ensurePort(one)
  assert.equal(JSON.parse(await readFile(world.file(one, `ports/${one.portId}.json`), 'utf8')).portId, one.portId)

  const countTaps = async () =>
    (await run('ip', ['-n', world.namespaceOf(one), '-o', 'link', 'show'])).stdout.match(/: tap/g)?.length
  await damage(one)
  await world.restart()
  assert.equal(await countTaps(), 2)
  await world.network.removePort(one.portId)
  assert.equal(await countTaps(), 1)

  await world.network.ensurePort(one)
  await damage(one)
  await damage(two)
  await world.restart()
  await world.network.removePort(one.portId)
  assert.deepEqual(await readdir(world.file(two, 'ports')), [`${two.portId}.json`])
  await world.network.removePort(two.portId)
  assert.deepEqual(await readdir(join(world.dataDir, 'networks')), [])
  assert.ok(!(await listNamespaces()).includes(world.namespaceOf(two)))
})

const GONE = 'namespace gone'

test('what somebody changed by hand is found, said and mended without a verb, and nothing else is touched', async () => {
  await using world = await NetworkWorld.open()
  const newPort = newNetwork()
  const group = groupOf(OUT, allow('tcp', 22))
  const [plan, other] = [newPort({ securityGroups: [group] }), newPort()]
  await world.ensure(plan, other)
  const namespace = world.namespaceOf(plan)
  await using guest = await StandIn.plug(world.network, plan)
  await using peer = await StandIn.plug(world.network, other)
  // From here on: a stand-in takes a tap's place, and the care must not come in between.
  await world.restart({ careEveryMs: 50 })
  const tap = (await world.network.findTap(plan.portId))?.tapName ?? ''
  await guest.agent.ask({ ask: 'listen', port: 22 })
  await guest.agent.ask({ ask: 'listen', port: 80 })

  const ip = (...command: string[]) => run('ip', ['-n', namespace, ...command])
  const inside = (...command: string[]) => run('ip', ['netns', 'exec', namespace, ...command])
  const nft = (...command: string[]) => inside('nft', ...command)
  // Ours to leave alone.
  await ip('link', 'add', 'other0', 'type', 'veth', 'peer', 'name', 'other1')
  await nft('add', 'table', 'inet', 'other')
  const damages: [string, () => Promise<unknown>][] = [
    ['link set br0 mtu 1450 up', () => ip('link', 'set', 'br0', 'mtu', '1300')],
    ['addr add 169.254.169.254/32 dev br0', () => ip('addr', 'del', '169.254.169.254/32', 'dev', 'br0')],
    [`link set ${tap} mtu 1450 master br0 up`, () => ip('link', 'set', tap, 'nomaster')],
    [`link set ${tap} mtu 1450 master br0 up`, () => ip('link', 'set', tap, 'down')],
    ['link add br0', () => ip('link', 'delete', 'br0')],
    ['chain inet forward', () => nft('insert', 'rule', 'inet', 'novella', 'forward', 'accept')],
    ['chain inet egress_2', () => nft('flush', 'chain', 'inet', 'novella', 'egress_2')],
    ['map inet ingress', () => nft('delete', 'element', 'inet', 'novella', 'ingress', '{ 0x1 }')],
    ['chain inet stranger', () => nft('add', 'chain', 'inet', 'novella', 'stranger')],
    ['table bridge novella', () => nft('delete', 'table', 'bridge', 'novella')],
    ['limit of connections', () => nft('delete', 'table', 'inet', 'novella_flows')],
    ['net/ipv4/ip_forward', () => inside('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward')],
    [GONE, () => run('ip', ['netns', 'delete', namespace])],
  ]
  const said = () => world.warned.flatMap(({ found }) => (found ? [found] : []))
  const routes = async () => (await inside('cat', '/proc/sys/net/ipv4/ip_forward')).stdout !== '0\n'
  for (const [index, [what, damage]] of damages.entries()) {
    await damage()
    await until(`it is said of ${what}`, () => said().length > index)
    assert.ok(
      said()[index]?.some((found) => found.startsWith(what)),
      `${what}: ${said()[index]}`,
    )
    await until(`all is well after ${what}`, async () => (await peer.agent.connect(guest.address, 22)) === 'open')
    await until(`port 80 is closed after ${what}`, async () => {
      return (await peer.agent.tryConnect(guest.address, 80)) === 'silent'
    })
    assert.equal(((await guest.agent.ask(metadata)) as { status: number }).status, 200)
    await until('nothing is routed', async () => !(await routes()))
    // What is damaged while another damage is mended goes with that, unsaid.
    await until('the mending is over', () => world.mended > index)
  }
  assert.equal(said().length, damages.length, JSON.stringify(said().slice(damages.length)))
  assert.match((await ip('link', 'show', 'other0')).stdout, /other0/)
  assert.match((await nft('list', 'tables')).stdout, /table inet other$/m)
})

test('a namespace without its name is found again by the next process too, and one that is truly gone is made anew', async () => {
  await using world = await NetworkWorld.open()
  const plan = newNetwork()()
  await world.ensure(plan)
  const namespace = world.namespaceOf(plan)
  const inode = async () => (await stat(join('/run/netns', namespace))).ino
  const before = await inode()
  await world.network[Symbol.asyncDispose]()
  await run('ip', ['netns', 'delete', namespace])
  await world.restart({ careEveryMs: 50 })
  await until('the namespace is back', async () => (await listNamespaces()).includes(namespace))
  await until('its DHCP server is known', () => world.network.findTap(plan.portId))
  assert.equal(await inode(), before) // the DHCP server lives in it

  // As after a restart of the machine: nothing is left that lives in it.
  const pid = await world.dnsmasqPid(plan)
  await world.network[Symbol.asyncDispose]()
  await run('ip', ['netns', 'delete', namespace])
  process.kill(pid, 'SIGKILL')
  await until('dnsmasq is gone', async () => !(await isRunning(pid)))
  await world.restart({ careEveryMs: 50 })
  await until('the network is there again', () => world.network.findTap(plan.portId))
  await using guest = await StandIn.plug(world.network, plan)
  assert.equal(((await guest.agent.ask(metadata)) as { status: number }).status, 200)
})
