/** Images of servers, and images that users bring, as a user has them: made by the API, and booted by it. Needs root. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { openAsBlob } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { QmpClient } from '../../src/host/qemu/qmp-client.ts'
import { serverFiles } from '../../src/host/qemu/server-files.ts'
import { TINY_IMAGE_ID } from '../../src/images/image-store.ts'
import { until } from '../support/until.ts'
import { run } from './bare-guest.ts'
import { shellIn } from './guest-agent.ts'
import { TenantCloud } from './tenant-cloud.ts'

let cloud: TenantCloud
let networkId = ''

before(async () => {
  cloud = await TenantCloud.open()
  networkId = (await cloud.makeNetwork('images', '10.78.0.0/24')).networkId
})
after(() => cloud?.[Symbol.asyncDispose]())

const filesOf = (serverId: string) => serverFiles(join(cloud.data.path, 'servers'), serverId)
const inside = (serverId: string, command: string): Promise<string> => shellIn(filesOf(serverId), command)

async function makeServer(name: string, imageRef: string): Promise<string> {
  const { flavors } = await cloud.client.get('/flavors')
  const flavorRef = flavors.find((flavor: { name: string }) => flavor.name === 'tiny').id
  const server = { name, flavorRef, imageRef, networks: [{ uuid: networkId }] }
  const { status, body } = await cloud.client.ask('POST', '/servers', { server })
  assert.equal(status, 202, JSON.stringify(body))
  return body.server.id
}

async function remove(...serverIds: string[]): Promise<void> {
  for (const id of serverIds) await cloud.client.ask('DELETE', `/servers/${id}`)
  for (const id of serverIds) await cloud.client.vanishes(id)
}

/** Asks the image service. */
async function images(method: string, path: string, body?: Blob | object) {
  const isBytes = body instanceof Blob
  const answer = await fetch(`${await cloud.novella.ready()}/v2/images${path}`, {
    method,
    headers: {
      'x-auth-token': cloud.client.token,
      'content-type': isBytes ? 'application/octet-stream' : 'application/json',
    },
    ...(body === undefined ? {} : { body: isBytes ? body : JSON.stringify(body) }),
  })
  const text = await answer.text()
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`)
  return text === '' ? undefined : JSON.parse(text)
}

/** Waits until an image is active; what is shown of it. */
async function untilActive(imageId: string) {
  return await until(`image ${imageId} is active`, async () => {
    const image = await images('GET', `/${imageId}`)
    assert.ok(['queued', 'saving', 'active'].includes(image.status), image.status)
    return image.status === 'active' ? image : undefined
  })
}

/** Has an image made of a server, and waits until it is active. */
async function imageOf(serverId: string, action: object): Promise<string> {
  const { status, body } = await cloud.client.ask('POST', `/servers/${serverId}/action`, action)
  assert.equal(status, 202, JSON.stringify(body))
  await untilActive(body.image_id)
  return body.image_id
}

const imageFile = (imageId: string): string => join(cloud.data.path, 'images', imageId, 'disk.qcow2')

/** Whether an image holds what the disk of a server holds, which nobody writes now; a guest that stands still has it open. */
async function assertSameAsDisk(serverId: string, imageId: string): Promise<void> {
  const { disk } = filesOf(serverId)
  await run('qemu-img', ['compare', '-U', '-f', 'qcow2', '-F', 'qcow2', disk, imageFile(imageId)])
  await run('qemu-img', ['check', '-q', '-f', 'qcow2', imageFile(imageId)])
}

/** Stands the guest's machine still, or lets it go on, behind Novella's back. */
async function tellMonitor(serverId: string, command: 'stop' | 'cont'): Promise<void> {
  const client = await QmpClient.connect(filesOf(serverId).tools, () => {}, AbortSignal.timeout(30_000))
  await client.execute(command)
  client.close()
}

/** Lines with a number and a checksum, each on the disk before the next; and something else that is written all the time. */
const LOAD = `
  (while :; do dd if=/dev/urandom of=/load bs=256k count=4 conv=fsync; done) >/dev/null 2>&1 &
  (i=0; while :; do i=$((i+1)); echo "$i $(echo "line $i" | md5sum)" >>/journal; sync; done) >/dev/null 2>&1 &
  true`

/** How many lines a journal has. @throws AssertionError when one is not as it was written, or missing. */
function readJournal(text: string): number {
  const lines = text.split('\n')
  for (const [index, line] of lines.entries()) {
    const sum = createHash('md5')
      .update(`line ${index + 1}\n`)
      .digest('hex')
    assert.equal(line, `${index + 1} ${sum}  -`, `line ${index + 1} of ${lines.length}`)
  }
  return lines.length
}

test('an image that a user uploads boots', async () => {
  const raw = join(cloud.data.path, 'mine.raw')
  await run('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', imageFile(TINY_IMAGE_ID), raw])
  const { id } = await images('POST', '', { name: 'mine', disk_format: 'raw', container_format: 'bare' })
  const bytes = await openAsBlob(raw)
  await images('PUT', `/${id}/file`, bytes)
  assert.equal((await untilActive(id)).size, bytes.size)
  const serverId = await makeServer('mine', id)
  await cloud.untilUp(serverId)
  await remove(serverId)
})

test('images of a server that writes, stands still or is off are what its disk was, and boot', async () => {
  const serverId = await makeServer('writer', TINY_IMAGE_ID)
  await cloud.client.becomes(serverId, 'ACTIVE')
  await inside(serverId, LOAD)
  const written = async () => Number((await inside(serverId, 'tail -n 1 /journal')).split(' ')[0])
  await until('it writes', async () => (await written().catch(() => 0)) > 10)

  const before = await written()
  const snapshot = await imageOf(serverId, { createImage: { name: 'snapshot' } })
  const between = await written()
  const backup = await imageOf(serverId, { createBackup: { name: 'backup', backup_type: 'daily', rotation: 1 } })
  await until('it goes on writing', async () => (await written()) > between)
  assert.equal((await cloud.client.get(`/servers/${serverId}`)).server.status, 'ACTIVE')

  await tellMonitor(serverId, 'stop')
  await cloud.client.becomes(serverId, 'PAUSED')
  const paused = await imageOf(serverId, { createImage: { name: 'paused' } })
  await assertSameAsDisk(serverId, paused)
  await cloud.client.becomes(serverId, 'PAUSED')
  await tellMonitor(serverId, 'cont')
  await cloud.client.becomes(serverId, 'ACTIVE')

  await cloud.client.act(serverId, { 'os-stop': null })
  await cloud.client.becomes(serverId, 'SHUTOFF')
  const stopped = await imageOf(serverId, { createImage: { name: 'stopped' } })
  await assertSameAsDisk(serverId, stopped)
  await cloud.client.becomes(serverId, 'SHUTOFF')
  await remove(serverId)

  const restored = [
    { server: await makeServer('from-snapshot', snapshot), least: before },
    { server: await makeServer('from-backup', backup), least: between },
  ]
  for (const { server, least } of restored) {
    await cloud.client.becomes(server, 'ACTIVE')
    const lines = readJournal(await inside(server, 'cat /journal'))
    assert.ok(lines >= least, `${lines} lines, ${least} were on the disk before`)
  }
  await remove(...restored.map(({ server }) => server))
})
