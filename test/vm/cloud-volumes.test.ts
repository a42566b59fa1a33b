/** Volumes and images of servers as a user has them: the API on one side, and real guests seen from inside. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { serverFiles } from '../../src/host/qemu/server-files.ts'
import { TINY_IMAGE_ID } from '../../src/images/image-store.ts'
import { until } from '../support/until.ts'
import { shellIn } from './guest-agent.ts'
import { TenantCloud } from './tenant-cloud.ts'

let cloud: TenantCloud
let networkId = ''

before(async () => {
  cloud = await TenantCloud.open()
  networkId = (await cloud.makeNetwork('disks', '10.77.0.0/24')).networkId
})
after(() => cloud?.[Symbol.asyncDispose]())

const accepted = ({ status, body }: { status: number; body: unknown }): void =>
  assert.ok(status === 200 || status === 202, `${status} ${JSON.stringify(body)}`)

async function makeServer(name: string, wish: object): Promise<string> {
  const { flavors } = await cloud.client.get('/flavors')
  const flavorRef = flavors.find((flavor: { name: string }) => flavor.name === 'tiny').id
  const server = { name, flavorRef, networks: [{ uuid: networkId }], ...wish }
  const made = await cloud.client.ask('POST', '/servers', { server })
  accepted(made)
  return made.body.server.id
}

const inside = (serverId: string, command: string): Promise<string> =>
  shellIn(serverFiles(join(cloud.data.path, 'servers'), serverId), command)

/** Waits until the guest's agent answers. */
const untilUp = async (serverId: string): Promise<void> => {
  await cloud.client.becomes(serverId, 'ACTIVE')
  await cloud.untilWorks(`the agent in ${serverId} answers`, () => inside(serverId, 'true'))
}

/** The name of a volume's device in a guest; empty when it has none. */
const deviceOf = (serverId: string, volumeId: string): Promise<string> =>
  inside(
    serverId,
    `for d in /sys/block/vd*; do [ "$(cat $d/serial)" = ${volumeId.slice(0, 20)} ] && basename $d; done; true`,
  )

const volumeBecomes = (id: string, wanted: string): Promise<unknown> =>
  until(`volume ${id} is ${wanted}`, async () => {
    const { status } = (await cloud.client.get(`/volumes/${id}`)).volume
    assert.ok(!/error/.test(status), status)
    return status === wanted
  })

async function attach(serverId: string, volumeId: string): Promise<string> {
  accepted(
    await cloud.client.ask('POST', `/servers/${serverId}/os-volume_attachments`, { volumeAttachment: { volumeId } }),
  )
  await volumeBecomes(volumeId, 'in-use')
  return until('the guest has the volume', () => deviceOf(serverId, volumeId))
}

async function remove(serverId: string): Promise<void> {
  accepted(await cloud.client.ask('DELETE', `/servers/${serverId}`))
  await cloud.client.vanishes(serverId)
}

test('a volume carries bytes from a guest of an image to one that boots from a volume', async () => {
  const root = { uuid: TINY_IMAGE_ID, source_type: 'image', destination_type: 'volume', boot_index: 0, volume_size: 1 }
  const first = await makeServer('image', { imageRef: TINY_IMAGE_ID })
  const second = await makeServer('volume', {
    imageRef: '',
    block_device_mapping_v2: [{ ...root, delete_on_termination: true }],
  })
  const made = await cloud.client.ask('POST', '/volumes', { volume: { size: 1, display_name: 'data' } })
  accepted(made)
  const volumeId: string = made.body.volume.id
  await volumeBecomes(volumeId, 'available')
  for (const id of [first, second]) await untilUp(id)

  const device = await attach(first, volumeId)
  await inside(first, `dd if=/dev/urandom of=/dev/${device} bs=1M count=4 conv=fsync`)
  const sum = await inside(first, `dd if=/dev/${device} bs=1M count=4 | sha256sum`)
  accepted(await cloud.client.ask('DELETE', `/servers/${first}/os-volume_attachments/${volumeId}`))
  await volumeBecomes(volumeId, 'available')
  assert.equal(await deviceOf(first, volumeId), '')

  // A killed Novella changes nothing for guests, and the next one goes on.
  await cloud.novella.stop('SIGKILL')
  await cloud.start()

  const there = await attach(second, volumeId)
  assert.equal(await inside(second, `dd if=/dev/${there} bs=1M count=4 | sha256sum`), sum)
  const { server } = await cloud.client.get(`/servers/${second}`)
  assert.equal(server.image, '')
  const [rootId = ''] = server['os-extended-volumes:volumes_attached'].map(({ id }: { id: string }) => id)
  assert.equal(await deviceOf(second, rootId), 'vda')

  // The guest comes back with both.
  await cloud.client.act(second, { reboot: { type: 'HARD' } })
  await untilUp(second)
  assert.equal(await inside(second, `dd if=/dev/${await deviceOf(second, volumeId)} bs=1M count=4 | sha256sum`), sum)

  await remove(second)
  await volumeBecomes(volumeId, 'available')
  assert.equal((await cloud.client.ask('GET', `/volumes/${rootId}`)).status, 404)
  assert.equal(existsSync(join(cloud.data.path, 'volumes', rootId)), false)
  await remove(first)
  accepted(await cloud.client.ask('DELETE', `/volumes/${volumeId}`))
  await until('the volume is gone', async () => (await cloud.client.ask('GET', `/volumes/${volumeId}`)).status === 404)
})
