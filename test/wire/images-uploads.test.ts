/** Bytes of images: up, checked, down again; and what is left when they do not come. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { statSync, truncateSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { describe, test } from 'node:test'
import { HostError } from '../../src/host/host-driver.ts'
import { DISK_FORMATS } from '../../src/images/image-formats.ts'
import { DISK_BYTES, goodIso, goodQcow2, goodRaw, goodVdi, goodVmdk } from '../support/good-images.ts'
import { HOSTILE_IMAGES } from '../support/hostile-images.ts'
import {
  addActive,
  assertImageFault,
  assertQueued,
  createImage,
  JSON_PLEASE,
  OCTETS,
  show,
  upload,
  uploadsOf,
} from '../support/image-requests.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES, type TestCloud } from '../support/test-cloud.ts'
import { until } from '../support/until.ts'

const hash = (algorithm: string, bytes: Buffer) => createHash(algorithm).update(bytes).digest('hex')

/** A connection of its own to the image's file, to be broken off. */
async function open(cloud: TestCloud, id: string, headers: Record<string, string> = {}, part = 'file') {
  if (!cloud.app.server.listening) await cloud.app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = cloud.app.server.address() as { port: number }
  const outgoing = request({
    ...{ host: '127.0.0.1', port, method: 'PUT', path: `/image/v2/images/${id}/${part}`, agent: false },
    headers: { 'x-auth-token': cloud.member.token, ...JSON_PLEASE, ...OCTETS, ...headers },
  })
  const answered = new Promise<{ status: number; headers: NodeJS.Dict<string | string[]>; body: string }>(
    (resolve, reject) => {
      outgoing.once('error', reject)
      outgoing.once('response', async (answer) => {
        const body = Buffer.concat(await answer.toArray()).toString()
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body })
      })
    },
  )
  answered.catch(() => {})
  return { outgoing, answered }
}

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, config: { quotaImages: -1 } })

    test('what was uploaded comes down again, with its sizes and hashes', async () => {
      const cloud = shared()
      // More than one slot of the ring, with zeros inside and at the end, and no round size.
      const bytes = Buffer.concat([
        randomBytes(1_500_000),
        Buffer.alloc(3_000_000),
        randomBytes(70_001),
        Buffer.alloc(9),
      ])
      const id = await addActive(cloud.member, bytes)
      const image = await show(cloud.member, id)
      assert.equal(image.status, 'active')
      assert.equal(image.size, bytes.length)
      assert.equal(image.virtual_size, Math.ceil(bytes.length / 512) * 512)
      assert.equal(image.checksum, hash('md5', bytes))
      assert.deepEqual([image.os_hash_algo, image.os_hash_value], ['sha512', hash('sha512', bytes)])
      assert.ok(cloud.machine.images.has(id))
      assert.deepEqual(uploadsOf(cloud, id), [id])
      const { size, blocks } = statSync(join(cloud.dataDirectory, 'uploads', id))
      assert.equal(size, bytes.length)
      assert.ok(blocks * 512 < 2_500_000, 'zeros take no room')
      for (const path of ['//image/v2/images', '//v2/images', '//image/v2/v2/images']) {
        const file = await cloud.member.get(`${path}/${id}/file`)
        assert.equal(file.statusCode, 200)
        assert.ok(file.rawPayload.equals(bytes))
        assert.equal(file.headers['content-md5'], image.checksum)
        assert.equal(file.headers['content-type'], 'application/octet-stream')
        assert.equal(file.headers['content-length'], String(bytes.length))
      }
    })

    test('a stream of unknown length is taken', async () => {
      const cloud = shared()
      const id = await createImage(cloud.member)
      const { outgoing, answered } = await open(cloud, id)
      const pieces = Array.from({ length: 40 }, () => randomBytes(50_000))
      Readable.from(pieces).pipe(outgoing)
      assert.equal((await answered).status, 204)
      assert.equal((await show(cloud.member, id)).checksum, hash('md5', Buffer.concat(pieces)))
    })

    test('parts are sent down as they are asked for', async () => {
      const cloud = shared()
      const bytes = randomBytes(1_000)
      const id = await addActive(cloud.member, bytes)
      const get = (range: string) => cloud.member.get(`//image/v2/images/${id}/file`, { ...JSON_PLEASE, range })
      for (const [range, from, to] of [
        ['bytes=0-9', 0, 9],
        ['bytes=990-', 990, 999],
        ['bytes=990-5000', 990, 999],
        ['bytes=-1', 999, 999],
        ['bytes=-5000', 0, 999],
      ] as const) {
        const answer = await get(range)
        assert.equal(answer.statusCode, 206, range)
        assert.equal(answer.headers['content-range'], `bytes ${from}-${to}/1000`)
        assert.ok(answer.rawPayload.equals(bytes.subarray(from, to + 1)), range)
        assert.equal(answer.headers['content-md5'], undefined)
      }
      for (const range of ['bytes=1000-', 'bytes=5000-6000', 'bytes=-0']) {
        const answer = await get(range)
        assertImageFault(answer, 416)
        assert.equal(answer.headers['content-range'], 'bytes */1000')
      }
      for (const range of ['bytes=0-1,5-6', 'pages=1-2', 'bytes=9-3', 'x']) {
        const answer = await get(range)
        assert.equal(answer.statusCode, 200, range)
        assert.equal(answer.rawPayload.length, 1_000)
      }
    })

    test('formats are taken as they were declared, and the disk in them has its size', async () => {
      const cloud = shared()
      for (const [disk_format, bytes] of [
        ['raw', Buffer.concat([goodRaw(), Buffer.alloc(DISK_BYTES - goodRaw().length)])],
        ['qcow2', goodQcow2()],
        ['vmdk', goodVmdk()],
        ['vdi', goodVdi()],
      ] as const) {
        const id = await addActive(cloud.member, bytes, { disk_format })
        assert.equal((await show(cloud.member, id)).virtual_size, DISK_BYTES, disk_format)
        const seen = (await cloud.member.get(`//image/v2/images/${id}/inspection`)).json()
        assert.deepEqual([seen.outcome, seen.format, seen.refusal], ['passed', disk_format, null])
        assert.ok(seen.checks.length > 2)
      }
      const kernel = await addActive(cloud.member, randomBytes(2_000), { disk_format: 'aki', container_format: 'aki' })
      assert.equal((await show(cloud.member, kernel)).virtual_size, null)
      assert.equal(
        (await show(cloud.member, await addActive(cloud.member, goodIso(), { disk_format: 'iso' }))).status,
        'active',
      )
    })

    test('hostile images are refused, each with its reason, and leave nothing', async () => {
      const cloud = shared()
      for (const { name, format, make } of HOSTILE_IMAGES.filter(
        // Formats that nobody can declare are refused before.
        (image, n) => n % 4 === 0 && DISK_FORMATS.includes(image.format),
      )) {
        const id = await createImage(cloud.member, {
          disk_format: format,
          container_format: /^a.i$/.test(format) ? format : 'bare',
        })
        const answer = await upload(cloud.member, id, make())
        assertImageFault(answer, 400, /./, name)
        await assertQueued(cloud, cloud.member, id)
        const seen = (await cloud.member.get(`//image/v2/images/${id}/inspection`)).json()
        assert.equal(seen.outcome, 'refused', name)
        assert.equal(seen.refusal.message, answer.json().message)
        assert.equal(seen.checks.at(-1).outcome, 'refused')
        assert.equal((await show(cloud.member, id)).novella_refusal, answer.json().message)
      }
    })

    test('a refused image takes better bytes, and shows no refusal then', async () => {
      const cloud = shared()
      const id = await createImage(cloud.member, { disk_format: 'qcow2' })
      assertImageFault(await upload(cloud.member, id, goodRaw()), 400)
      assert.equal((await upload(cloud.member, id, goodQcow2())).statusCode, 204)
      assert.equal('novella_refusal' in (await show(cloud.member, id)), false)
    })

    test('what a host finds wrong, or has no room for, is the same', async () => {
      const cloud = shared()
      const { host } = cloud
      const before = host.intercept
      for (const [failure, status] of [
        ['badImage', 400],
        ['noSpace', 413],
      ] as const) {
        const id = await createImage(cloud.member)
        host.intercept = async (verb, key, run) => {
          if (verb === 'ensureImage') throw new HostError(failure, 'The clusters point in circles.')
          return before(verb, key, run)
        }
        assertImageFault(await upload(cloud.member, id, goodRaw()), status, /circles/)
        host.intercept = before
        await assertQueued(cloud, cloud.member, id)
        assert.equal((await upload(cloud.member, id, goodRaw())).statusCode, 204)
      }
    })

    test('an image takes bytes once, and only as octets', async () => {
      const cloud = shared()
      const id = await createImage(cloud.member)
      for (const type of ['application/json', 'text/plain', 'multipart/form-data; boundary=x']) {
        assertImageFault(await upload(cloud.member, id, goodRaw(), { 'content-type': type }), 415)
      }
      assert.equal((await upload(cloud.member, id, goodRaw())).statusCode, 204)
      assertImageFault(await upload(cloud.member, id, goodRaw()), 409, /active/)
      const formless = await cloud.member.post('//image/v2/images', { name: 'formless' })
      assertImageFault(await upload(cloud.member, formless.json().id, goodRaw()), 400, /disk_format/)
      assert.equal((await cloud.member.get(`//image/v2/images/${formless.json().id}/file`)).statusCode, 204)
      const stranger = await cloud.stranger()
      assertImageFault(await upload(stranger, id, goodRaw()), 404)
      const reader = await cloud.stranger('reader')
      assertImageFault(await upload(reader, id, goodRaw()), 403)
    })

    test('a client that hangs up, or is second, or too large, leaves the image queued', async () => {
      const cloud = shared()
      const id = await createImage(cloud.member)
      const first = await open(cloud, id, { 'content-length': '5000000' })
      first.outgoing.write(randomBytes(1_200_000))
      await until('the image is saving', async () => (await show(cloud.member, id)).status === 'saving')
      assertImageFault(await upload(cloud.member, id, goodRaw()), 409)
      assert.equal((await cloud.member.get(`//image/v2/images/${id}/file`)).statusCode, 204)
      first.outgoing.destroy()
      await until('the image is queued', async () => (await show(cloud.member, id)).status === 'queued')
      await assertQueued(cloud, cloud.member, id)
      assert.equal((await upload(cloud.member, id, goodRaw())).statusCode, 204)
    })

    test('an image that is deleted while it arrives is gone, and its bytes too', async () => {
      const cloud = shared()
      const id = await createImage(cloud.member)
      const { outgoing, answered } = await open(cloud, id)
      outgoing.write(randomBytes(200_000))
      await until('the file is there', async () => uploadsOf(cloud, id).length === 1)
      assert.equal((await cloud.member.delete(`//image/v2/images/${id}`)).statusCode, 204)
      assert.equal((await answered).status, 404)
      outgoing.destroy()
      await cloud.settled()
      await until('the file is gone', async () => uploadsOf(cloud, id).length === 0)
      assertImageFault(await cloud.member.get(`//image/v2/images/${id}`, JSON_PLEASE), 404)
    })

    test('a client that sends parts goes on where it was', async () => {
      const cloud = shared()
      const bytes = randomBytes(2_500_000)
      const id = await createImage(cloud.member)
      const part = (from: number, to: number, total = bytes.length) =>
        upload(cloud.member, id, bytes.subarray(from, to + 1), { 'content-range': `bytes ${from}-${to}/${total}` })
      assertImageFault(await part(10, 20), 409, /Nothing/)
      const first = await part(0, 999_999)
      assert.deepEqual([first.statusCode, first.headers.range], [202, 'bytes=0-999999'])
      assert.equal((await show(cloud.member, id)).status, 'saving')
      assertImageFault(await part(999_999, 1_500_000), 409, /1000000/)
      assertImageFault(await part(1_000_000, 1_500_000, 3_000_000), 409)

      const broken = await open(cloud, id, {
        'content-range': 'bytes 1000000-2499999/2500000',
        'content-length': '1500000',
      })
      broken.outgoing.write(bytes.subarray(1_000_000, 1_300_000))
      await until('more is here', async () => (cloud.cloud.imageUploads.find(id)?.receiver?.sizeBytes ?? 0) > 1_000_000)
      broken.outgoing.destroy()
      await until('the break is noticed', async () => cloud.cloud.imageUploads.find(id)?.isBusy === false)
      const asked = await upload(cloud.member, id, Buffer.alloc(0), { 'content-range': 'bytes */2500000' })
      const here = Number(/^bytes=0-(\d+)$/.exec(String(asked.headers.range))?.[1]) + 1
      assert.ok(asked.statusCode === 202 && here > 1_000_000 && here <= 1_300_000)
      assert.equal((await part(here, bytes.length - 1)).statusCode, 204)
      assert.equal((await show(cloud.member, id)).checksum, hash('md5', bytes))
    })

    test('a client that is away for minutes gives its place to others, and goes on all the same', async () => {
      const cloud = shared()
      const { imageUploads } = cloud.cloud
      // More than a slot of the ring, zeros at the end of what is here, and no round number.
      const bytes = Buffer.concat([randomBytes(1_200_000), Buffer.alloc(300_000), randomBytes(400_000)])
      const part = (id: string, from: number, to: number) =>
        upload(cloud.member, id, bytes.subarray(from, to), {
          'content-range': `bytes ${from}-${to - 1}/${bytes.length}`,
        })
      const ids: string[] = []
      for (let n = 0; n < 8; n++) {
        const id = await createImage(cloud.member)
        assert.equal((await part(id, 0, n === 0 ? 1_450_000 : 10)).statusCode, 202)
        ids.push(id)
      }
      const [first = '', second = ''] = ids
      const ninth = await createImage(cloud.member)
      const refused = await upload(cloud.member, ninth, goodRaw())
      assertImageFault(refused, 429, /Too many/)
      assert.ok(Number(refused.headers['retry-after']) > 0)
      await assertQueued(cloud, cloud.member, ninth)

      cloud.clock.advance(300_001)
      assert.ok(ids.every((id) => imageUploads.find(id)?.receiver === undefined))
      assert.equal((await upload(cloud.member, ninth, goodRaw())).statusCode, 204)
      const asked = await upload(cloud.member, first, Buffer.alloc(0), { 'content-range': `bytes */${bytes.length}` })
      assert.deepEqual([asked.statusCode, asked.headers.range], [202, 'bytes=0-1449999'])
      assertImageFault(await part(first, 10, 20), 409, /1450000/)
      assert.equal((await part(first, 1_450_000, 1_450_001)).statusCode, 202)
      assert.equal((await part(first, 1_450_001, bytes.length)).statusCode, 204)
      assert.equal((await show(cloud.member, first)).checksum, hash('md5', bytes))
      assert.ok((await cloud.member.get(`//image/v2/images/${first}/file`)).rawPayload.equals(bytes))

      // Whose kept file is not what it was begins again.
      truncateSync(join(cloud.dataDirectory, 'uploads', `${second}.part`), 3)
      assert.equal((await part(second, 10, 20)).statusCode, 500)
      await assertQueued(cloud, cloud.member, second)
      cloud.clock.advance(3_600_001)
      for (const id of ids.slice(2)) {
        await until('the image is queued', async () => (await show(cloud.member, id)).status === 'queued')
        await assertQueued(cloud, cloud.member, id)
      }
    })

    test('a client that was broken off before its first byte, and was away for minutes, begins all the same', async () => {
      const cloud = shared()
      const bytes = goodRaw()
      const id = await createImage(cloud.member)
      const broken = await open(cloud, id, {
        'content-range': `bytes 0-${bytes.length - 1}/${bytes.length}`,
        'content-length': String(bytes.length),
      })
      broken.outgoing.flushHeaders()
      await until('it is begun', async () => (await show(cloud.member, id)).status === 'saving')
      broken.outgoing.destroy()
      await until('the break is noticed', async () => cloud.cloud.imageUploads.find(id)?.isBusy === false)
      cloud.clock.advance(300_001)
      const range = { 'content-range': `bytes 0-${bytes.length - 1}/${bytes.length}` }
      const answer = await upload(cloud.member, id, bytes, range)
      assert.equal(answer.statusCode, 204, answer.body)
      assert.equal((await show(cloud.member, id)).checksum, hash('md5', bytes))
    })

    test('what arrives counts against the quota before it is whole', async () => {
      const cloud = shared()
      const { config } = cloud.cloud
      const before = config.quotaImageGib
      const id = await createImage(cloud.member)
      const other = await createImage(cloud.member)
      try {
        const { used } = await cloud.cloud.db.read
          .selectFrom('images')
          .select(({ fn }) => fn.sum<number>('sizeBytes').as('used'))
          .where('projectId', '=', cloud.member.projectId)
          .executeTakeFirstOrThrow()
        Object.assign(config, { quotaImageGib: (Number(used) + 1_000_000) / 1024 ** 3 })
        const range = { 'content-range': 'bytes 0-599999/700000' }
        assert.equal((await upload(cloud.member, id, randomBytes(600_000), range)).statusCode, 202)
        assertImageFault(await upload(cloud.member, other, randomBytes(500_000)), 413, /Quota/)
        await assertQueued(cloud, cloud.member, other)
        assert.equal((await upload(cloud.member, other, randomBytes(300_000))).statusCode, 204)
      } finally {
        Object.assign(config, { quotaImageGib: before })
        await cloud.member.delete(`//image/v2/images/${id}`)
      }
    })

    test('parts that do not come any more are given up', async () => {
      const cloud = shared()
      const id = await createImage(cloud.member)
      await upload(cloud.member, id, randomBytes(10), { 'content-range': 'bytes 0-9/100' })
      assert.equal(uploadsOf(cloud, id).length, 1)
      cloud.clock.advance(3_600_001)
      await until('the image is queued', async () => (await show(cloud.member, id)).status === 'queued')
      await assertQueued(cloud, cloud.member, id)
      for (const range of ['bytes 0-9', 'bytes 9-0/10', 'bytes 0-10/10', 'x', 'bytes 0-5/100']) {
        assertImageFault(await upload(cloud.member, id, randomBytes(10), { 'content-range': range }), 400, /./, range)
      }
    })
  })
}

