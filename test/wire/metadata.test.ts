/** What a guest reads about itself on 169.254.169.254: both trees, asked as the host's listener asks. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answerMetadata } from '../../src/metadata/answer-metadata.ts'
import { SHARED_NETWORK_ID } from '../../src/networks/seed-networks.ts'
import { DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0lCd9b0jTXv1vQWqVPR9rSQFOwpnSZQmNtCgZ5Vn1L me@example'
const USER_DATA = Buffer.from([0x23, 0x21, 0x00, 0xff, 0x0a])

interface Guest {
  id: string
  address: string
  mac: string
  adminPass: string
  ask(path: string, method?: string): Promise<{ status: number; contentType?: string; body: string | Buffer }>
  read(path: string): Promise<string>
}

async function newGuest(cloud: TestCloud, wish: object): Promise<Guest> {
  const answer = await cloud.member.post('/servers', await cloud.wish({ name: 'Web One', ...wish }))
  assert.equal(answer.statusCode, 202, answer.body)
  const { id, adminPass } = answer.json().server
  await cloud.settled()
  const { addresses } = (await cloud.member.get(`/servers/${id}`)).json().server
  const [{ addr: address, 'OS-EXT-IPS-MAC:mac_addr': mac }] = addresses.shared
  const { db, box } = cloud.cloud
  const ask = (path: string, method = 'GET') =>
    answerMetadata(db, box, { networkId: SHARED_NETWORK_ID, ipAddress: address, method, path, headers: {} })
  const read = async (path: string) => {
    const { status, body } = await ask(path)
    assert.equal(status, 200, path)
    return String(body)
  }
  return { id, address, mac, adminPass, ask, read }
}

for (const database of DATABASES) {
  test(`${database}: OpenStack's tree tells a guest who it is, with its password, keys, cards and user data`, async () => {
    await using cloud = await testCloud({ database })
    await cloud.member.post('/os-keypairs', { keypair: { name: 'mine', public_key: KEY } })
    const wish = { key_name: 'mine', metadata: { role: 'web' }, user_data: USER_DATA.toString('base64') }
    const guest = await newGuest(cloud, wish)
    assert.match(await guest.read('/openstack'), /^2012-08-10\/?$/m)
    assert.deepEqual((await guest.read('/openstack/latest/')).split('\n').sort(), [
      'meta_data.json',
      'network_data.json',
      'user_data',
      'vendor_data.json',
      'vendor_data2.json',
    ])
    const facts = JSON.parse(await guest.read('/openstack/latest/meta_data.json'))
    assert.match(facts.random_seed, /^[\w+/]{600,}=*$/)
    const { uuid, name, hostname, admin_pass, public_keys, meta, launch_index, project_id, availability_zone } = facts
    assert.deepEqual(
      { uuid, name, hostname, admin_pass, public_keys, meta, launch_index, project_id, availability_zone },
      {
        uuid: guest.id,
        name: 'Web One',
        hostname: 'web-one',
        admin_pass: guest.adminPass,
        public_keys: { mine: KEY },
        meta: { role: 'web' },
        launch_index: 0,
        project_id: cloud.member.projectId,
        availability_zone: 'nova',
      },
    )
    const network = JSON.parse(await guest.read('/openstack/2018-08-27/network_data.json'))
    assert.equal(network.links[0].ethernet_mac_address, guest.mac)
    assert.deepEqual([network.networks[0].link, network.networks[0].type], [network.links[0].id, 'ipv4_dhcp'])
    assert.deepEqual((await guest.ask('/openstack/latest/user_data')).body, USER_DATA)
    const { contentType } = await guest.ask('/openstack/latest/meta_data.json')
    assert.match(contentType ?? '', /^application\/json/)
  })

  test(`${database}: EC2's tree answers every path that cloud-init walks`, async () => {
    await using cloud = await testCloud({ database })
    await cloud.member.post('/os-keypairs', { keypair: { name: 'mine', public_key: KEY } })
    const guest = await newGuest(cloud, { key_name: 'mine', user_data: USER_DATA.toString('base64') })
    assert.match(await guest.read('/'), /^2009-04-04\/$/m)
    for (const version of ['latest', '2009-04-04']) {
      assert.equal(await guest.read(`/${version}/meta-data/local-ipv4`), guest.address)
      assert.equal(await guest.read(`/${version}/meta-data/local-hostname`), 'web-one')
      assert.equal(await guest.read(`/${version}/meta-data/public-keys/`), '0=mine')
      assert.equal(await guest.read(`/${version}/meta-data/public-keys/0/openssh-key`), KEY)
      assert.deepEqual((await guest.ask(`/${version}/user-data`)).body, USER_DATA)
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
  })

  test(`${database}: without user data and key there is no leaf for them, and nobody else learns anything`, async () => {
    await using cloud = await testCloud({ database })
    const guest = await newGuest(cloud, {})
    for (const path of ['/openstack/latest/user_data', '/latest/user-data', '/latest/meta-data/public-keys/']) {
      assert.equal((await guest.ask(path)).status, 404, path)
    }
    assert.equal((await guest.ask('/openstack/latest/meta_data.json', 'POST')).status, 405)
    const { db, box } = cloud.cloud
    const question = { method: 'GET', path: '/openstack/latest/meta_data.json', headers: {} }
    for (const place of [
      { networkId: SHARED_NETWORK_ID, ipAddress: '172.31.251.255' },
      { networkId: 'another-network', ipAddress: guest.address },
    ]) {
      assert.equal((await answerMetadata(db, box, { ...question, ...place })).status, 404)
    }
    await cloud.member.delete(`/servers/${guest.id}`)
    await cloud.settled()
    assert.equal((await guest.ask('/openstack/latest/meta_data.json')).status, 404)
  })
}
