/** Hosts follow what is written to the network's rows: after each commit, after failures, and at every start. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import type { Row } from '../../src/db/schema.ts'
import { HostError } from '../../src/host/host-driver.ts'
import { createServer, SHARED } from '../support/create-servers.ts'
import { addNetwork } from '../support/network-rows.ts'
import { addFloatingIp, addRouter } from '../support/router-rows.ts'
import { DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

const INSIDE = { networkId: SHARED, ipAddress: '172.31.251.200' }

for (const database of DATABASES) {
  test(`${database}: a changed rule is one question to the host, whatever is in the group`, async () => {
    await using cloud = await testCloud({ database, servers: { one: {}, two: {}, three: {} } })
    const groupId = await defaultGroup(cloud)
    const asked = recordCalls(cloud)
    await addRule(cloud, groupId, { portRangeMin: 8080, portRangeMax: 8080 })
    await cloud.settled()
    assert.deepEqual(asked, [`ensureSecurityGroup ${groupId}`])
    const rules = cloud.machine.securityGroups.get(groupId)?.rules ?? []
    assert.ok(rules.some((rule) => rule.portRangeMin === 8080))
  })

  test(`${database}: members of a remote group come and go with their servers`, async () => {
    await using cloud = await testCloud({ database })
    const groupId = await defaultGroup(cloud)
    await addRule(cloud, groupId, { remoteGroupId: groupId })
    const first = await createServer(cloud)
    assert.deepEqual(members(cloud, groupId), [await addressOf(cloud, first.id)])
    const second = await createServer(cloud)
    const both = [await addressOf(cloud, first.id), await addressOf(cloud, second.id)].sort()
    assert.deepEqual(members(cloud, groupId), both)
    await cloud.member.delete(`/servers/${first.id}`)
    await cloud.settled()
    assert.deepEqual(members(cloud, groupId), [await addressOf(cloud, second.id)])
  })

  test(`${database}: a port that leaves a group leaves the rules that name it`, async () => {
    await using cloud = await testCloud({ database })
    const groupId = await defaultGroup(cloud)
    await addRule(cloud, groupId, { remoteGroupId: groupId })
    const { id: stays } = await createServer(cloud)
    const { id: leaves } = await createServer(cloud)
    const port = await portOf(cloud, leaves)
    await cloud.cloud.db.transaction(async (tx) => {
      await cloud.cloud.networkChanges.noteLeaving(tx, { kind: 'port', id: port.id })
      await tx.deleteFrom('portSecurityGroups').where('portId', '=', port.id).execute()
    })
    await cloud.settled()
    assert.deepEqual(members(cloud, groupId), [await addressOf(cloud, stays)])
    assert.deepEqual(cloud.machine.ports.get(port.id)?.securityGroups, [])
  })

  test(`${database}: a router with all it has reaches the host, and its rows say so`, async () => {
    await using cloud = await testCloud({ database })
    const server = await createServer(cloud)
    const { projectId } = cloud.member
    const outside = await addNetwork(cloud, { projectId, cidr: '203.0.113.0/24', name: 'outside' })
    const gateway = { networkId: outside, ipAddress: '203.0.113.2' }
    const routerId = await addRouter(cloud, { projectId, inside: INSIDE, gateway })
    const fixedIpAddress = await addressOf(cloud, server.id)
    const floatingIpId = await addFloatingIp(cloud, {
      projectId,
      outside: { networkId: outside, ipAddress: '203.0.113.3' },
      portId: (await portOf(cloud, server.id)).id,
      fixedIpAddress,
      routerId,
    })
    await cloud.settled()
    const plan = cloud.machine.routers.get(routerId)
    assert.deepEqual(
      plan?.interfaces.map((end) => [end.network.networkId, end.addresses.map(({ ipAddress }) => ipAddress)]),
      [[SHARED, [INSIDE.ipAddress]]],
    )
    assert.deepEqual([plan?.gateway?.network.networkId, plan?.gateway?.hasSnat], [outside, true])
    assert.deepEqual(plan?.floatingIps, [
      { floatingIpId, ipAddress: '203.0.113.3', fixedIpAddress, rateLimitKbps: 1024 },
    ])
    assert.equal((await router(cloud, routerId)).status, 'ACTIVE')
    assert.equal((await floatingIp(cloud, floatingIpId)).status, 'ACTIVE')
    const ends = cloud.cloud.db.read.selectFrom('ports').select('status').where('deviceId', '=', routerId)
    assert.deepEqual(
      (await ends.execute()).map((end) => end.status),
      ['ACTIVE', 'ACTIVE'],
    )

    await cloud.member.delete(`/servers/${server.id}`)
    await cloud.settled()
    const { portId, fixedIpAddress: fixed, routerId: via, status } = await floatingIp(cloud, floatingIpId)
    assert.deepEqual({ portId, fixed, via, status }, { portId: null, fixed: null, via: null, status: 'DOWN' })
    assert.deepEqual(cloud.machine.routers.get(routerId)?.floatingIps, [])
  })

  test(`${database}: in a fresh cloud the way out is made on the host, and its ports say so`, async () => {
    await using cloud = await testCloud({ database })
    const [plan, another] = cloud.machine.routers.values()
    assert.ok(plan && !another)
    assert.deepEqual(
      plan.interfaces.map((end) => [end.network.networkId, end.addresses.map(({ ipAddress }) => ipAddress)]),
      [[SHARED, ['172.31.248.1']]],
    )
    assert.equal(plan.gateway?.network.isExternal, true)
    const ports = await cloud.cloud.db.read.selectFrom('ports').select(['deviceOwner', 'status']).execute()
    assert.deepEqual(ports.map(({ deviceOwner, status }) => `${deviceOwner} ${status}`).sort(), [
      'network:dhcp ACTIVE',
      'network:router_gateway ACTIVE',
      'network:router_interface ACTIVE',
    ])
  })

  test(`${database}: a changed network reaches the host, and the routers on it`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} } })
    await cloud.cloud.db.transaction(async (tx) => {
      await tx.updateTable('networks').set({ isUp: 0, mtu: 1280 }).where('id', '=', SHARED).execute()
      cloud.cloud.networkChanges.note(tx, { kind: 'network', id: SHARED })
    })
    await cloud.settled()
    const [plan] = cloud.machine.routers.values()
    const seen = [cloud.machine.networks.get(SHARED), plan?.interfaces[0]?.network]
    for (const network of seen) assert.deepEqual([network?.isUp, network?.mtu], [false, 1280])
  })

  test(`${database}: what a transaction notes and takes back reaches no host`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} } })
    const asked = recordCalls(cloud)
    const undone = cloud.cloud.db.transaction(async (tx) => {
      cloud.cloud.networkChanges.note(tx, { kind: 'network', id: SHARED })
      throw new Error('never mind')
    })
    await assert.rejects(undone, /never mind/)
    await cloud.settled()
    assert.deepEqual(asked, [])
  })

  test(`${database}: what a host cannot do yet is tried again, shown meanwhile, and logged`, async () => {
    await using cloud = await testCloud({ database })
    let isBroken = true
    cloud.host.intercept = async (verb, _id, run) => {
      if (verb === 'ensureRouter' && isBroken) throw new HostError('unreachable', 'The host is deaf.')
      return run()
    }
    const routerId = await addRouter(cloud, { projectId: cloud.member.projectId, inside: INSIDE })
    await cloud.advanceUntil(async () => (await router(cloud, routerId)).status === 'ERROR')
    assert.ok(cloud.logged.some((line) => line.includes('The host is deaf') && line.includes(routerId)))
    isBroken = false
    await cloud.advanceUntil(async () => (await router(cloud, routerId)).status === 'ACTIVE')
    assert.ok(cloud.machine.routers.has(routerId))
  })

  test(`${database}: at the start hosts get what rows name, and lose what no row names`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {}, off: {} } })
    await cloud.member.post(`/servers/${cloud.id.off}/action`, { 'os-stop': null })
    await cloud.settled()
    const routerId = await addRouter(cloud, { projectId: cloud.member.projectId, inside: INSIDE })
    await cloud.settled()
    const web = await portOf(cloud, cloud.id.web ?? '')
    const off = await portOf(cloud, cloud.id.off ?? '')
    const plan = cloud.machine.ports.get(web.id)
    const routerPlan = cloud.machine.routers.get(routerId)
    assert.ok(plan && routerPlan)
    const [strangePort, strangeRouter] = [randomUUID(), randomUUID()]
    await cloud.stop()
    for (const id of [web.id, off.id]) cloud.machine.ports.delete(id)
    cloud.machine.routers.delete(routerId)
    cloud.machine.ports.set(strangePort, { ...plan, portId: strangePort })
    cloud.machine.routers.set(strangeRouter, { ...routerPlan, routerId: strangeRouter })
    await cloud.start()
    await cloud.settled()
    assert.ok(cloud.machine.ports.has(web.id) && cloud.machine.routers.has(routerId))
    assert.ok(!cloud.machine.ports.has(off.id), 'a stopped server gets its cards when it starts')
    assert.ok(!cloud.machine.ports.has(strangePort) && !cloud.machine.routers.has(strangeRouter))
    assert.ok(cloud.logged.some((line) => line.includes(strangePort) && line.includes(strangeRouter)))
  })

  test(`${database}: a change that came while the process was dead reaches the host at the next start`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} } })
    const port = await portOf(cloud, cloud.id.web ?? '')
    const hanging = Promise.withResolvers<void>()
    cloud.host.intercept = async (verb) => {
      if (verb === 'ensurePort') hanging.resolve()
      return new Promise(() => {})
    }
    await changePort(cloud, port.id, { isUp: 0 })
    await hanging.promise
    await cloud.killAndStart()
    await cloud.settled()
    assert.equal(cloud.machine.ports.get(port.id)?.isUp, false)
  })

  test(`${database}: many changes of one thing while the host is busy with it are one more question`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} } })
    const port = await portOf(cloud, cloud.id.web ?? '')
    const [begun, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const asked: string[] = []
    cloud.host.intercept = async (verb, id, run) => {
      asked.push(`${verb} ${id}`)
      begun.resolve()
      await gate.promise
      return run()
    }
    await changePort(cloud, port.id, { isUp: 0 })
    await begun.promise
    for (const isUp of [1, 0, 1, 0, 1] as const) await changePort(cloud, port.id, { isUp })
    gate.resolve()
    await cloud.settled()
    assert.deepEqual(asked, [`ensurePort ${port.id}`, `ensurePort ${port.id}`])
    assert.equal(cloud.machine.ports.get(port.id)?.isUp, true)
  })

  test(`${database}: a card that is plugged in while its server is deleted does not stay`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} } })
    const port = await portOf(cloud, cloud.id.web ?? '')
    const [begun, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    cloud.host.intercept = async (verb, _id, run) => {
      if (verb === 'ensurePort') {
        begun.resolve()
        await gate.promise
      }
      return run()
    }
    await changePort(cloud, port.id, { isUp: 0 })
    await begun.promise
    await cloud.member.delete(`/servers/${cloud.id.web}`)
    cloud.cloud.runner.nudge()
    await cloud.cloud.runner.settled()
    assert.equal((await cloud.server('web')).vmState, 'deleted')
    gate.resolve()
    await cloud.settled()
    assert.equal(cloud.machine.ports.has(port.id), false)
  })

  test(`${database}: nor does one that comes between its removal and the end of the delete`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} } })
    const port = await portOf(cloud, cloud.id.web ?? '')
    const [begun, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const [unplugged, end] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    cloud.host.intercept = async (verb, _id, run) => {
      if (verb === 'ensurePort') {
        begun.resolve()
        await gate.promise
      }
      if (verb === 'removeDisks') {
        unplugged.resolve()
        await end.promise
      }
      return run()
    }
    await changePort(cloud, port.id, { isUp: 0 })
    await begun.promise
    await cloud.member.delete(`/servers/${cloud.id.web}`)
    cloud.cloud.runner.nudge()
    await unplugged.promise
    gate.resolve()
    await cloud.cloud.networkChanges.settled()
    end.resolve()
    await cloud.settled()
    assert.equal((await cloud.server('web')).vmState, 'deleted')
    assert.equal(cloud.machine.ports.has(port.id), false)
  })
}

/** What the host is asked from now on, as `verb id`. */
function recordCalls(cloud: TestCloud): string[] {
  const asked: string[] = []
  cloud.host.intercept = (verb, id, run) => {
    asked.push(`${verb} ${id}`)
    return run()
  }
  return asked
}

