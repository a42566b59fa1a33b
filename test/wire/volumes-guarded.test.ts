/** What must not go wrong with volumes when two things are done at once, or an admin sets a status by hand. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { freeVolume } from '../../src/servers/server-disks.ts'
import { restAfter } from '../../src/volumes/volume-action.ts'
import { updateVolume } from '../../src/volumes/volume-store.ts'
import { assertFault } from '../support/assert-fault.ts'
import { gates } from '../support/gates.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES, type TestCloud } from '../support/test-cloud.ts'
import { actOn, assertOverQuota, cinder, makeSnapshot, makeVolume } from '../support/volume-requests.ts'
import { attachVolume, statusOf } from '../support/volumes.ts'

const newGate = gates()

const reset = (cloud: TestCloud, id: string, status: string) =>
  actOn(cloud.admin, id, { 'os-reset_status': { status } })

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, servers: { web: {}, other: {} } })

    test('a transfer that an admin put aside takes no volume from the server that has it', async () => {
      const cloud = shared()
      const [giver, taker] = [cinder(cloud.member), cinder(await cloud.stranger())]
      const id = await makeVolume(cloud)
      const offered = await giver.post('/os-volume-transfer', { transfer: { volume_id: id } })
      const { id: transferId, auth_key } = offered.json().transfer
      assert.equal((await reset(cloud, id, 'available')).statusCode, 202)
      assert.equal((await attachVolume(cloud, cloud.id.web ?? '', id)).statusCode, 202)
      await cloud.settled()
      const path = `/os-volume-transfer/${transferId}/accept`
      assertFault(await taker.post(path, { accept: { auth_key } }), 404, /could not be found/)
      assert.equal(await statusOf(cloud, id), 'in-use')
      assertFault(await taker.get(`/volumes/${id}`), 404, /could not be found/)
    })

    test('a transfer without snapshots gives none away', async () => {
      const cloud = shared()
      const giver = cinder(cloud.member, '3.55')
      const id = await makeVolume(cloud)
      await makeSnapshot(cloud, id)
      const transfer = { volume_id: id, no_snapshots: true }
      assertFault(await giver.post('/volume-transfers', { transfer }), 400, /snapshots/)
      assert.equal(await statusOf(cloud, id), 'available')
      const bare = await makeVolume(cloud)
      const offered = await giver.post('/volume-transfers', { transfer: { ...transfer, volume_id: bare } })
      assert.deepEqual([offered.statusCode, offered.json().transfer.no_snapshots], [202, true])
    })

    test('no status set by hand lets a server have a volume that is being overwritten or removed', async () => {
      const cloud = shared()
      for (const [verb, begin] of [
        [
          'resetVolume',
          async (id: string, snapshot_id: string) => actOn(cloud.member, id, { revert: { snapshot_id } }),
        ],
        ['removeVolume', async (id: string) => cinder(cloud.member).delete(`/volumes/${id}?cascade=true`)],
      ] as const) {
        const id = await makeVolume(cloud)
        const snapshotId = await makeSnapshot(cloud, id)
        const gate = newGate()
        cloud.host.intercept = async (asked, _id, run) => {
          if (asked === verb) await gate.promise
          return run()
        }
        assert.equal((await begin(id, snapshotId)).statusCode, 202)
        const before = await statusOf(cloud, id)
        assertFault(await reset(cloud, id, 'available'), 409, /being done/, verb)
        assert.equal(await statusOf(cloud, id), before)
        assertFault(await attachVolume(cloud, cloud.id.web ?? '', id), 400, /must be available/, verb)
        gate.resolve()
        await cloud.settled()
        cloud.host.intercept = (_verb, _id, run) => run()
        assert.equal(await statusOf(cloud, id), verb === 'resetVolume' ? 'available' : 'gone')
      }
    })

    test('no status set by hand lets a volume begin as a snapshot that is being removed', async () => {
      const cloud = shared()
      const id = await makeVolume(cloud)
      const snapshotId = await makeSnapshot(cloud, id)
      const gate = newGate()
      cloud.host.intercept = async (asked, _id, run) => {
        if (asked === 'removeSnapshot') await gate.promise
        return run()
      }
      assert.equal((await cinder(cloud.member).delete(`/snapshots/${snapshotId}`)).statusCode, 202)
      const body = { 'os-reset_status': { status: 'available' } }
      assertFault(await cinder(cloud.admin).post(`/snapshots/${snapshotId}/action`, body), 409, /being done/)
      gate.resolve()
      await cloud.settled()
      cloud.host.intercept = (_verb, _id, run) => run()
      assertFault(await cinder(cloud.member).get(`/snapshots/${snapshotId}`), 404, /could not be found/)
    })

    test('what a volume remembers of an image does not grow without end', async () => {
      const cloud = shared()
      const id = await makeVolume(cloud)
      const items = (from: number) =>
        Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`key${from + index}`, 'x']))
      const set = (from: number) => actOn(cloud.member, id, { 'os-set_image_metadata': { metadata: items(from) } })
      assert.equal((await set(0)).statusCode, 200)
      assert.equal((await set(0)).statusCode, 200)
      assertOverQuota(await set(100), /metadata_items/)
    })

    test('images of volumes and servers count as those that are uploaded', async () => {
      const cloud = shared()
      const id = await makeVolume(cloud)
      const { config } = cloud.cloud
      const before = { ...config }
      const images = () => cloud.cloud.db.read.selectFrom('images').select('id').execute()
      const count = (await images()).length
      for (const limit of [{ quotaImages: 0 }, { quotaImageGib: 0 }]) {
        Object.assign(config, before, limit)
        assertOverQuota413(await actOn(cloud.member, id, { 'os-volume_upload_image': { image_name: 'a' } }))
        for (const body of [
          { createImage: { name: 'a' } },
          { createBackup: { name: 'a', backup_type: 'daily', rotation: 1 } },
        ]) {
          assertFault(await cloud.member.post(`/servers/${cloud.id.web}/action`, body), 403, /Quota exceeded/)
        }
      }
      Object.assign(config, before)
      assert.equal((await images()).length, count)
      assert.equal(await statusOf(cloud, id), 'available')
    })

    test('a backup that is done stays when an older one cannot be removed', async () => {
      const cloud = shared()
      const { db } = cloud.cloud
      const backUp = async (): Promise<string> => {
        const createBackup = { name: 'b', backup_type: 'hourly', rotation: 1 }
        const answer = await cloud.member.post(`/servers/${cloud.id.web}/action`, { createBackup })
        assert.equal(answer.statusCode, 202, answer.body)
        await cloud.settled()
        cloud.clock.advance(1)
        return answer.json().image_id
      }
      const first = await backUp()
      cloud.host.intercept = async (verb, id, run) => {
        if (verb === 'removeImage' && id === first) throw Object.assign(new Error('it hangs'), { isFinal: true })
        return run()
      }
      const second = await backUp()
      cloud.host.intercept = (_verb, _id, run) => run()
      const statusOfImage = async (id: string) =>
        (await db.read.selectFrom('images').select('status').where('id', '=', id).executeTakeFirst())?.status
      // The older one is no image any more, whatever its host says; its bytes are then for `novella doctor`.
      assert.deepEqual([await statusOfImage(first), await statusOfImage(second)], [undefined, 'active'])
      assert.ok(cloud.machine.images.has(second))
      assert.equal((await cloud.server('web')).taskState, null)
      const third = await backUp()
      assert.deepEqual(
        [await statusOfImage(first), await statusOfImage(second), await statusOfImage(third)],
        [undefined, undefined, 'active'],
      )
    })

    test('a volume whose task ends while its server goes is free, whichever is first', async () => {
      const cloud = shared()
      const { db, clock } = cloud.cloud
      // SQLite lets one transaction in at a time: there is nothing to see.
      if (db.kind === 'sqlite') return
      for (const isTaskFirst of [true, false]) {
        const id = await makeVolume(cloud)
        assert.equal((await attachVolume(cloud, cloud.id.other ?? '', id)).statusCode, 202)
        await cloud.settled()
        await db.transaction((tx) => updateVolume(tx, id, { status: 'extending', statusBefore: 'in-use' }, clock.now()))
        const device = await db.read
          .selectFrom('blockDevices')
          .selectAll()
          .where('volumeId', '=', id)
          .executeTakeFirstOrThrow()
        const both = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const
        const task = db.transaction(async (tx) => {
          if (!isTaskFirst) await both[1].promise
          await restAfter(cloud.cloud, tx, id, 'extending')
          both[0].resolve()
          await pauseABit()
        })
        const goes = db.transaction(async (tx) => {
          if (isTaskFirst) await both[0].promise
          await freeVolume(tx, device, clock.now())
          both[1].resolve()
          await pauseABit()
        })
        await Promise.all([task, goes])
        assert.equal(await statusOf(cloud, id), 'available', String(isTaskFirst))
      }
    })
  })
}

function assertOverQuota413(answer: { statusCode: number; body: string }): void {
  assert.equal(answer.statusCode, 413, answer.body)
  assert.match(answer.body, /Quota exceeded/)
}

/** Long enough for the other transaction to come to where it waits, or to be done when it does not. */
const pauseABit = () => new Promise((resolve) => setTimeout(resolve, 200))