describe('limits', () => {
  const shared = sharedCloud({ config: { largestImageGib: 0, quotaImages: 3, quotaImageGib: 0 } })

  test('what is larger than may be is refused before it comes, and while it comes', async () => {
    const cloud = shared()
    const id = await createImage(cloud.member)
    assertImageFault(await upload(cloud.member, id, randomBytes(100)), 413, /larger than 0 GiB/)
    await assertQueued(cloud, cloud.member, id)
    Object.assign(cloud.cloud.config, { largestImageGib: 1 })
    assertImageFault(await upload(cloud.member, id, randomBytes(100)), 413, /Quota/)
    Object.assign(cloud.cloud.config, { quotaImageGib: 1e6 / 1024 ** 3 })
    const { outgoing, answered } = await open(cloud, id)
    outgoing.on('error', () => {})
    outgoing.write(randomBytes(1_500_000))
    const answer = await answered
    assert.equal(answer.status, 413, answer.body)
    outgoing.destroy()
    await assertQueued(cloud, cloud.member, id)
    assert.equal((await upload(cloud.member, id, randomBytes(900_000))).statusCode, 204)
    const next = await createImage(cloud.member)
    assertImageFault(await upload(cloud.member, next, randomBytes(200_000)), 413, /Quota/)
    Object.assign(cloud.cloud.config, { quotaImageGib: -1 })
    await createImage(cloud.member)
    assertImageFault(await cloud.member.post('//image/v2/images', {}, JSON_PLEASE), 413, /3 images of 3/)
  })
})
