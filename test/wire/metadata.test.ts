/** What a guest reads about itself on 169.254.169.254: both trees, asked as the host's listener asks. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { answerMetadata } from '../../src/metadata/answer-metadata.ts'
import { SHARED_NETWORK_ID } from '../../src/networks/seed-networks.ts'
import { type AskingGuest, newGuest } from '../support/asking-guest.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0lCd9b0jTXv1vQWqVPR9rSQFOwpnSZQmNtCgZ5Vn1L me@example'
const USER_DATA = Buffer.from([0x23, 0x21, 0x00, 0xff, 0x0a])
const LATEST = '/openstack/latest'

const addKey = (cloud: TestCloud) => cloud.member.post('/os-keypairs', { keypair: { name: 'mine', public_key: KEY } })

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })

    test("OpenStack's tree tells a guest who it is, with its password, keys, cards and user data", async () => {
      const cloud = shared()
      await addKey(cloud)
      const wish = { key_name: 'mine', metadata: { role: 'web' }, user_data: USER_DATA.toString('base64') }
      const guest = await newGuest(cloud, wish)
      assert.match(await guest.read('/openstack'), /^2012-08-10\/?$/m)
      const { random_seed, ...facts } = await guest.json(`${LATEST}/meta_data.json`)
      assert.match(random_seed, /^[\w+/]{600,}=*$/)
      assert.deepEqual(facts, {
        uuid: guest.id,
        name: 'Web One',
        hostname: 'web-one',
        admin_pass: guest.adminPass,
        public_keys: { mine: KEY },
        keys: [{ name: 'mine', type: 'ssh', data: KEY }],
        meta: { role: 'web' },
        launch_index: 0,
        project_id: cloud.member.projectId,
        availability_zone: 'nova',
        devices: [],
        dedicated_cpus: [],
      })
      const { addresses } = (await cloud.member.get(`/servers/${guest.id}`)).json().server
      const network = await guest.json('/openstack/2018-08-27/network_data.json')
      assert.equal(network.links[0].ethernet_mac_address, addresses.shared[0]['OS-EXT-IPS-MAC:mac_addr'])
      assert.equal(network.links[0].vif_id, addresses.shared[0]['UOS-EXT-IPS:id'])
      assert.deepEqual(network.networks, [
        { id: 'network0', link: network.links[0].id, network_id: SHARED_NETWORK_ID, type: 'ipv4_dhcp' },
      ])
      assert.deepEqual(await guest.bytes(`${LATEST}/user_data`), USER_DATA)
      const { contentType } = await guest.ask(`${LATEST}/meta_data.json`)
      assert.match(contentType, /^application\/json/)
      assert.equal((await guest.ask(`${LATEST}/meta_data.json`, { method: 'HEAD' })).status, 200)
    })

    test("each version of OpenStack's tree has what its time knew", async () => {
      const cloud = shared()
      const guest = await newGuest(cloud)
      const versions = await guest.lines('/openstack')
      assert.equal(versions.length, 10)
      const oldest = ['meta_data.json']
      const newer = [...oldest, 'password']
      const havana = [...newer, 'vendor_data.json']
      const liberty = ['meta_data.json', 'network_data.json', 'password', 'vendor_data.json']
      const newest = [...liberty, 'vendor_data2.json']
      const expected: Record<string, string[]> = {
        '2012-08-10/': oldest,
        '2013-04-04/': newer,
        '2013-10-17/': havana,
        '2015-10-15/': liberty,
        '2016-06-30/': liberty,
        '2016-10-06/': newest,
        '2017-02-22/': newest,
        '2018-08-27/': newest,
        '2020-10-14/': newest,
        'latest/': newest,
      }
      for (const version of versions)
        assert.deepEqual(await guest.lines(`/openstack/${version}`), expected[version], version)
      const members = async (version: string) => Object.keys(await guest.json(`/openstack/${version}/meta_data.json`))
      const first = await members('2012-08-10')
      for (const name of ['random_seed', 'project_id', 'devices', 'dedicated_cpus'])
        assert.ok(!first.includes(name), name)
      assert.ok((await members('2013-04-04')).includes('random_seed'))
      assert.ok((await members('2015-10-15')).includes('project_id'))
      assert.ok((await members('2016-06-30')).includes('devices'))
      assert.ok(!(await members('2018-08-27')).includes('dedicated_cpus'))
    })

    test("EC2's tree answers every path that cloud-init walks", async () => {
      const cloud = shared()
      await addKey(cloud)
      const guest = await newGuest(cloud, { key_name: 'mine', user_data: USER_DATA.toString('base64') })
      assert.match(await guest.read('/'), /^2009-04-04\/$/m)
      for (const version of ['latest', '2009-04-04']) {
        assert.equal(await guest.read(`/${version}/meta-data/local-ipv4`), guest.address)
        assert.equal(await guest.read(`/${version}/meta-data/local-hostname`), 'web-one')
        assert.equal(await guest.read(`/${version}/meta-data/public-keys/`), '0=mine')
        assert.equal(await guest.read(`/${version}/meta-data/public-keys/0/openssh-key`), KEY)
        assert.deepEqual(await guest.bytes(`/${version}/user-data`), USER_DATA)
      }
      // cloud-init follows each branch that a listing names, and gives up the source when one of them is not there.
      const walk = async (path: string): Promise<void> => {
        for (const line of (await guest.read(path)).split('\n')) {
          if (line.endsWith('/')) await walk(`${path}${line}`)
          else assert.equal((await guest.ask(`${path}${line.split('=')[0]}`)).status, 200, `${path}${line}`)
        }
      }
      await walk('/2009-04-04/meta-data/')
      assert.match(await guest.read('/2009-04-04/meta-data/instance-id'), /^i-[0-9a-f]{8}$/)
      const { imageId } = await cloud.server(guest.id)
      assert.equal(await guest.read('/latest/meta-data/ami-id'), `ami-${imageId.slice(0, 8)}`)
      const first = await guest.lines('/1.0/meta-data')
      for (const name of ['instance-type', 'placement/', 'public-hostname']) assert.ok(!first.includes(name), name)
      assert.ok((await guest.lines('/2007-08-29/meta-data')).includes('instance-type'))
    })

    test("EC2's block devices are the server's own, and tagged ones are among OpenStack's devices", async () => {
      const cloud = shared()
      const { db } = cloud.cloud
      const guest = await newGuest(cloud, {
        block_device_mapping_v2: [
          { source_type: 'blank', destination_type: 'volume', volume_size: 1, tag: 'data' },
          { source_type: 'blank', destination_type: 'volume', volume_size: 1 },
        ],
      })
      const [tagged] = await db.read.selectFrom('blockDevices').selectAll().where('tag', '=', 'data').execute()
      const add = (content: 'ext4' | 'swap', deviceName: string) =>
        db.transaction((tx) => {
          assert.ok(tagged)
          const own = { ...tagged, id: deviceName, volumeId: null, content, deviceName, tag: null }
          return tx.insertInto('blockDevices').values(own).execute()
        })
      await add('ext4', '/dev/vdx')
      await add('swap', '/dev/vdy')
      const mapping = '/latest/meta-data/block-device-mapping'
      const found: Record<string, string> = {}
      for (const name of await guest.lines(mapping)) found[name] = await guest.read(`${mapping}/${name}`)
      assert.deepEqual(found, {
        ami: 'vda',
        root: '/dev/vda',
        ebs0: '/dev/vdb',
        ebs1: '/dev/vdc',
        ephemeral0: '/dev/vdx',
        swap: '/dev/vdy',
      })
      const { devices } = await guest.json(`${LATEST}/meta_data.json`)
      assert.deepEqual(devices, [{ type: 'disk', serial: tagged?.volumeId, path: '/dev/vdb', tags: ['data'] }])
    })

    test('cards without DHCP are told their addresses, routes and name servers; IPv6 how it is got', async () => {
      const cloud = shared()
      const make = async (kind: string, body: object) =>
        (await cloud.member.post(`//v2.0/${kind}s`, { [kind]: body })).json()[kind]
      const network = await make('network', { name: 'own' })
      const subnet = { network_id: network.id }
      await make('subnet', {
        ...subnet,
        ip_version: 4,
        cidr: '10.9.8.0/25',
        enable_dhcp: false,
        dns_nameservers: ['10.9.8.3'],
        host_routes: [{ destination: '10.20.0.0/16', nexthop: '10.9.8.9' }],
      })
      const slaac = { ipv6_ra_mode: 'slaac', ipv6_address_mode: 'slaac' }
      await make('subnet', { ...subnet, ip_version: 6, cidr: 'fd00:1::/64', ...slaac })
      const guest = await newGuest(cloud, { networks: [{ uuid: network.id }] })
      const { networks, services } = await guest.json(`${LATEST}/network_data.json`)
      const [{ link, ...own }, { type }] = networks
      assert.deepEqual(own, {
        id: 'network0',
        network_id: network.id,
        type: 'ipv4',
        ip_address: guest.address,
        netmask: '255.255.255.128',
        routes: [
          { network: '0.0.0.0', netmask: '0.0.0.0', gateway: '10.9.8.1' },
          { network: '10.20.0.0', netmask: '255.255.0.0', gateway: '10.9.8.9' },
        ],
        services: [{ type: 'dns', address: '10.9.8.3' }],
      })
      assert.equal(type, 'ipv6_slaac')
      assert.deepEqual(services, [{ type: 'dns', address: '10.9.8.3' }])
    })

    test('what changes of a server is seen at once: its name and its floating IP', async () => {
      const cloud = shared()
      const guest = await newGuest(cloud)
      await cloud.member.put(`/servers/${guest.id}`, { server: { name: 'Second Name' } })
      assert.equal((await guest.json(`${LATEST}/meta_data.json`)).hostname, 'second-name')
      assert.equal(await guest.read('/latest/meta-data/public-ipv4'), '')
      const { ip } = (await cloud.member.post('/os-floating-ips')).json().floating_ip
      await cloud.member.post(`/servers/${guest.id}/action`, { addFloatingIp: { address: ip } })
      assert.equal(await guest.read('/latest/meta-data/public-ipv4'), ip)
    })

    test('a guest keeps a password once, which its user may clear, and reads it back', async () => {
      const cloud = shared()
      const guest = await newGuest(cloud)
      const path = `${LATEST}/password`
      const post = async (body: string, at = path) => (await guest.ask(at, { method: 'POST', body })).status
      assert.equal(await guest.read(path), '')
      assert.equal(await post('not base64!'), 400)
      assert.equal(await post('A'.repeat(1_021)), 413)
      assert.equal(await post('YWJj', '/openstack/2013-04-04/password'), 200)
      assert.equal(await post('ZGVm'), 409)
      assert.equal(await guest.read(path), 'YWJj')
      for (const other of ['/openstack/2012-08-10/password', `${LATEST}/user_data`, '/latest/meta-data/', '/']) {
        assert.equal(await post('YWJj', other), 405, other)
      }
    })

    test('a session token is given for a time, asked with by its server alone, and needed by none', async () => {
      const cloud = shared()
      const [one, other] = [await newGuest(cloud), await newGuest(cloud)]
      const lifetime = 'x-aws-ec2-metadata-token-ttl-seconds'
      const take = (guest: AskingGuest, headers: Record<string, string>) =>
        guest.ask('/latest/api/token', { method: 'PUT', headers })
      for (const headers of [
        {} as Record<string, string>,
        { [lifetime]: '0' },
        { [lifetime]: '21601' },
        { [lifetime]: '-1' },
        { [lifetime]: '1.5' },
      ]) {
        assert.equal((await take(one, headers)).status, 400, JSON.stringify(headers))
      }
      assert.equal((await one.ask('/latest/api/token')).status, 405)
      const given = await take(one, { [lifetime]: '60' })
      assert.equal(given.status, 200)
      assert.equal(given.headers?.[lifetime], '60')
      const token = String(given.body)
      assert.match(token, /^[\w-]+$/)
      const ask = async (guest: AskingGuest, value: string) =>
        (await guest.ask('/latest/meta-data/hostname', { headers: { 'x-aws-ec2-metadata-token': value } })).status
      assert.equal(await ask(one, token), 200)
      for (const bad of ['', 'x', `${token}AAAA`, token.slice(1), cloud.cloud.box.seal('["metadata-token"]')]) {
        assert.equal(await ask(one, bad), 401, bad)
      }
      assert.equal(await ask(other, token), 401)
      cloud.clock.advance(60_000)
      assert.equal(await ask(one, token), 401)
      assert.equal((await one.ask('/latest/meta-data/hostname')).status, 200)
    })

    test('without user data and key there is no leaf for them, and nobody else learns anything', async () => {
      const cloud = shared()
      const guest = await newGuest(cloud)
      for (const path of [
        `${LATEST}/user_data`,
        '/latest/user-data',
        '/latest/meta-data/public-keys/',
        '/openstack/1999',
      ]) {
        assert.equal((await guest.ask(path)).status, 404, path)
      }
      assert.equal((await guest.ask(`${LATEST}/meta_data.json`, { method: 'POST' })).status, 405)
      const question = { method: 'GET', path: `${LATEST}/meta_data.json`, body: Buffer.alloc(0) }
      const claims = {
        'x-forwarded-for': guest.address,
        'x-instance-id': guest.id,
        'x-tenant-id': cloud.member.projectId,
      }
      for (const place of [
        { networkId: SHARED_NETWORK_ID, ipAddress: '172.31.251.255' },
        { networkId: 'another-network', ipAddress: guest.address },
      ]) {
        for (const headers of [{}, claims]) {
          assert.equal((await answerMetadata(cloud.cloud, { ...question, ...place, headers })).status, 404)
        }
      }
      const other = await newGuest(cloud)
      const { body } = await other.ask(question.path, { headers: claims })
      assert.equal(JSON.parse(String(body)).uuid, other.id)
      await cloud.member.delete(`/servers/${guest.id}`)
      await cloud.settled()
      assert.equal((await guest.ask(question.path)).status, 404)
    })
  })
}

test('vendor data is what the setting names, and a file that cannot be read is told to nobody', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'novella-vendor-'))
  try {
    const vendorData = join(directory, 'vendor.json')
    await writeFile(vendorData, '{"cloud-init": "#cloud-config\\n{}"}')
    await using cloud = await testCloud({ config: { vendorData } })
    const guest = await newGuest(cloud)
    assert.deepEqual(await guest.json(`${LATEST}/vendor_data.json`), { 'cloud-init': '#cloud-config\n{}' })
    assert.deepEqual(await guest.json(`${LATEST}/vendor_data2.json`), { static: { 'cloud-init': '#cloud-config\n{}' } })
    await writeFile(vendorData, '[]')
    await assert.rejects(guest.ask(LATEST), /vendor data .* cannot be read/)
  } finally {
    await rm(directory, { recursive: true })
  }
})
