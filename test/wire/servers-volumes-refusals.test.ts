/** What S20 and S21 refuse, with the reason; and that whatever is sent there, nothing falls over. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { MOST_DISKS } from '../../src/host/volume-host.ts'
import { assertFault } from '../support/assert-fault.ts'
import { countRows } from '../support/count-rows.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES } from '../support/test-cloud.ts'
import { addVolume, attachVolume, detachVolume, statusOf, volumesOf } from '../support/volumes.ts'

const NOBODY = randomUUID()

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({
      database,
      servers: { web: {}, full: {}, locked: { isLocked: 1 }, broken: { vmState: 'error' } },
    })

    test('what an attach names wrongly is refused, and nothing is written', async () => {
      const cloud = shared()
      const [web, locked, broken] = [cloud.id.web ?? '', cloud.id.locked ?? '', cloud.id.broken ?? '']
      const free = await addVolume(cloud)
      const busy = await addVolume(cloud, { status: 'extending' })
      const foreign = await addVolume(cloud, { projectId: 'somebody-else' })
      const elsewhere = await addVolume(cloud, { availabilityZone: 'mars' })
      const far = await addVolume(cloud, { hostName: 'another-host' })
      const before = await countRows(cloud)
      for (const [volumeId, more, status, message] of [
        [NOBODY, {}, 404, /could not be found/],
        [foreign, {}, 404, /could not be found/],
        ['not-an-id', {}, 400, /not a UUID/],
        [busy, {}, 400, /must be available to be attached; it is extending/],
        [elsewhere, {}, 400, /zone mars/],
        [far, {}, 400, /another host/],
        [free, { device: '/dev/sdb' }, 400, /no name of a disk/],
        [free, { device: '/dev/vdbb' }, 400, /no name of a disk/],
        [free, { device: '../vdb' }, 400, /no name of a disk/],
        [free, { device: 5 }, 400, /device/],
        [free, { device: '/dev/vda' }, 409, /in use/],
        [free, { tag: 'a,b' }, 400, /tag/],
        [free, { delete_on_termination: 'yes' }, 400, /delete_on_termination/],
      ] as const) {
        assertFault(await attachVolume(cloud, web, volumeId, more), status, message, JSON.stringify([volumeId, more]))
      }
      assertFault(await attachVolume(cloud, NOBODY, free), 404, /Instance .* could not be found/)
      assertFault(await attachVolume(cloud, locked, free), 409, /locked/)
      assertFault(await attachVolume(cloud, broken, free), 409, /'attach_volume'.*vm_state error/)
      for (const body of [
        {},
        { volumeAttachment: null },
        { volumeAttachment: {} },
        { volumeAttachment: { volumeId: 5 } },
      ]) {
        assertFault(await cloud.member.post(`/servers/${web}/os-volume_attachments`, body), 400, /volume/)
      }
      const [stranger, reader] = [await cloud.stranger(), await cloud.stranger('reader')]
      const body = { volumeAttachment: { volumeId: free } }
      assertFault(await stranger.post(`/servers/${web}/os-volume_attachments`, body), 404, /could not be found/)
      assertFault(await reader.post(`/servers/${web}/os-volume_attachments`, body), 403, /servers:action/)
      assertFault(await stranger.get(`/servers/${web}/os-volume_attachments`), 404, /could not be found/)
      // An admin sees the server, and yet gives it no volume of another project.
      const admin = await cloud.admin.post(`/servers/${web}/os-volume_attachments`, {
        volumeAttachment: { volumeId: foreign },
      })
      assertFault(admin, 404, /could not be found/)
      const after = await countRows(cloud)
      assert.deepEqual({ ...after, ...same(before) }, { ...before, ...same(before) })
      assert.equal(await statusOf(cloud, free), 'available')
    })

    test('a detach of what is not there, and of a volume that is busy, is refused', async () => {
      const cloud = shared()
      const id = cloud.id.web ?? ''
      const volumeId = await addVolume(cloud)
      assertFault(await detachVolume(cloud, id, volumeId), 404, /has no volume/)
      assertFault(await detachVolume(cloud, id, 'nonsense'), 404, /has no volume/)
      assertFault(await detachVolume(cloud, cloud.id.broken ?? '', volumeId), 409, /detach_volume/)
      await attachVolume(cloud, id, volumeId)
      await cloud.settled()
      assertFault(await attachVolume(cloud, id, volumeId), 400, /it is in-use/)
      assertFault(await attachVolume(cloud, cloud.id.full ?? '', volumeId), 400, /it is in-use/)
      assertFault(await detachVolume(cloud, cloud.id.full ?? '', volumeId), 404, /has no volume/)
      const path = `/servers/${id}/os-volume_attachments/${volumeId}`
      for (const [wish, status, message] of [
        [{ volumeId: NOBODY }, 409, /swapped/],
        [{ volumeId, device: '/dev/vdz' }, 400, /'device'/],
        [{ volumeId, serverId: NOBODY }, 400, /'serverId'/],
        [{}, 400, /volumeId/],
      ] as const) {
        assertFault(await cloud.member.put(path, { volumeAttachment: wish }), status, message)
      }
      assertFault(await cloud.member.put(`${path}0`, { volumeAttachment: { volumeId } }), 404, /has no volume/)
      await detachVolume(cloud, id, volumeId)
      await cloud.settled()
    })

    test('a server takes so many disks and no more, and a name once', async () => {
      const cloud = shared()
      const id = cloud.id.full ?? ''
      for (let count = 0; count < MOST_DISKS; count++) {
        assert.equal((await attachVolume(cloud, id, await addVolume(cloud))).statusCode, 202)
      }
      const one = await addVolume(cloud)
      assertFault(await attachVolume(cloud, id, one), 403, /takes no more/)
      const [first = ''] = await volumesOf(cloud, id)
      await cloud.settled()
      await detachVolume(cloud, id, first)
      await cloud.settled()
      assertFault(await attachVolume(cloud, id, one, { device: 'vdc' }), 409, /\/dev\/vdc .* in use/)
      assert.equal((await attachVolume(cloud, id, one)).json().volumeAttachment.device, '/dev/vdb')
      await cloud.settled()
    })

    test('whatever is sent, the answer is no failure of ours', async () => {
      const cloud = shared()
      const id = cloud.id.web ?? ''
      const value = fc.oneof(fc.jsonValue(), fc.constantFrom(NOBODY, '/dev/vdb', 'vdb', null, true, 0, -1))
      const of = (keys: string[]) => fc.dictionary(fc.constantFrom(...keys), value, { maxKeys: 4 })
      const item = of([
        'source_type',
        'destination_type',
        'uuid',
        'volume_id',
        'boot_index',
        'volume_size',
        'device_name',
      ])
      const types = fc.record({
        source_type: fc.constantFrom('volume', 'image', 'snapshot', 'blank'),
        destination_type: fc.constantFrom('volume', 'local'),
      })
      const { server } = await cloud.wish()
      await fc.assert(
        fc.asyncProperty(
          of(['volumeId', 'device', 'tag', 'delete_on_termination']),
          of(['name', 'metadata', 'backup_type', 'rotation']),
          fc.array(
            fc.tuple(types, item).map(([some, more]) => ({ ...some, ...more })),
            { maxLength: 3 },
          ),
          async (volumeAttachment, image, mapping) => {
            const path = `/servers/${id}/os-volume_attachments`
            const answers = [
              await cloud.member.post(path, { volumeAttachment }),
              await cloud.member.put(`${path}/${NOBODY}`, { volumeAttachment }),
              await cloud.member.post(`/servers/${id}/action`, { volumeAttachment }),
              await cloud.member.post(`/servers/${cloud.id.broken}/action`, { createImage: image }),
              await cloud.member.post(`/servers/${cloud.id.broken}/action`, { createBackup: image }),
              // Without a name nothing is made of what happens to be good.
              await cloud.member.post('/servers', {
                server: { ...server, imageRef: '', block_device_mapping_v2: mapping },
              }),
              await cloud.member.post('/servers', {
                server: { ...server, block_device_mapping: mapping, min_count: 0 },
              }),
            ]
            for (const answer of answers) assert.ok(answer.statusCode >= 400 && answer.statusCode < 500, answer.body)
          },
        ),
        { numRuns: 60 },
      )
    })
  })
}

/** Making strangers for the test writes these. */
const same = ({ projects, users, roleAssignments, tokens }: Record<string, number>) => ({
  projects,
  users,
  roleAssignments,
  tokens,
})