async function defaultGroup(cloud: TestCloud): Promise<string> {
  await createServer(cloud, { name: 'first-of-its-project' })
  const { id } = await cloud.cloud.db.read
    .selectFrom('securityGroups')
    .select('id')
    .where('projectId', '=', cloud.member.projectId)
    .where('name', '=', 'default')
    .executeTakeFirstOrThrow()
  const { servers } = (await cloud.member.get('/servers?name=first-of-its-project')).json()
  for (const server of servers) await cloud.member.delete(`/servers/${server.id}`)
  await cloud.settled()
  return id
}

async function addRule(
  cloud: TestCloud,
  securityGroupId: string,
  change: Partial<Row<'securityGroupRules'>>,
): Promise<void> {
  const now = cloud.clock.now()
  const rule = { protocol: 'tcp', portRangeMin: null, portRangeMax: null, remoteIpPrefix: null, remoteGroupId: null }
  await cloud.cloud.db.transaction(async (tx) => {
    await tx
      .insertInto('securityGroupRules')
      .values({
        id: randomUUID(),
        securityGroupId,
        direction: 'ingress',
        ethertype: 'IPv4',
        ...rule,
        ...change,
        createdAt: now,
        updatedAt: now,
      })
      .execute()
    cloud.cloud.networkChanges.note(tx, { kind: 'securityGroup', id: securityGroupId })
  })
}

