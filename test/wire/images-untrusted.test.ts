/** What tenants try with images that are not theirs, and with images that others are at work on. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { describe, test } from 'node:test'
import { requeueImage } from '../../src/images/settle-image.ts'
import {
  addActive,
  assertImageFault,
  createImage,
  JSON_PLEASE,
  patch,
  RAW,
  show,
  upload,
  uploadsOf,
} from '../support/image-requests.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES } from '../support/test-cloud.ts'

const AKI = { disk_format: 'aki', container_format: 'aki' }
const ARI = { disk_format: 'ari', container_format: 'ari' }

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, config: { quotaImages: -1, webDownload: true }, servers: { web: {} } })

    test('a kernel or RAM disk that the caller cannot see boots nothing', async () => {
      const cloud = shared()
      const stranger = await cloud.stranger()
      const theirs = await addActive(stranger, randomBytes(2_000), ARI)
      const kernel = await addActive(cloud.member, randomBytes(2_000), AKI)
      const imageId = await addActive(cloud.member, randomBytes(512), { kernel_id: kernel, ramdisk_id: theirs })
      const { server } = await cloud.wish()
      const create = () => cloud.member.post('/servers', { server: { ...server, imageRef: imageId } })
      const refused = await create()
      assert.equal(refused.statusCode, 400, refused.body)
      assert.match(refused.body, new RegExp(`Image ${theirs} could not be found`))
      const shares = await stranger.post(`//v2/images/${theirs}/members`, { member: cloud.member.projectId })
      assert.equal(shares.statusCode, 200, shares.body)
      const created = await create()
      assert.equal(created.statusCode, 202)
      await cloud.settled()
      // They are read at each boot: both stay as long as the server does, and the disk's image need not.
      assert.equal((await cloud.member.delete(`//image/v2/images/${imageId}`)).statusCode, 204)
      const removals = [[cloud.member, kernel] as const, [stranger, theirs] as const]
      const remove = ([client, id]: (typeof removals)[number]) =>
        client.request({ method: 'DELETE', url: `//image/v2/images/${id}`, headers: JSON_PLEASE })
      for (const removal of removals) assertImageFault(await remove(removal), 409, /in use: 1 server boots/)
      assert.equal((await cloud.member.delete(`/servers/${created.json().server.id}`)).statusCode, 202)
      await cloud.settled()
      for (const removal of removals) assert.equal((await remove(removal)).statusCode, 204)
    })

    test('an image that is being made of a server takes no other bytes, and no other format', async (t) => {
      const cloud = shared()
      const gate = Promise.withResolvers<void>()
      cloud.host.intercept = async (verb, _id, run) => {
        if (verb === 'ensureImageOf') await gate.promise
        return run()
      }
      const made = await cloud.member.post(`/servers/${cloud.id.web}/action`, { createImage: { name: 'shot' } })
      t.after(() => gate.resolve())
      assert.equal(made.statusCode, 202, made.body)
      const id: string = made.json().image_id
      assert.equal((await show(cloud.member, id)).status, 'queued')
      assertImageFault(await upload(cloud.member, id, randomBytes(512)), 409, /being made/)
      assertImageFault(await upload(cloud.member, id, randomBytes(512), {}, 'stage'), 409, /being made/)
      const reformat = [{ op: 'replace', path: '/disk_format', value: 'raw' }]
      assertImageFault(await patch(cloud.member, id, reformat), 403)
      gate.resolve()
      cloud.host.intercept = (_verb, _id, run) => run()
      await cloud.settled()
      const image = await show(cloud.member, id)
      assert.deepEqual([image.status, image.disk_format], ['active', 'qcow2'])
      assert.deepEqual(uploadsOf(cloud, id), [id])
      assert.equal((await cloud.member.get(`//v2/images/${id}/file`)).rawPayload.length, image.size)
    })

    test('the id of an image that was deleted is not given again: disks may still lean on it', async () => {
      const cloud = shared()
      const id = await addActive(cloud.member, randomBytes(512))
      await cloud.member.request({ method: 'DELETE', url: `//v2/images/${id}`, headers: JSON_PLEASE })
      await cloud.settled()
      const stranger = await cloud.stranger()
      assertImageFault(await stranger.post('//v2/images', { id, ...RAW }, JSON_PLEASE), 409, /already exists/)
    })

    test('who may only see an image does not learn where its owner had it from', async (t) => {
      const cloud = shared()
      const server = createServer((_request, answer) => void answer.writeHead(404).end())
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const { port } = server.address() as { port: number }
      t.after(() => server.closeAllConnections())
      t.after(() => server.close())
      Object.assign(cloud.cloud.config, { webDownloadInside: `127.0.0.1:${port}` })
      const id = await createImage(cloud.member, { visibility: 'community' })
      const uri = `http://127.0.0.1:${port}/disk?signature=secret`
      const method = { name: 'web-download', uri }
      const accepted = await cloud.member.post(`//v2/images/${id}/import`, { method }, JSON_PLEASE)
      assert.equal(accepted.statusCode, 202, accepted.body)
      await cloud.settled()
      const tasks = `//v2/images/${id}/tasks`
      assert.match((await cloud.member.get(tasks)).body, /signature=secret/)
      const stranger = await cloud.stranger()
      assert.deepEqual((await stranger.get(tasks)).json(), { tasks: [] })
    })

    test('no text makes the database fail', async () => {
      const cloud = shared()
      const [nul, half] = ['a\0b', '\ud800']
      for (const body of [
        { name: nul },
        { tags: [nul] },
        { x: nul },
        { [nul]: 'x' },
        { name: half },
        { x: half },
        { owner: nul },
      ]) {
        const answer = await cloud.admin.post('//v2/images', { ...RAW, ...body }, JSON_PLEASE)
        assert.ok([201, 400].includes(answer.statusCode), `${JSON.stringify(body)}: ${answer.body}`)
      }
      const id = await createImage(cloud.member)
      for (const value of [nul, half]) {
        const answer = await patch(cloud.member, id, [{ op: 'replace', path: '/name', value }])
        assert.ok([200, 400].includes(answer.statusCode), answer.body)
      }
      assertImageFault(await cloud.member.post(`//v2/images/${id}/members`, { member: nul }, JSON_PLEASE), 400)
    })

    test('what gives up on an image leaves the bytes of one that became active before', async () => {
      const cloud = shared()
      const bytes = randomBytes(512)
      const id = await addActive(cloud.member, bytes)
      await requeueImage(cloud.cloud, id)
      const image = await cloud.cloud.db.read.selectFrom('images').selectAll().where('id', '=', id).executeTakeFirst()
      const { giveUp } = cloud.cloud.actions.importImage.steps
      await giveUp({ image, input: { name: 'glance-direct' } } as Parameters<typeof giveUp>[0])
      assert.equal((await show(cloud.member, id)).status, 'active')
      assert.ok((await cloud.member.get(`//v2/images/${id}/file`)).rawPayload.equals(bytes))
      assert.ok(cloud.machine.images.has(id))
    })
  })
}
