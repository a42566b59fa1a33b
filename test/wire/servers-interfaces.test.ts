/** S26 to S28: network cards come and go; their lists, and addresses by network. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { MOST_CARDS } from '../../src/host/host-driver.ts'
import { assertFault } from '../support/assert-fault.ts'
import { countRows } from '../support/count-rows.ts'
import {
  attach,
  attached,
  cardsOf,
  detach,
  findPort,
  list,
  ownNetwork,
  path,
  readSubnet,
} from '../support/interfaces.ts'
import { addPort } from '../support/network-rows.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES, testCloud } from '../support/test-cloud.ts'

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, servers: { web: {}, off: {}, many: {} } })

    test('S28: a new card on a network is answered at once, plugged in, shown, and gone after S27', async () => {
      const cloud = shared()
      const networkId = await ownNetwork(cloud)
      const subnet = await readSubnet(cloud, networkId)
      const [first = assert.fail()] = await list(cloud)
      const before = await countRows(cloud)
      const made = await attached(cloud, { net_id: networkId, fixed_ips: [{ subnet_id: subnet.id }] })
      assert.deepEqual(Object.keys(made).sort(), ['fixed_ips', 'mac_addr', 'net_id', 'port_id', 'port_state'])
      assert.equal(made.net_id, networkId)
      assert.equal(made.port_state, 'DOWN')
      assert.match(made.mac_addr, /^fa:16:3e(:[0-9a-f]{2}){3}$/)
      assert.match(made.fixed_ips[0]?.ip_address ?? '', /^10\.9\.0\.\d+$/)
      assert.equal(made.fixed_ips[0]?.subnet_id, subnet.id)
      const shown = { ...made, port_state: 'ACTIVE' }
      assert.deepEqual(await list(cloud), [first, shown])
      const one = await cloud.member.get(`${path(cloud)}/${made.port_id}`)
      assert.deepEqual([one.statusCode, one.json()], [200, { interfaceAttachment: shown }])
      assert.deepEqual(cardsOf(cloud), [first.port_id, made.port_id].sort())
      assert.equal(cloud.machine.ports.get(made.port_id)?.addresses[0]?.ipAddress, made.fixed_ips[0]?.ip_address)
      const { deviceOwner, isOwnedByServer } = (await findPort(cloud, made.port_id)) ?? assert.fail()
      assert.deepEqual([deviceOwner, isOwnedByServer], ['compute:nova', 1])
      const { server } = (await cloud.member.get(`/servers/${cloud.id.web}`)).json()
      assert.equal(server.addresses.private[0]['UOS-EXT-IPS:id'], made.port_id)
      assert.equal(server['OS-EXT-STS:task_state'], null)
      const groups = server.security_groups as { port_id: string; name: string }[]
      assert.deepEqual(
        groups.filter(({ port_id }) => port_id === made.port_id).map(({ name }) => name),
        ['default'],
      )

      await detach(cloud, made.port_id)
      assert.deepEqual(await list(cloud), [first])
      assert.deepEqual(cardsOf(cloud), [first.port_id])
      assert.equal(cloud.machine.ports.has(made.port_id), false)
      assert.equal(await findPort(cloud, made.port_id), undefined)
      const { actions: _, actionEvents: __, ...rows } = await countRows(cloud)
      const { actions: ___, actionEvents: ____, ...rowsBefore } = before
      assert.deepEqual(rows, rowsBefore)
      assert.equal((await cloud.member.delete(`${path(cloud)}/${made.port_id}`)).statusCode, 404)
    })

    test('S26: an existing port is bound, and free again after S27, with its address', async () => {
      const cloud = shared()
      const networkId = await ownNetwork(cloud, '10.10.0.0/24', 'ports')
      const port = await addPort(cloud, { projectId: cloud.member.projectId, networkId })
      for (let round = 0; round < 2; round++) {
        const made = await attached(cloud, { port_id: port.id, net_id: null })
        assert.equal(made.port_id, port.id)
        assert.equal(made.fixed_ips[0]?.ip_address, port.ipAddress)
        const bound = await findPort(cloud, port.id)
        assert.deepEqual([bound?.deviceId, bound?.status], [cloud.id.web, 'ACTIVE'])
        assertFault(await attach(cloud, { port_id: port.id }), 409, /Port .* is still in use/)
        assertFault(await attach(cloud, { port_id: port.id }, 'off'), 409, /Port .* is still in use/)
        await detach(cloud, port.id)
        const free = await findPort(cloud, port.id)
        assert.deepEqual([free?.deviceId, free?.deviceOwner, free?.status], ['', '', 'DOWN'])
        assert.equal(cloud.machine.ports.has(port.id), false)
      }
      const { ipAddress } = await cloud.cloud.db.read
        .selectFrom('portAddresses')
        .select('ipAddress')
        .where('portId', '=', port.id)
        .executeTakeFirstOrThrow()
      assert.equal(ipAddress, port.ipAddress)
    })

    test("the documents' own bodies are taken", async () => {
      const cloud = shared()
      const networkId = await ownNetwork(cloud, '10.21.0.0/24', 'documented')
      const { id: subnetId } = await readSubnet(cloud, networkId)
      const port = await addPort(cloud, { projectId: cloud.member.projectId, networkId })
      for (const operation of ['S26', 'S28']) {
        const text = readFileSync(join(import.meta.dirname, `../fixtures/uos/${operation}.request.json`), 'utf8')
        const filled = text
          .replace('{port_id}', port.id)
          .replace('{subnet_id}', subnetId)
          .replace('{net_id}', networkId)
        const answer = await cloud.member.post(path(cloud), JSON.parse(filled))
        assert.equal(answer.statusCode, 200, answer.body)
        await cloud.settled()
        const { port_id: portId } = answer.json().interfaceAttachment
        assert.equal(portId === port.id, operation === 'S26')
        await detach(cloud, portId)
      }
    })

    test("the subnet is understood beside the network too, and by the documents' misspelling; an address is given as asked", async () => {
      const cloud = shared()
      const networkId = await ownNetwork(cloud, '10.11.0.0/24', 'spelled')
      const { id: subnetId } = await readSubnet(cloud, networkId)
      const spellings: object[] = [
        { subnet_id: subnetId },
        { sbunet_id: subnetId },
        { fixed_ips: [{ sbunet_id: subnetId }] },
        { fixed_ips: [{ ip_address: '10.11.0.77' }] },
        { fixed_ips: [{ ip_address: '10.11.0.77', subnet_id: subnetId }], tag: 'ignored' },
        { fixed_ips: [] },
        { fixed_ips: null },
      ]
      for (const spelling of spellings) {
        const made = await attached(cloud, { net_id: networkId, ...spelling })
        const [address = assert.fail()] = made.fixed_ips
        assert.equal(address.subnet_id, subnetId)
        if (JSON.stringify(spelling).includes('.77')) assert.equal(address.ip_address, '10.11.0.77')
        await detach(cloud, made.port_id)
      }
    })

    test('without a network the only one is taken, and with several the caller must name one', async () => {
      await using cloud = await testCloud({ database, servers: { web: {} } })
      for (const wish of [{}, null]) {
        const made = await attached(cloud, wish)
        const [first = assert.fail()] = await list(cloud)
        assert.equal(made.net_id, first.net_id)
        await detach(cloud, made.port_id)
      }
      await ownNetwork(cloud)
      assertFault(await attach(cloud, {}), 400, /Multiple possible networks/)
    })

    test('a server takes so many cards and no more', async () => {
      const cloud = shared()
      const networkId = await ownNetwork(cloud, '10.16.0.0/24', 'many')
      for (let count = 1; count < MOST_CARDS; count++) await attached(cloud, { net_id: networkId }, 'many')
      assert.equal(cardsOf(cloud, 'many').length, MOST_CARDS)
      assertFault(await attach(cloud, { net_id: networkId }, 'many'), 409, /takes no more/)
      const cards = await list(cloud, 'many')
      // The one in the middle goes; what comes next is the last.
      await detach(cloud, cards[3]?.port_id ?? '', 'many')
      const last = await attached(cloud, { net_id: networkId }, 'many')
      assert.equal((await list(cloud, 'many')).at(-1)?.port_id, last.port_id)
    })

    test('cards of a server that is off are rows until it starts, and gone when it does', async () => {
      const cloud = shared()
      const networkId = await ownNetwork(cloud, '10.17.0.0/24', 'later')
      await cloud.member.post(`/servers/${cloud.id.off}/action`, { 'os-stop': null })
      await cloud.settled()
      const made = await attached(cloud, { net_id: networkId }, 'off')
      assert.deepEqual(cardsOf(cloud, 'off'), [])
      assert.deepEqual(
        (await list(cloud, 'off')).map(({ port_state }) => port_state),
        ['DOWN', 'DOWN'],
      )
      await cloud.member.post(`/servers/${cloud.id.off}/action`, { 'os-start': null })
      await cloud.settled()
      assert.ok(cardsOf(cloud, 'off').includes(made.port_id))
      assert.deepEqual(
        (await list(cloud, 'off')).map(({ port_state }) => port_state),
        ['ACTIVE', 'ACTIVE'],
      )
      await cloud.member.post(`/servers/${cloud.id.off}/action`, { 'os-stop': null })
      await cloud.settled()
      await detach(cloud, made.port_id, 'off')
      await cloud.member.post(`/servers/${cloud.id.off}/action`, { 'os-start': null })
      await cloud.settled()
      assert.equal(cardsOf(cloud, 'off').length, 1)
    })

    test('cards asked for at once all come, each once; an idempotency key makes one of two', async () => {
      const cloud = shared()
      const networkId = await ownNetwork(cloud, '10.19.0.0/24', 'at-once')
      const answers = await Promise.all([1, 2, 3].map(() => attach(cloud, { net_id: networkId })))
      assert.deepEqual(
        answers.map(({ statusCode }) => statusCode),
        [200, 200, 200],
      )
      await cloud.settled()
      const made = answers.map((answer) => answer.json().interfaceAttachment.port_id as string)
      assert.equal(new Set(made).size, 3)
      for (const id of made) assert.ok(cardsOf(cloud).includes(id))
      const answered = await Promise.all(made.map((id) => cloud.member.delete(`${path(cloud)}/${id}`)))
      assert.deepEqual(
        answered.map(({ statusCode }) => statusCode),
        [202, 202, 202],
      )
      await cloud.settled()
      assert.equal((await list(cloud)).length, 1)

      const body = { interfaceAttachment: { net_id: networkId } }
      const keyed = await Promise.all(
        [1, 2].map(() => cloud.member.post(path(cloud), body, { 'idempotency-key': 'one-card' })),
      )
      await cloud.settled()
      assert.equal(new Set(keyed.map((answer) => answer.json().interfaceAttachment.port_id)).size, 1)
      await detach(cloud, keyed[0]?.json().interfaceAttachment.port_id)
    })

    test('addresses are listed by network, and one network alone', async () => {
      const cloud = shared()
      const [card = assert.fail()] = await list(cloud)
      const addr = card.fixed_ips[0]?.ip_address
      const all = await cloud.member.get(`/servers/${cloud.id.web}/ips`)
      assert.deepEqual([all.statusCode, all.json()], [200, { addresses: { shared: [{ version: 4, addr }] } }])
      const one = await cloud.member.get(`/servers/${cloud.id.web}/ips/shared`)
      assert.deepEqual([one.statusCode, one.json()], [200, { shared: [{ version: 4, addr }] }])
      for (const name of ['private', 'toString']) {
        assertFault(await cloud.member.get(`/servers/${cloud.id.web}/ips/${name}`), 404, /no address on a network/)
      }
      assertFault(await cloud.member.get(`/servers/${randomUUID()}/ips`), 404, /could not be found/)
    })
  })
}
