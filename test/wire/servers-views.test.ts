/** The four views of a server in all its states: which members there are, and what they say. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Row, TaskState, VmState } from '../../src/db/schema.ts'
import { addNetwork } from '../support/network-rows.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES, type TestCloud } from '../support/test-cloud.ts'

/** vm_state, task_state, the status they are shown as, and whether progress is shown. Source: faults.md, section 4. */
const STATUSES: [VmState, TaskState | null, string, boolean][] = [
  ['building', 'scheduling', 'BUILD', true],
  ['building', 'networking', 'BUILD', true],
  ['building', 'block_device_mapping', 'BUILD', true],
  ['building', 'spawning', 'BUILD', true],
  ['building', 'deleting', 'BUILD', true],
  ['active', null, 'ACTIVE', true],
  ['active', 'powering-off', 'ACTIVE', true],
  ['active', 'powering-on', 'ACTIVE', true],
  ['active', 'deleting', 'ACTIVE', true],
  ['active', 'rebooting', 'REBOOT', false],
  ['active', 'reboot_pending', 'REBOOT', false],
  ['active', 'reboot_started', 'REBOOT', false],
  ['active', 'rebooting_hard', 'HARD_REBOOT', false],
  ['active', 'reboot_pending_hard', 'HARD_REBOOT', false],
  ['active', 'reboot_started_hard', 'HARD_REBOOT', false],
  ['active', 'updating_password', 'PASSWORD', false],
  ['stopped', null, 'SHUTOFF', false],
  ['stopped', 'powering-on', 'SHUTOFF', false],
  ['stopped', 'rebooting_hard', 'SHUTOFF', false],
  ['paused', null, 'PAUSED', false],
  ['suspended', null, 'SUSPENDED', false],
  ['resized', null, 'VERIFY_RESIZE', true],
  ['error', null, 'ERROR', false],
  ['error', 'deleting', 'ERROR', false],
]
const FAULT = { faultCode: 500, faultMessage: 'It broke.', faultDetails: '/dev/kvm', faultAt: Date.UTC(2026, 10, 24) }

const setServer = (cloud: TestCloud, change: Partial<Row<'servers'>>) =>
  cloud.cloud.db.transaction((tx) =>
    tx
      .updateTable('servers')
      .set(change)
      .where('id', '=', cloud.id.web ?? '')
      .execute(),
  )

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, servers: { web: {} } })
    const show = async (cloud: TestCloud, who: 'member' | 'admin' = 'member') =>
      (await cloud[who].get(`/servers/${cloud.id.web}`)).json().server

    test('every state has its status, and progress where it means something', async () => {
      const cloud = shared()
      for (const [vmState, taskState, status, hasProgress] of STATUSES) {
        await setServer(cloud, { vmState, taskState })
        const server = await show(cloud)
        assert.equal(server.status, status, `${vmState} ${taskState}`)
        assert.equal(server.progress, hasProgress ? 0 : undefined, status)
        assert.deepEqual([server['OS-EXT-STS:vm_state'], server['OS-EXT-STS:task_state']], [vmState, taskState])
        assert.equal(Object.keys(server).length, hasProgress ? 30 : 29, status)
        const updated = (await cloud.member.put(`/servers/${cloud.id.web}`, { server: {} })).json().server
        assert.equal(updated.status, status)
        assert.equal(Object.keys(updated).length, hasProgress ? 17 : 16, status)
      }
      await setServer(cloud, { vmState: 'active', taskState: null })
    })

    test('a fault is shown in ERROR only, and what is inside to admins only', async () => {
      const cloud = shared()
      await setServer(cloud, { vmState: 'active', ...FAULT })
      assert.equal((await show(cloud)).fault, undefined)
      await setServer(cloud, { vmState: 'error' })
      const fault = { code: 500, created: '2026-11-24T00:00:00Z', message: 'It broke.' }
      assert.deepEqual((await show(cloud)).fault, fault)
      assert.deepEqual((await show(cloud, 'admin')).fault, { ...fault, details: '/dev/kvm' })
      const { servers } = (await cloud.member.get('/servers/detail')).json()
      assert.deepEqual(servers[0].fault, fault)
      await setServer(cloud, { faultCode: 403 })
      assert.equal((await show(cloud)).fault.details, '/dev/kvm')
      await setServer(cloud, {
        vmState: 'active',
        faultCode: null,
        faultMessage: null,
        faultDetails: null,
        faultAt: null,
      })
    })

    test('the detailed list shows what a look at one shows, and the brief one four members of it', async () => {
      const cloud = shared()
      const server = await show(cloud)
      const [detail] = (await cloud.member.get('/servers/detail')).json().servers
      assert.deepEqual(detail, server)
      const [brief] = (await cloud.member.get('/servers')).json().servers
      assert.deepEqual(Object.keys(brief).sort(), ['addresses', 'id', 'links', 'name'])
      assert.deepEqual([brief.id, brief.name, brief.links], [server.id, server.name, server.links])
      const [[network, entries] = ['', []]] = Object.entries(server.addresses) as [string, Record<string, unknown>[]][]
      const short = entries.map(({ 'OS-EXT-IPS:type': _, 'OS-EXT-IPS-MAC:mac_addr': __, ...entry }) => entry)
      assert.deepEqual(brief.addresses, { [network]: short })
    })

    test('a server on no host shows none', async () => {
      const cloud = shared()
      const { hostName } = await cloud.server('web')
      await setServer(cloud, { hostName: null })
      const server = await show(cloud)
      const shown = ['hostId', 'OS-EXT-SRV-ATTR:host', 'OS-EXT-SRV-ATTR:hypervisor_hostname']
      assert.deepEqual(
        shown.map((key) => server[key]),
        ['', '', ''],
      )
      await setServer(cloud, { hostName })
    })

    test('the same host has one hostId in a project, and another in the next', async () => {
      const cloud = shared()
      const create = async (client = cloud.member) => {
        const { id } = (await client.post('/servers', await cloud.wish())).json().server
        await cloud.settled()
        return (await client.get(`/servers/${id}`)).json().server.hostId
      }
      const mine = await create()
      assert.equal(await create(), mine)
      assert.notEqual(await create(await cloud.stranger()), mine)
    })

    test('names that objects inherit are networks and metadata like any other', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const networks: { uuid: string }[] = []
      for (const [n, name] of ['constructor', '__proto__', 'toString', 'shared'].entries()) {
        networks.push({ uuid: await addNetwork(cloud, { projectId: client.projectId, cidr: `10.${n}.0.0/24`, name }) })
      }
      const metadata = { constructor: 'a', toString: 'b', 'has:Own': 'c' }
      const { id } = (await client.post('/servers', await cloud.wish({ networks, metadata }))).json().server
      await cloud.settled()
      const { server } = (await client.get(`/servers/${id}`)).json()
      assert.deepEqual(Object.keys(server.addresses), ['constructor', '__proto__', 'toString', 'shared'])
      assert.deepEqual(server.metadata, metadata)
    })

    test('a later flavor or image of the same id leaves the server as it was made', async () => {
      const cloud = shared()
      await cloud.cloud.db.transaction(async (tx) => {
        await tx.updateTable('flavors').set({ name: 'huge', vcpus: 64 }).where('name', '=', 'tiny').execute()
      })
      const server = await show(cloud)
      assert.equal(server.flavor.name, 'tiny')
      await cloud.cloud.db.transaction((tx) =>
        tx.updateTable('flavors').set({ name: 'tiny', vcpus: 1 }).where('name', '=', 'huge').execute(),
      )
    })
  })
}
