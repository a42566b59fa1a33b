/** Config drives: who has one, and that it says what the metadata service says. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type AskingGuest, newGuest } from '../support/asking-guest.ts'
import { assertFault } from '../support/assert-fault.ts'
import { readIso } from '../support/read-iso.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0lCd9b0jTXv1vQWqVPR9rSQFOwpnSZQmNtCgZ5Vn1L me@example'

const imageOf = (cloud: TestCloud, id: string) => cloud.machine.servers.get(id)?.plan?.configDrive
const shown = async (cloud: TestCloud, id: string) =>
  (await cloud.member.get(`/servers/${id}`)).json().server.config_drive

const LATEST = /^openstack\/latest\/meta/

async function driveOf(cloud: TestCloud, id: string, only?: RegExp) {
  const image = imageOf(cloud, id)
  assert.ok(image, 'it has a config drive')
  return readIso(image, only)
}

/** What the drive has under this path, and what the service says there. */
async function compare(files: Map<string, Buffer>, guest: AskingGuest, path: string): Promise<void> {
  const [onDrive, told] = [files.get(path), await guest.bytes(`/${path}`)]
  assert.ok(onDrive, path)
  if (!path.endsWith('.json')) return assert.deepEqual(onDrive, told, path)
  const [one, other] = [JSON.parse(String(onDrive)), JSON.parse(String(told))]
  // Another one each time.
  assert.equal(typeof one.random_seed, typeof other.random_seed)
  assert.deepEqual({ ...one, random_seed: '' }, { ...other, random_seed: '' }, path)
}

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })

    test('a drive says member by member what the service says, in every version', async () => {
      const cloud = shared()
      await cloud.member.post('/os-keypairs', { keypair: { name: 'mine', public_key: KEY } })
      const userData = Buffer.from(Array.from({ length: 49_149 }, (_, at) => (at * 31) % 256))
      const files = [
        { path: '/etc/motd', contents: Buffer.from('hello\n').toString('base64') },
        { path: '/srv/binary', contents: Buffer.from([0, 255, 13, 10]).toString('base64') },
      ]
      const guest = await newGuest(cloud, {
        ...{ config_drive: true, key_name: 'mine', metadata: { role: 'web' } },
        ...{ user_data: userData.toString('base64'), personality: files },
        block_device_mapping_v2: [{ source_type: 'blank', destination_type: 'volume', volume_size: 1, tag: 'data' }],
      })
      assert.equal(await shown(cloud, guest.id), 'True')
      const { label, files: found } = await driveOf(cloud, guest.id)
      assert.equal(label, 'config-2')
      const paths = [...found.keys()].filter((path) => path.startsWith('openstack/'))
      for (const path of paths) await compare(found, guest, path)
      const below = async (path: string): Promise<string[]> => {
        const lines = await guest.lines(`/${path}`)
        const parts = lines.map((line) => (line.endsWith('/') ? below(`${path}${line}`) : [`${path}${line}`]))
        return (await Promise.all(parts)).flat()
      }
      const told = (await below('openstack/')).filter((path) => !path.endsWith('/password'))
      assert.deepEqual(paths.toSorted(), told.toSorted())
      assert.deepEqual(found.get('openstack/latest/user_data'), userData)

      const metaData = JSON.parse(String(found.get('openstack/latest/meta_data.json')))
      assert.equal(metaData.admin_pass, guest.adminPass)
      const brought = metaData.files.map((file: { path: string; content_path: string }) => [
        file.path,
        found.get(`openstack${file.content_path}`)?.toString('base64'),
      ])
      assert.deepEqual(
        brought,
        files.map(({ path, contents }) => [path, contents]),
      )

      for (const version of ['2009-04-04', 'latest']) {
        assert.deepEqual(found.get(`ec2/${version}/user-data`), userData)
        const ec2 = JSON.parse(String(found.get(`ec2/${version}/meta-data.json`)))
        const read = async (path: string, value: unknown): Promise<void> => {
          if (typeof value === 'string') return assert.equal(await guest.read(path), value, path)
          for (const [name, member] of Object.entries(value as object)) {
            if (name !== '_name') await read(`${path}/${name}`, member)
          }
        }
        assert.ok(Object.keys(ec2).length > 10)
        await read(`/${version}/meta-data`, ec2)
      }
    })

    test('a drive is written anew with each start, and not before', async () => {
      const cloud = shared()
      const guest = await newGuest(cloud, { config_drive: 'true' })
      const name = async () =>
        JSON.parse(String((await driveOf(cloud, guest.id, LATEST)).files.get('openstack/latest/meta_data.json'))).name
      await cloud.member.put(`/servers/${guest.id}`, { server: { name: 'renamed' } })
      assert.equal(await name(), 'Web One')
      for (const reboot of [{ type: 'HARD' }]) await cloud.member.post(`/servers/${guest.id}/action`, { reboot })
      await cloud.settled()
      assert.equal(await name(), 'renamed')
    })

    test('who does not wish for a drive has none, unless its image demands one', async () => {
      const cloud = shared()
      for (const config_drive of [undefined, false, 'False', 'no', '0', '', null]) {
        const guest = await newGuest(cloud, { config_drive })
        assert.equal(await shown(cloud, guest.id), '', String(config_drive))
        assert.equal(imageOf(cloud, guest.id), undefined)
      }
      const setProperty = (value: string) =>
        cloud.cloud.db.transaction((tx) =>
          tx
            .updateTable('images')
            .set({ properties: JSON.stringify({ img_config_drive: value }) })
            .execute(),
        )
      for (const [property, drive] of [
        ['mandatory', 'True'],
        ['optional', ''],
      ] as const) {
        await setProperty(property)
        const guest = await newGuest(cloud, { config_drive: false })
        assert.equal(await shown(cloud, guest.id), drive, property)
        assert.equal(imageOf(cloud, guest.id) !== undefined, drive !== '')
      }
    })

    test('a wish that makes no sense is refused, and makes nothing', async () => {
      const cloud = shared()
      const before = (await cloud.member.get('/servers')).json().servers.length
      const file = (path: string, contents = 'YQ==') => ({ path, contents })
      const refused: [Record<string, unknown>, number, RegExp][] = [
        [{ config_drive: 'maybe' }, 400, /config_drive/],
        [{ config_drive: 1 }, 400, /config_drive/],
        [{ personality: [file('/a', 'YQ')] }, 400, /personality\.0\.contents must be base64/],
        [{ personality: [file('relative')] }, 400, /personality\.0\.path must be an absolute path/],
        [{ personality: [file('/a/../../b')] }, 400, /absolute path/],
        [{ personality: [file('/a\u0001b')] }, 400, /absolute path/],
        [{ personality: [file('')] }, 400, /path/],
        [{ personality: [{ path: '/a' }] }, 400, /contents/],
        [{ personality: Array.from({ length: 6 }, (_, at) => file(`/f${at}`)) }, 403, /injected_files: 6/],
        [{ personality: [file('/a', Buffer.alloc(10_241).toString('base64'))] }, 403, /content_bytes.*10241/],
      ]
      for (const [wish, status, message] of refused) {
        assertFault(await cloud.member.post('/servers', await cloud.wish(wish)), status, message)
      }
      assert.equal((await cloud.member.get('/servers')).json().servers.length, before)
    })
  })
}

test('the cloud can give every server a drive', async () => {
  await using cloud = await testCloud({ config: { forceConfigDrive: true } })
  const guest = await newGuest(cloud, { config_drive: false })
  assert.equal(await shown(cloud, guest.id), 'True')
  assert.ok(imageOf(cloud, guest.id))
})
