/** S12 createImage, and createBackup: the image row from the first moment, what it says, and who may ask when. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import type { Row } from '../../src/db/schema.ts'
import { HostError } from '../../src/host/host-driver.ts'
import { assertFault, assertRequestIds } from '../support/assert-fault.ts'
import { uploadsOf } from '../support/image-requests.ts'
import { untilDone } from '../support/scenarios.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Answer, DATABASES, type TestCloud } from '../support/test-cloud.ts'
import { addVolume } from '../support/volumes.ts'

const S12 = JSON.parse(readFileSync(new URL('../fixtures/uos/S12.request.json', import.meta.url), 'utf8'))

const act = (cloud: TestCloud, name: string, body: object, headers?: Record<string, string>): Promise<Answer> =>
  cloud.member.post(`/servers/${cloud.id[name] ?? name}/action`, body, headers)

async function imageRow(
  cloud: TestCloud,
  id: string,
): Promise<(Row<'images'> & { of: Record<string, string> }) | undefined> {
  const row = await cloud.cloud.db.read.selectFrom('images').selectAll().where('id', '=', id).executeTakeFirst()
  return row && { ...row, of: JSON.parse(row.properties) }
}

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, servers: { web: {}, off: {}, busy: {} } })

    test('S12: the image is there at once, says where it came from, and a server can be made from it', async () => {
      const cloud = shared()
      const id = cloud.id.web ?? ''
      const gate = Promise.withResolvers<void>()
      cloud.host.intercept = async (verb, _id, run) => {
        if (verb === 'ensureImageOf') await gate.promise
        return run()
      }
      const answer = await act(cloud, 'web', S12)
      assert.equal(answer.statusCode, 202, answer.body)
      assertRequestIds(answer)
      const { image_id: imageId } = answer.json()
      assert.equal(new URL(String(answer.headers.location)).pathname, `/v2/images/${imageId}`)
      const queued = await cloud.member.get(`//v2/images/${imageId}`)
      assert.deepEqual([queued.statusCode, queued.json().status, queued.json().myvar], [200, 'queued', 'foobar'])
      const during = (await cloud.member.get(`/servers/${id}`)).json().server
      assert.deepEqual([during.status, during['OS-EXT-STS:task_state']], ['ACTIVE', 'image_snapshot'])
      assertFault(await act(cloud, 'web', S12), 409, /'createImage'.* task_state image_snapshot/)
      assertFault(await act(cloud, 'web', { 'os-stop': null }), 409, /task_state image_snapshot/)
      gate.resolve()
      await untilDone(cloud, id)
      cloud.host.intercept = (_verb, _id, run) => run()

      const image = (await imageRow(cloud, imageId)) ?? assert.fail()
      const { imageRef } = (await cloud.wish()).server
      assert.deepEqual(
        [image.name, image.status, image.visibility, image.projectId, image.minDiskGib, image.minRamMib],
        ['foo-iamge', 'active', 'private', cloud.member.projectId, 1, 96],
      )
      assert.deepEqual(image.of, {
        os_admin_user: 'root',
        login_user: 'root',
        hw_qemu_guest_agent: 'yes',
        os_type: 'linux',
        myvar: 'foobar',
        image_type: 'snapshot',
        image_location: 'snapshot',
        instance_uuid: id,
        base_image_ref: imageRef,
        user_id: cloud.member.userId,
        owner_id: cloud.member.projectId,
      })
      assert.ok((image.sizeBytes ?? 0) > 0 && image.checksum !== null && image.hashValue !== null)
      const after = await cloud.server('web')
      assert.deepEqual([after.vmState, after.taskState, after.faultMessage], ['active', null, null])

      const again = await cloud.member.post('/servers', await cloud.wish({ imageRef: imageId }))
      assert.equal(again.statusCode, 202, again.body)
      await untilDone(cloud, again.json().server.id)
      assert.equal((await cloud.server(again.json().server.id)).vmState, 'active')
    })

    test('a stopped, a paused and a locked server give images too, and stay as they are', async () => {
      const cloud = shared()
      await act(cloud, 'off', { 'os-stop': null })
      await cloud.settled()
      for (const change of [
        { isLocked: 0 },
        { isLocked: 1 },
        { isLocked: 0, vmState: 'paused', powerState: 3 },
      ] as const) {
        await cloud.cloud.db.transaction((tx) =>
          tx
            .updateTable('servers')
            .set(change)
            .where('id', '=', cloud.id.off ?? '')
            .executeTakeFirst(),
        )
        const { vmState } = await cloud.server('off')
        const answer = await act(cloud, 'off', { createImage: { name: 'of off', metadata: null } })
        assert.equal(answer.statusCode, 202, answer.body)
        await untilDone(cloud, cloud.id.off ?? '')
        assert.equal((await imageRow(cloud, answer.json().image_id))?.status, 'active')
        const after = await cloud.server('off')
        assert.equal(after.taskState, null)
        // The sweep sees that the paused one is off in truth.
        assert.ok(after.vmState === vmState || after.vmState === 'stopped')
      }
    })

    test('an image asked for again under its Idempotency-Key is one image', async () => {
      const cloud = shared()
      const ask = () => act(cloud, 'web', { createImage: { name: 'once' } }, { 'idempotency-key': 'one-image' })
      const first = await ask()
      await untilDone(cloud, cloud.id.web ?? '')
      const again = await ask()
      assert.deepEqual([again.statusCode, again.json()], [202, first.json()])
    })

    test('an image that is deleted while it is made leaves nothing, and the server goes on', async () => {
      const cloud = shared()
      const id = cloud.id.busy ?? ''
      const gate = Promise.withResolvers<void>()
      cloud.host.intercept = async (verb, _id, run) => {
        const answer = await run()
        if (verb === 'ensureImageOf') await gate.promise
        return answer
      }
      const { image_id: imageId } = (await act(cloud, 'busy', { createImage: { name: 'short' } })).json()
      await cloud.cloud.db.transaction((tx) => tx.deleteFrom('images').where('id', '=', imageId).executeTakeFirst())
      gate.resolve()
      await untilDone(cloud, id)
      assert.ok(!cloud.machine.images.has(imageId))
      assert.deepEqual([(await cloud.server('busy')).vmState, (await cloud.server('busy')).taskState], ['active', null])
      cloud.host.intercept = (_verb, _id, run) => run()
    })

    test('backups of a type are rotated; those of other types, and protected ones, stay', async () => {
      const cloud = shared()
      const backUp = async (type: string, rotation: number | string) => {
        const answer = await act(cloud, 'web', {
          createBackup: { name: 'b', backup_type: type, rotation, metadata: {} },
        })
        assert.equal(answer.statusCode, 202, answer.body)
        await untilDone(cloud, cloud.id.web ?? '')
        cloud.clock.advance(1_000)
        return answer
      }
      const weekly = (await backUp('weekly', 1)).json().image_id
      const [first, second, third] = [
        (await backUp('daily', 2)).json().image_id,
        (await backUp('daily', 2)).json().image_id,
        (await backUp('daily', '2')).json().image_id,
      ]
      const statuses = async (...ids: string[]) =>
        Promise.all(ids.map(async (one) => (await imageRow(cloud, one))?.status ?? 'gone'))
      assert.deepEqual(await statuses(weekly, first, second, third), ['active', 'gone', 'active', 'active'])
      await cloud.settled()
      assert.ok(!cloud.machine.images.has(first))
      assert.deepEqual(uploadsOf(cloud, first), [])
      const { of } = (await imageRow(cloud, third)) ?? assert.fail()
      assert.deepEqual([of.image_type, of.backup_type], ['backup', 'daily'])
      await cloud.cloud.db.transaction((tx) =>
        tx.updateTable('images').set({ isProtected: 1 }).where('id', '=', second).executeTakeFirst(),
      )
      const none = await backUp('daily', 0)
      assert.deepEqual([none.headers.location, none.json()], [undefined, {}])
      assert.deepEqual(await statuses(weekly, second, third), ['active', 'active', 'gone'])
      assert.equal((await cloud.actions('web')).at(-1), 'createBackup Success')
    })

    test('a backup that takes the place of another has it deleted, however long its host does not answer', async () => {
      const cloud = shared()
      const backUp = async () => {
        const answer = await act(cloud, 'web', { createBackup: { name: 'b', backup_type: 'hourly', rotation: 1 } })
        assert.equal(answer.statusCode, 202, answer.body)
        await untilDone(cloud, cloud.id.web ?? '')
        cloud.clock.advance(1_000)
        return String(answer.json().image_id)
      }
      const old = await backUp()
      let isAway = true
      cloud.host.intercept = async (verb, _id, run) => {
        if (verb === 'removeImage' && isAway) throw new HostError('unreachable', 'The host is away.')
        return run()
      }
      const newest = await backUp()
      assert.equal(await imageRow(cloud, old), undefined)
      assert.equal((await imageRow(cloud, newest))?.status, 'active')
      assert.ok(cloud.machine.images.has(old))
      isAway = false
      await cloud.advanceUntil(() => !cloud.machine.images.has(old) && uploadsOf(cloud, old).length === 0)
      assert.ok(cloud.machine.images.has(newest))
      cloud.host.intercept = (_verb, _id, run) => run()
    })

    test('an image that turns out larger than the quota has room for is removed, and the server goes on', async () => {
      const cloud = shared()
      const { config, db } = cloud.cloud
      const before = config.quotaImageGib
      const { projectId } = cloud.member
      const images = await db.read.selectFrom('images').select('sizeBytes').where('projectId', '=', projectId).execute()
      const used = images.reduce((sum, { sizeBytes }) => sum + Number(sizeBytes ?? 0), 0)
      try {
        Object.assign(config, { quotaImageGib: (used + 1) / 1024 ** 3 })
        const answer = await act(cloud, 'web', { createImage: { name: 'too large' } })
        assert.equal(answer.statusCode, 202, answer.body)
        await untilDone(cloud, cloud.id.web ?? '')
        const { image_id } = answer.json()
        assert.equal(await imageRow(cloud, image_id), undefined)
        assert.ok(!cloud.machine.images.has(image_id))
        assert.deepEqual(uploadsOf(cloud, image_id), [])
        const { vmState, taskState } = await cloud.server('web')
        assert.deepEqual([vmState, taskState], ['active', null])
        assert.equal((await cloud.actions('web')).at(-1), 'createImage Error')
      } finally {
        Object.assign(config, { quotaImageGib: before })
      }
    })

    test('of a server that boots from a volume an image is made, but no backup', async () => {
      const cloud = shared()
      const uuid = await addVolume(cloud, { isBootable: 1, sizeGib: 4 })
      const { server } = await cloud.wish({ imageRef: '' })
      const mapping = [{ uuid, source_type: 'volume', destination_type: 'volume', boot_index: 0 }]
      const made = await cloud.member.post('/servers', { server: { ...server, block_device_mapping_v2: mapping } })
      assert.equal(made.statusCode, 202, made.body)
      const { id } = made.json().server
      await untilDone(cloud, id)
      const answer = await act(cloud, id, { createImage: { name: 'of a volume' } })
      await untilDone(cloud, id)
      const image = (await imageRow(cloud, answer.json().image_id)) ?? assert.fail()
      assert.deepEqual([image.status, image.minDiskGib, image.sizeBytes], ['active', 4, 0])
      assert.equal(image.of.base_image_ref, undefined)
      const backup = { createBackup: { name: 'b', backup_type: 'daily', rotation: 1 } }
      assertFault(await act(cloud, id, backup), 400, /boots from a volume/)
    })

    test('bad bodies, other people and wrong states are refused, and make no image', async () => {
      const cloud = shared()
      const count = async () => (await cloud.cloud.db.read.selectFrom('images').select('id').execute()).length
      const before = await count()
      for (const body of [
        ...[undefined, null, '', ' ', 5, 'x'.repeat(256), 'a\nb'].map((name) => ({ createImage: { name } })),
        ...[[], 'a', { key: 5 }, { key: 'x'.repeat(256) }, { 'a/b': 'x' }].map((metadata) => ({
          createImage: { name: 'a', metadata },
        })),
        ...[null, 'x', [], 5].map((createImage) => ({ createImage })),
        ...[-1, 1.5, 'many', null, undefined].map((rotation) => ({
          createBackup: { name: 'a', backup_type: 'daily', rotation },
        })),
        { createBackup: { name: 'a', rotation: 1 } },
      ]) {
        assertFault(await act(cloud, 'web', body), 400, /create(Image|Backup)/, JSON.stringify(body))
      }
      const metadata = Object.fromEntries(Array.from({ length: 129 }, (_, at) => [`k${at}`, 'v']))
      assertFault(await act(cloud, 'web', { createImage: { name: 'a', metadata } }), 403, /metadata_items/)
      assertFault(await act(cloud, randomUUID(), S12), 404, /could not be found/)
      const stranger = await cloud.stranger()
      assertFault(await stranger.post(`/servers/${cloud.id.web}/action`, S12), 404, /could not be found/)
      const reader = await cloud.stranger('reader')
      assertFault(await reader.post(`/servers/${cloud.id.web}/action`, S12), 403, /servers:action/)
      await cloud.cloud.db.transaction((tx) =>
        tx
          .updateTable('servers')
          .set({ vmState: 'error' })
          .where('id', '=', cloud.id.busy ?? '')
          .executeTakeFirst(),
      )
      assertFault(await act(cloud, 'busy', S12), 409, /'createImage'.*vm_state error/)
      assert.equal(await count(), before)
    })
  })
}
