/** Images that are staged and imported, or that Novella downloads itself: from where it may, and from nowhere else. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createServer, type RequestListener } from 'node:http'
import { describe, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { goodQcow2, goodRaw } from '../support/good-images.ts'
import {
  assertImageFault,
  assertQueued,
  createImage,
  JSON_PLEASE,
  show,
  upload,
  uploadsOf,
} from '../support/image-requests.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Client, DATABASES } from '../support/test-cloud.ts'
import { until } from '../support/until.ts'

const importIt = (client: Client, id: string, method: object) =>
  client.post(`//image/v2/images/${id}/import`, { method }, JSON_PLEASE)
const DIRECT = { name: 'glance-direct' }

/** A web server of this test's own. */
async function serve(listener: RequestListener) {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  return {
    at: `127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, config: { quotaImages: -1 } })

    test('staged bytes are imported', async () => {
      const cloud = shared()
      const id = await createImage(cloud.member, { disk_format: 'qcow2' })
      assertImageFault(await importIt(cloud.member, id, DIRECT), 409, /staged/)
      assert.equal((await upload(cloud.member, id, goodQcow2(), {}, 'stage')).statusCode, 204)
      assert.equal((await show(cloud.member, id)).status, 'uploading')
      assert.deepEqual(uploadsOf(cloud, id), [`${id}.staged`])
      assertImageFault(await upload(cloud.member, id, goodQcow2()), 409)
      assert.equal((await importIt(cloud.member, id, { ...DIRECT, stores: [] })).statusCode, 202)
      await cloud.settled()
      const image = await show(cloud.member, id)
      assert.deepEqual([image.status, image.size], ['active', goodQcow2().length])
      assert.ok(cloud.machine.images.has(id))
      assert.deepEqual(uploadsOf(cloud, id), [id])
      assert.ok((await cloud.member.get(`//v2/images/${id}/file`)).rawPayload.equals(goodQcow2()))
      const { tasks } = (await cloud.member.get(`//v2/images/${id}/tasks`)).json()
      assert.deepEqual([tasks.length, tasks[0].status, tasks[0].image_id], [1, 'success', id])
      assertImageFault(await importIt(cloud.member, id, DIRECT), 409)
    })

    test('staged bytes that are refused leave the image queued, with the reason', async () => {
      const cloud = shared()
      const id = await createImage(cloud.member, { disk_format: 'qcow2' })
      await upload(cloud.member, id, goodRaw(), {}, 'stage')
      await importIt(cloud.member, id, DIRECT)
      await cloud.settled()
      await assertQueued(cloud, cloud.member, id)
      assert.match(String((await show(cloud.member, id)).novella_refusal), /./)
      const { tasks } = (await cloud.member.get(`//v2/images/${id}/tasks`)).json()
      assert.equal(tasks[0].status, 'failure')
      assert.equal((await upload(cloud.member, id, goodQcow2())).statusCode, 204)
    })

    test('every host call of an import may be lost, and an image deleted in the middle leaves nothing', async () => {
      const cloud = shared()
      const { host } = cloud
      const before = host.intercept
      for (const lose of ['call', 'answer']) {
        const id = await createImage(cloud.member)
        await upload(cloud.member, id, goodRaw(), {}, 'stage')
        let isLost = false
        host.intercept = async (verb, key, run) => {
          if (verb !== 'ensureImage' || isLost) return before(verb, key, run)
          isLost = true
          if (lose === 'answer') await run()
          throw new Error(`the ${lose} is lost`)
        }
        await importIt(cloud.member, id, DIRECT)
        await cloud.advanceUntil(async () => (await show(cloud.member, id)).status === 'active')
        assert.ok(isLost)
        host.intercept = before
      }
      const id = await createImage(cloud.member)
      await upload(cloud.member, id, goodRaw(), {}, 'stage')
      const [arrived, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      host.intercept = async (verb, key, run) => {
        if (verb !== 'ensureImage') return before(verb, key, run)
        arrived.resolve()
        await gate.promise
        return run()
      }
      await importIt(cloud.member, id, DIRECT)
      await arrived.promise
      assert.equal((await cloud.member.delete(`//v2/images/${id}`)).statusCode, 204)
      gate.resolve()
      host.intercept = before
      await cloud.advanceUntil(() => !cloud.machine.images.has(id) && uploadsOf(cloud, id).length === 0)
    })

    test('downloads are off unless they are wished for', async () => {
      const cloud = shared()
      const id = await createImage(cloud.member)
      const uri = 'https://example.org/disk.raw'
      assertImageFault(await importIt(cloud.member, id, { name: 'web-download', uri }), 400, /not available/)
      assertImageFault(await importIt(cloud.member, id, { name: 'copy-image' }), 400)
      assertImageFault(await cloud.member.post(`//v2/images/${id}/import`, {}, JSON_PLEASE), 400)
      const info = (await cloud.member.get('//image/v2/info/import')).json()
      assert.deepEqual(info['import-methods'].value, ['glance-direct'])
    })
  })
}

