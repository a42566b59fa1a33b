/** What S26 to S28 refuse, and that nothing is left of it. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, test } from 'node:test'
import type { Row, TaskState, VmState } from '../../src/db/schema.ts'
import { MOST_CARDS } from '../../src/host/host-driver.ts'
import { assertFault } from '../support/assert-fault.ts'
import { countRows } from '../support/count-rows.ts'
import { attach, attached, detach, list, ownNetwork, path, readSubnet, setServer } from '../support/interfaces.ts'
import { addNetwork, addPort } from '../support/network-rows.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES } from '../support/test-cloud.ts'

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, servers: { web: {}, off: {}, many: {} } })

    test('what is asked wrongly is refused, and leaves nothing', async () => {
      const cloud = shared()
      const networkId = await ownNetwork(cloud, '10.12.0.0/29', 'small')
      const elsewhere = await ownNetwork(cloud, '10.13.0.0/24', 'elsewhere')
      const { id: foreignSubnet } = await readSubnet(cloud, elsewhere)
      const stranger = await cloud.stranger()
      const hidden = await addNetwork(cloud, { projectId: stranger.projectId, cidr: '10.14.0.0/24' })
      const hiddenPort = await addPort(cloud, { projectId: stranger.projectId, networkId: hidden })
      const port = await addPort(cloud, { projectId: cloud.member.projectId, networkId: elsewhere })
      const { id: external } = await cloud.cloud.db.read
        .selectFrom('networks')
        .select('id')
        .where('isExternal', '=', 1)
        .executeTakeFirstOrThrow()
      const [first = assert.fail()] = await list(cloud)
      const taken = first.fixed_ips[0]?.ip_address
      const before = await countRows(cloud)
      const refused: [status: number, message: RegExp, wish: unknown][] = [
        [400, /Only one of/, { port_id: port.id, net_id: networkId }],
        [400, /does not go with it/, { port_id: port.id, fixed_ips: [{ ip_address: '10.13.0.9' }] }],
        [400, /needs the 'net_id'/, { fixed_ips: [{ ip_address: '10.12.0.3' }] }],
        [400, /'port_id' is not a UUID/, { port_id: 'eth0' }],
        [400, /'net_id' is not a UUID/, { net_id: '' }],
        [400, /'subnet_id' is not a UUID/, { net_id: networkId, fixed_ips: [{ subnet_id: 'one' }] }],
        [400, /is not on network/, { net_id: networkId, fixed_ips: [{ subnet_id: foreignSubnet }] }],
        [400, /is in no subnet|is not in subnet/, { net_id: networkId, fixed_ips: [{ ip_address: '10.99.0.1' }] }],
        [400, /./, { net_id: networkId, fixed_ips: [{ ip_address: "10.12.0.3'; drop" }] }],
        [409, /in use|allocated/, { net_id: first.net_id, fixed_ips: [{ ip_address: taken }] }],
        [404, /Network .* could not be found/, { net_id: randomUUID() }],
        [404, /Network .* could not be found/, { net_id: hidden }],
        [404, /Network .* could not be found/, { net_id: external }],
        [404, /Port .* could not be found/, { port_id: randomUUID() }],
        [404, /Port .* could not be found/, { port_id: hiddenPort.id }],
        [400, /fixed_ips/, { net_id: networkId, fixed_ips: [{}, {}] }],
        [400, /fixed_ips/, { net_id: networkId, fixed_ips: '10.12.0.3' }],
        [400, /port_id/, { port_id: 7 }],
        [400, /interfaceAttachment/, 'x'],
      ]
      for (const [status, message, wish] of refused) {
        assertFault(await attach(cloud, wish), status, message, JSON.stringify(wish))
      }
      assertFault(await cloud.member.post(path(cloud), {}), 400, /interfaceAttachment/)
      for (const portId of [randomUUID(), port.id, 'x']) {
        assertFault(await cloud.member.get(`${path(cloud)}/${portId}`), 404, /has no port/)
        assertFault(await cloud.member.delete(`${path(cloud)}/${portId}`), 404, /has no port/)
      }
      for (const client of [stranger, await cloud.stranger('reader')]) {
        const answers = [
          await client.get(path(cloud)),
          await client.get(`${path(cloud)}/${first.port_id}`),
          await client.get(`/servers/${cloud.id.web}/ips`),
        ]
        for (const answer of answers) assertFault(answer, 404, /could not be found/)
      }
      assertFault(await attach(cloud, { net_id: networkId }, 'web', stranger), 404, /Instance/)
      assertFault(await stranger.delete(`${path(cloud)}/${first.port_id}`), 404, /Instance/)
      assert.deepEqual(
        { ...(await countRows(cloud)), projects: 0, users: 0, tokens: 0, roleAssignments: 0 },
        {
          ...before,
          projects: 0,
          users: 0,
          tokens: 0,
          roleAssignments: 0,
        },
      )
    })

    test('a network without free addresses, and a quota without free ports, are said to be so', async () => {
      const cloud = shared()
      const networkId = await ownNetwork(cloud, '10.15.0.0/30', 'tiny')
      const made = await attached(cloud, { net_id: networkId }, 'off')
      assertFault(await attach(cloud, { net_id: networkId }, 'off'), 400, /address/)
      await detach(cloud, made.port_id, 'off')
      const { projectId } = cloud.member
      const quota = { projectId, resource: 'port' }
      await cloud.cloud.db.transaction((tx) =>
        tx
          .insertInto('networkQuotas')
          .values({ ...quota, most: 0 })
          .execute(),
      )
      assertFault(await attach(cloud, { net_id: networkId }, 'off'), 403, /[Qq]uota exceeded.*port/)
      await cloud.cloud.db.transaction((tx) =>
        tx.deleteFrom('networkQuotas').where('projectId', '=', projectId).execute(),
      )
      assert.equal((await list(cloud, 'off')).length, 1)
    })

    test('states that do not allow it refuse both, naming what is wrong', async () => {
      const cloud = shared()
      const networkId = await ownNetwork(cloud, '10.18.0.0/24', 'states')
      const [card = assert.fail()] = await list(cloud)
      const ask = async () => [
        await attach(cloud, { net_id: networkId }),
        await cloud.member.delete(`${path(cloud)}/${card.port_id}`),
      ]
      const before = await countRows(cloud)
      const { launchedAt } = await cloud.server('web')
      const wrong: [change: Partial<Row<'servers'>>, message: RegExp][] = [
        ...(['building', 'suspended', 'resized', 'error'] satisfies VmState[]).map(
          (vmState): [Partial<Row<'servers'>>, RegExp] => [{ vmState }, new RegExp(`vm_state ${vmState}`)],
        ),
        ...(['powering-off', 'rebooting', 'deleting'] satisfies TaskState[]).map(
          (taskState): [Partial<Row<'servers'>>, RegExp] => [{ taskState }, new RegExp(`task_state ${taskState}`)],
        ),
        [{ launchedAt: null }, /launched_at None/],
        [{ isLocked: 1 }, /locked/],
      ]
      for (const [change, message] of wrong) {
        await setServer(cloud, 'web', change)
        for (const answer of await ask()) assertFault(answer, 409, message, JSON.stringify(change))
        await setServer(cloud, 'web', { vmState: 'active', taskState: null, launchedAt, isLocked: 0 })
      }
      const [attaching, detaching] = await ask().then((answers) => answers.map(({ statusCode }) => statusCode))
      assert.deepEqual([attaching, detaching], [200, 202])
      await cloud.settled()
      const [left = assert.fail(), ...others] = await list(cloud)
      assert.deepEqual([left.net_id, others], [networkId, []])
      await detach(cloud, left.port_id)
      await attached(cloud, { net_id: card.net_id })
      const { actions: _, actionEvents: __, ...rows } = await countRows(cloud)
      const { actions: ___, actionEvents: ____, ...rowsBefore } = before
      assert.deepEqual(rows, rowsBefore)
    })

    test('a server is not made with more cards than one takes', async () => {
      const cloud = shared()
      const uuid = await ownNetwork(cloud, '10.22.0.0/24', 'wide')
      const before = await countRows(cloud)
      const networks = Array.from({ length: MOST_CARDS + 1 }, () => ({ uuid }))
      assertFault(await cloud.member.post('/servers', await cloud.wish({ networks })), 400, /networks/)
      assert.deepEqual(await countRows(cloud), before)
      const answer = await cloud.member.post('/servers', await cloud.wish({ networks: networks.slice(1) }))
      assert.equal(answer.statusCode, 202, answer.body)
      await cloud.settled()
      assert.equal(cloud.machine.servers.get(answer.json().server.id)?.cards.size, MOST_CARDS)
    })

    test('a reader sees cards and changes none', async () => {
      const cloud = shared()
      const reader = await cloud.stranger('reader')
      await cloud.cloud.db.transaction((tx) =>
        tx
          .updateTable('servers')
          .set({ projectId: reader.projectId })
          .where('id', '=', cloud.id.many ?? '')
          .execute(),
      )
      const cards = (await reader.get(path(cloud, 'many'))).json().interfaceAttachments
      assert.equal(cards.length, 1)
      assertFault(await attach(cloud, {}, 'many', reader), 403, /servers:action/)
      assertFault(await reader.delete(`${path(cloud, 'many')}/${cards[0].port_id}`), 403, /servers:action/)
    })
  })
}