async function changePort(cloud: TestCloud, id: string, change: Partial<Row<'ports'>>): Promise<void> {
  await cloud.cloud.db.transaction(async (tx) => {
    await tx.updateTable('ports').set(change).where('id', '=', id).execute()
    cloud.cloud.networkChanges.note(tx, { kind: 'port', id })
  })
}

const portOf = (cloud: TestCloud, serverId: string): Promise<Row<'ports'>> =>
  cloud.cloud.db.read.selectFrom('ports').selectAll().where('deviceId', '=', serverId).executeTakeFirstOrThrow()

async function addressOf(cloud: TestCloud, serverId: string): Promise<string> {
  const { id } = await portOf(cloud, serverId)
  const { ipAddress } = await cloud.cloud.db.read
    .selectFrom('portAddresses')
    .select('ipAddress')
    .where('portId', '=', id)
    .executeTakeFirstOrThrow()
  return ipAddress
}

const members = (cloud: TestCloud, groupId: string): string[] | undefined =>
  cloud.machine.securityGroups.get(groupId)?.members.find((one) => one.groupId === groupId)?.addresses

const router = (cloud: TestCloud, id: string): Promise<Row<'routers'>> =>
  cloud.cloud.db.read.selectFrom('routers').selectAll().where('id', '=', id).executeTakeFirstOrThrow()

const floatingIp = (cloud: TestCloud, id: string): Promise<Row<'floatingIps'>> =>
  cloud.cloud.db.read.selectFrom('floatingIps').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