describe('web-download', () => {
  const shared = sharedCloud({ config: { webDownload: true, quotaImages: -1 } })

  test('reaches no address that is not public, by whatever name or redirect', async () => {
    const cloud = shared()
    let asked = 0
    await using inner = await serve((_request, answer) => {
      asked++
      answer.end(goodRaw())
    })
    const refused = [
      ...[`http://${inner.at}/`, `http://localhost:${inner.at.split(':')[1]}/`, 'http://127.0.0.1/', 'http://127.1/'],
      ...['http://2130706433/', 'http://0x7f.1/', 'http://[::1]/', 'http://[::ffff:127.0.0.1]/', 'http://0.0.0.0/'],
      ...['http://169.254.169.254/latest/meta-data', 'http://10.0.0.1/', 'http://192.168.1.1/', 'http://[fe80::1]/'],
    ]
    for (const uri of refused) {
      const id = await createImage(cloud.member)
      assert.equal((await importIt(cloud.member, id, { name: 'web-download', uri })).statusCode, 202, uri)
      await cloud.advanceUntil(async () => (await show(cloud.member, id)).status === 'queued')
      assert.match(String((await show(cloud.member, id)).novella_refusal), /public addresses only/, uri)
    }
    assert.equal(asked, 0)
    for (const uri of ['file:///etc/passwd', 'ftp://example.org/x', 'x', 'http://user:pass@example.org/', undefined]) {
      const id = await createImage(cloud.member)
      assertImageFault(await importIt(cloud.member, id, { name: 'web-download', uri }), 400, /./, uri)
    }
  })

  test('takes images from where the operator allows it, and follows redirects only there', async () => {
    const cloud = shared()
    const bytes = Buffer.concat([randomBytes(2_000_000), goodRaw()])
    let secrets = 0
    await using secret = await serve((_request, answer) => {
      secrets++
      answer.end('secret')
    })
    await using mirror = await serve(({ url }, answer) => {
      if (url === '/moved') answer.writeHead(302, { location: '/disk.raw' }).end()
      else if (url === '/inward') answer.writeHead(302, { location: `http://${secret.at}/` }).end()
      else if (url === '/circle') answer.writeHead(302, { location: '/circle' }).end()
      else if (url === '/short') {
        answer.writeHead(200, { 'content-length': '5000' })
        answer.write('x')
        setImmediate(() => answer.destroy())
      } else if (url === '/missing') answer.writeHead(404).end()
      else answer.end(bytes)
    })
    Object.assign(cloud.cloud.config, { webDownloadInside: mirror.at })
    const from = async (path: string) => {
      const id = await createImage(cloud.member)
      assert.equal(
        (await importIt(cloud.member, id, { name: 'web-download', uri: `http://${mirror.at}${path}` })).statusCode,
        202,
      )
      return id
    }
    for (const path of ['/disk.raw', '/moved']) {
      const id = await from(path)
      await cloud.advanceUntil(async () => (await show(cloud.member, id)).status === 'active')
      assert.ok((await cloud.member.get(`//v2/images/${id}/file`)).rawPayload.equals(bytes))
    }
    for (const [path, why] of [
      ['/inward', /public/],
      ['/circle', /leads on/],
      ['/missing', /404/],
    ] as const) {
      const id = await from(path)
      await cloud.advanceUntil(async () => (await show(cloud.member, id)).status === 'queued')
      assert.match(String((await show(cloud.member, id)).novella_refusal), why)
      await assertQueued(cloud, cloud.member, id)
    }
    assert.equal(secrets, 0)
  })

  test('takes no more than there may be, nothing compressed, and no longer than six hours', async () => {
    const cloud = shared()
    const before = cloud.cloud.config.quotaImageGib
    let asked = 0
    let sent = 0
    const trickling = Promise.withResolvers<void>()
    await using mirror = await serve(({ url }, answer) => {
      asked++
      if (url === '/compressed') {
        answer.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(1_000_000)))
      } else if (url === '/slow') {
        answer.writeHead(200)
        answer.write('x')
        trickling.resolve()
      } else {
        const piece = Buffer.alloc(64 * 1024)
        const more = () => {
          while (!answer.destroyed && answer.write(piece)) sent += piece.length
        }
        answer.on('drain', more)
        more()
      }
    })
    const used = (await cloud.cloud.db.read.selectFrom('images').select('sizeBytes').execute()).reduce(
      (sum, { sizeBytes }) => sum + Number(sizeBytes ?? 0),
      0,
    )
    const quotaImageGib = (used + 3_000_000) / 1024 ** 3
    Object.assign(cloud.cloud.config, { webDownloadInside: mirror.at, quotaImageGib })
    for (const [path, why] of [
      ['/endless', /More than \d+ bytes come/],
      ['/compressed', /compressed/],
      ['/slow', /6 hours/],
    ] as const) {
      asked = 0
      const id = await createImage(cloud.member)
      const uri = `http://${mirror.at}${path}`
      assert.equal((await importIt(cloud.member, id, { name: 'web-download', uri })).statusCode, 202)
      if (path === '/slow') {
        await trickling.promise
        const receiver = () => cloud.cloud.imageUploads.find(id)?.receiver
        await until('the first byte is here', () => receiver() !== undefined)
        cloud.clock.advance(6 * 3_600_000 + 1)
      }
      await until('it is given up', async () => (await show(cloud.member, id)).status === 'queued')
      assert.match(String((await show(cloud.member, id)).novella_refusal), why)
      await assertQueued(cloud, cloud.member, id)
      assert.equal(asked, 1, 'it is not asked for once more')
      assert.equal(cloud.cloud.imageUploads.find(id), undefined)
    }
    // What connections hold on both sides comes on top.
    assert.ok(sent < 40_000_000, `${sent} bytes were sent`)
    Object.assign(cloud.cloud.config, { quotaImageGib: before })
  })
})
