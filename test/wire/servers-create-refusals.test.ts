/** What S01 refuses: each mistake by itself, with nothing written. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, test } from 'node:test'
import type { Config } from '../../src/config.ts'
import { assertFault } from '../support/assert-fault.ts'
import { countRows } from '../support/count-rows.ts'
import { addNetwork, addPort, freeAddress } from '../support/network-rows.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Client, DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

const SHARED = 'ba05e057-1eb8-4cb2-af58-9b99a72df5ed'
const EXTERNAL = '5b0f9d5c-7a38-4d1e-9f0a-3d6f1f6a2b10'
const NOBODY = '11111111-1111-4111-8111-111111111111'

/** Posts a wish with a change, and asserts that it is refused and leaves no trace. */
async function refuses(
  cloud: TestCloud,
  change: Record<string, unknown>,
  message: RegExp,
  { status = 400, client = cloud.member }: { status?: number; client?: Client } = {},
): Promise<void> {
  const body = await cloud.wish(change)
  const before = await countRows(cloud)
  const what = JSON.stringify(change).slice(0, 150)
  assertFault(await client.post('/servers', body), status, message, what)
  assert.deepEqual(await countRows(cloud), before, what)
}

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })

    test('a member that is missing, of another type or out of range is named', async () => {
      const cloud = shared()
      const mistakes: [Record<string, unknown>, RegExp][] = [
        ...[undefined, null, 5, true, [], {}, '', '   ', '\t\n', 'x'.repeat(256), 'two\nlines'].map(
          (name): [Record<string, unknown>, RegExp] => [{ name }, /name/],
        ),
        ...[undefined, null, '', true, 1.5, [], {}].map((flavorRef): [Record<string, unknown>, RegExp] => [
          { flavorRef },
          /flavorRef/,
        ]),
        ...[undefined, null, '', 7, [], {}].map((imageRef): [Record<string, unknown>, RegExp] => [
          { imageRef },
          /imageRef/,
        ]),
        ...['min_count', 'max_count'].flatMap((key) =>
          [0, -1, 1.5, 1e30, true, '', '0', '-1', '1.5', 'two', '1e3', ' 1', [], {}].map(
            (value): [Record<string, unknown>, RegExp] => [{ [key]: value }, new RegExp(key)],
          ),
        ),
        [{ networks: 'shared' }, /networks/],
        [{ networks: { uuid: SHARED } }, /networks/],
        [{ networks: [SHARED] }, /networks\.0/],
        [{ networks: [null] }, /networks\.0/],
        [{ networks: [{ uuid: 5 }] }, /networks\.0\.uuid/],
        [{ networks: [{ uuid: SHARED, fixed_ip: 5 }] }, /networks\.0\.fixed_ip/],
        [{ networks: [{ port: 5 }] }, /networks\.0\.port/],
        [{ networks: Array.from({ length: 17 }, () => ({ uuid: SHARED })) }, /networks/],
        [{ key_name: 5 }, /key_name/],
        [{ key_name: {} }, /key_name/],
        [{ adminPass: 5 }, /adminPass/],
        [{ adminPass: '' }, /adminPass/],
        [{ adminPass: 'a\nb' }, /adminPass/],
        [{ adminPass: 'x'.repeat(256) }, /adminPass/],
        [{ security_groups: 'default' }, /security_groups/],
        [{ security_groups: ['default'] }, /security_groups\.0/],
        [{ security_groups: [{ id: 'default' }] }, /security_groups\.0/],
        [{ security_groups: [{ name: 5 }] }, /security_groups\.0\.name/],
        [{ metadata: [] }, /metadata/],
        [{ metadata: 'a=b' }, /metadata/],
        [{ metadata: { key: 5 } }, /metadata/],
        [{ metadata: { key: null } }, /metadata/],
        [{ metadata: { key: { nested: 'x' } } }, /metadata/],
        [{ metadata: { key: 'x'.repeat(256) } }, /metadata/],
        [{ metadata: { '': 'x' } }, /metadata/],
        [{ metadata: { ['k'.repeat(256)]: 'x' } }, /metadata/],
        [{ metadata: { 'a/b': 'x' } }, /metadata/],
        [{ user_data: 5 }, /user_data/],
        [{ user_data: 'not base64!' }, /user_data/],
        [{ user_data: 'YQ' }, /user_data/],
        [{ user_data: 'Y===' }, /user_data/],
        [{ user_data: 'A'.repeat(65_536) }, /user_data/],
        [{ availability_zone: 5 }, /availability_zone/],
        [{ availability_zone: 'x'.repeat(256) }, /availability_zone/],
        [{ accessIPv4: '1.2.3' }, /accessIPv4/],
        [{ accessIPv4: '::1' }, /accessIPv4/],
        [{ accessIPv4: 5 }, /accessIPv4/],
        [{ accessIPv6: '1.2.3.4' }, /accessIPv6/],
        [{ accessIPv6: 'fe80::x' }, /accessIPv6/],
        [{ 'OS-DCF:diskConfig': 'auto' }, /diskConfig/],
        [{ 'OS-DCF:diskConfig': null }, /diskConfig/],
        [{ return_reservation_id: 'maybe' }, /return_reservation_id/],
        [{ block_device_mapping: [{ volume_id: NOBODY }] }, /block_device_mapping\.0: volume .* could not be found/],
        [{ block_device_mapping_v2: [{ uuid: NOBODY }] }, /block_device_mapping_v2\.0 needs a source_type/],
      ]
      for (const [change, message] of mistakes) await refuses(cloud, change, message)
    })

    test('a NUL, which PostgreSQL cannot hold, is refused wherever it stands', async () => {
      const cloud = shared()
      const nul = 'a\0b'
      for (const change of [
        ...[
          'name',
          'flavorRef',
          'imageRef',
          'key_name',
          'adminPass',
          'availability_zone',
          'user_data',
          'unheard_of',
        ].map((key) => ({ [key]: nul })),
        { networks: [{ uuid: nul }] },
        { networks: [{ port: nul }] },
        { networks: [{ uuid: SHARED, fixed_ip: nul }] },
        { security_groups: [{ name: nul }] },
        { metadata: { key: nul } },
        { metadata: { [nul]: 'value' } },
      ]) {
        await refuses(cloud, change, /NUL|metadata/)
      }
    })

    test('what the wish names and does not exist is named', async () => {
      const cloud = shared()
      const foreign = await cloud.stranger()
      const theirNetwork = await addNetwork(cloud, { projectId: foreign.projectId, cidr: '10.9.0.0/29' })
      const theirPort = await addPort(cloud, { projectId: foreign.projectId, networkId: SHARED })
      assert.equal((await foreign.post('/os-keypairs', { keypair: { name: 'theirs' } })).statusCode, 200)
      const mistakes: [Record<string, unknown>, RegExp][] = [
        [{ flavorRef: NOBODY }, new RegExp(`Flavor ${NOBODY}`)],
        [{ flavorRef: 'tiny' }, /Flavor tiny/],
        [{ flavorRef: 5 }, /Flavor 5/],
        [{ flavorRef: '/' }, /Flavor/],
        [{ imageRef: NOBODY }, new RegExp(`Image ${NOBODY}`)],
        [{ imageRef: 'http://localhost/images/' }, /Image/],
        [{ key_name: 'nothing' }, /Keypair nothing/],
        [{ key_name: 'theirs' }, /Keypair theirs/],
        [{ key_name: '' }, /Keypair/],
        [{ security_groups: [{ name: 'nothing' }] }, /Security group nothing/],
        [{ availability_zone: 'mars' }, /zone 'mars'/],
        [{ networks: [{}] }, /uuid/],
        [{ networks: [{ uuid: 'shared' }] }, /'shared' is not a UUID/],
        [{ networks: [{ uuid: NOBODY }] }, new RegExp(`Network ${NOBODY}`)],
        [{ networks: [{ uuid: EXTERNAL }] }, new RegExp(`Network ${EXTERNAL}`)],
        [{ networks: [{ uuid: theirNetwork }] }, new RegExp(`Network ${theirNetwork}`)],
        [{ networks: [{ uuid: SHARED }, { uuid: NOBODY }] }, new RegExp(`Network ${NOBODY}`)],
        [{ networks: [{ port: NOBODY }] }, new RegExp(`Port ${NOBODY}`)],
        [{ networks: [{ port: theirPort.id }] }, new RegExp(`Port ${theirPort.id}`)],
      ]
      for (const [change, message] of mistakes) await refuses(cloud, change, message)
    })

    test('counts and addresses that cannot go together are refused', async () => {
      const cloud = shared()
      const { id } = await addPort(cloud, { projectId: cloud.member.projectId, networkId: SHARED })
      const mistakes: [Record<string, unknown>, RegExp][] = [
        [{ min_count: 3, max_count: 2 }, /min_count.*max_count/],
        [{ min_count: '3', max_count: '2' }, /min_count.*max_count/],
        [{ min_count: 2, max_count: 1 }, /min_count.*max_count/],
        [{ max_count: 2, networks: [{ port: id }] }, /port or address/],
        [{ max_count: 2, networks: [{ uuid: SHARED, fixed_ip: '172.31.249.9' }] }, /port or address/],
        [{ networks: [{ port: id }, { port: id }] }, /twice/],
        [{ networks: [{ port: id, fixed_ip: '172.31.249.9' }] }, /fixed_ip/],
        ...[
          '10.0.0.1',
          '172.31.248.0',
          '172.31.251.255',
          'nonsense',
          '',
          '172.31.249.09',
          'fe80::1',
          '172.31.248.1 ',
        ].map((fixed_ip): [Record<string, unknown>, RegExp] => [{ networks: [{ uuid: SHARED, fixed_ip }] }, /Address/]),
        // The DHCP service has it.
        [{ networks: [{ uuid: SHARED, fixed_ip: '172.31.248.2' }] }, /in use/],
        // Whoever had it would get the traffic of the whole network.
        [{ networks: [{ uuid: SHARED, fixed_ip: '172.31.248.1' }] }, /gateway/],
      ]
      for (const [change, message] of mistakes) await refuses(cloud, change, message)
    })

    test('a flavor too small for the image, a disabled one, and an image that is not active are refused', async () => {
      const cloud = shared()
      const { db } = cloud.cloud
      const tiny = await db.read.selectFrom('images').selectAll().where('name', '=', 'tiny').executeTakeFirstOrThrow()
      const addImage = async (change: Partial<typeof tiny>) => {
        const id = randomUUID()
        await db.transaction((tx) =>
          tx
            .insertInto('images')
            .values({ ...tiny, id, name: id, ...change })
            .execute(),
        )
        return id
      }
      await refuses(cloud, { imageRef: await addImage({ minRamMib: 129 }) }, /memory.*129 MiB/)
      await refuses(cloud, { imageRef: await addImage({ minDiskGib: 2 }) }, /disk.*2 GiB/)
      await refuses(cloud, { imageRef: await addImage({ virtualSizeBytes: 2 ** 30 + 1 }) }, /disk.*2 GiB/)
      await refuses(cloud, { imageRef: await addImage({ status: 'queued' }) }, /not active/)
      await refuses(cloud, { imageRef: await addImage({ visibility: 'private', projectId: NOBODY }) }, /not be found/)
      await db.transaction((tx) =>
        tx.updateTable('flavors').set({ isDisabled: 1 }).where('name', '=', 'standard-16').execute(),
      )
      await refuses(cloud, { flavorRef: 'dae81659-4fe3-45fd-84f4-a0a4b45bae75' }, /Flavor.*not be found/)
    })

    test('a port or address in use, and a network to choose, are conflicts', async () => {
      const cloud = shared()
      const { member } = cloud
      const networks = [{ uuid: SHARED, fixed_ip: await freeAddress(cloud) }]
      const taken = await cloud.wish({ networks })
      assert.equal((await member.post('/servers', taken)).statusCode, 202)
      await cloud.settled()
      await refuses(cloud, { networks }, /in use/)
      const { id } = await addPort(cloud, { projectId: member.projectId, networkId: SHARED })
      assert.equal((await member.post('/servers', await cloud.wish({ networks: [{ port: id }] }))).statusCode, 202)
      await cloud.settled()
      await refuses(cloud, { networks: [{ port: id }] }, new RegExp(`Port ${id}.*in use`), { status: 409 })

      const rich = await cloud.stranger()
      await addNetwork(cloud, { projectId: rich.projectId, cidr: '10.9.0.0/29' })
      for (const networks of [undefined, null, []]) {
        await refuses(cloud, { networks }, /Multiple possible networks/, { status: 409, client: rich })
      }
    })

    test('bodies that are no wish at all are refused', async () => {
      const cloud = shared()
      const before = await countRows(cloud)
      for (const body of ['[]', '{}', 'null', '5', '"server"', '{"server":null}', '{"server":[]}', '{"server":"x"}']) {
        const headers = { 'content-type': 'application/json' }
        assertFault(
          await cloud.member.request({ method: 'POST', url: '/servers', payload: body, headers }),
          400,
          /server|body/,
          body,
        )
      }
      assert.deepEqual(await countRows(cloud), before)
    })

    test('a quota is named with what was asked, used and allowed', async () => {
      const limits: [Partial<Config>, Record<string, unknown>, RegExp][] = [
        [{ quotaServers: 1 }, {}, /instances.*requested 1.*used 1 of 1/],
        [{ quotaVcpus: 2 }, { max_count: 2, min_count: 2 }, /cores.*requested 2.*used 1 of 2/],
        [{ quotaRamMib: 255 }, {}, /ram.*requested 128.*used 128 of 255/],
        [{ quotaMetadata: 1 }, { metadata: { a: '1', b: '2' } }, /metadata_items.*requested 2.*limit is 1/],
      ]
      for (const [config, change, message] of limits) {
        await using cloud = await testCloud({ database, config, servers: { web: {} } })
        await refuses(cloud, change, message, { status: 403 })
        // Another project has room of its own; a deleted server makes room again.
        const other = await cloud.stranger()
        assert.equal((await other.post('/servers', await cloud.wish())).statusCode, 202)
        await cloud.member.delete(`/servers/${cloud.id.web}`)
        await cloud.settled()
        assert.equal((await cloud.member.post('/servers', await cloud.wish())).statusCode, 202)
        await cloud.settled()
      }
    })

    test('a quota of -1 is none', async () => {
      const config = { quotaServers: -1, quotaVcpus: -1, quotaRamMib: -1, quotaMetadata: -1 }
      await using cloud = await testCloud({ database, config })
      assert.equal((await cloud.member.post('/servers', await cloud.wish({ metadata: { a: '1' } }))).statusCode, 202)
    })
  })
}
