/** Volume types with their extra specs and access; quotas and limits. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { assertFault } from '../support/assert-fault.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES } from '../support/test-cloud.ts'
import { actOn, assertOverQuota, cinder, makeSnapshot, makeVolume } from '../support/volume-requests.ts'

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })

    test('ssd is the default of two', async () => {
      const service = cinder(shared().member)
      const types = (await service.get('/types')).json().volume_types
      assert.deepEqual(types.map(({ name }: { name: string }) => name).sort(), ['sata', 'ssd'])
      const { volume_type: byDefault } = (await service.get('/types/default')).json()
      assert.equal(byDefault.name, 'ssd')
      assert.deepEqual((await service.get(`/types/${byDefault.id}`)).json().volume_type, byDefault)
      assert.deepEqual((await service.get(`/types/${byDefault.id}/encryption`)).json(), {})
      // A name in an id's place is not found, so that clients look for it by name.
      assertFault(await service.get('/types/ssd'), 404, /could not be found/)
    })

    test('an admin makes, changes and deletes types', async () => {
      const cloud = shared()
      const service = cinder(cloud.admin)
      const body = { name: 'nvme', description: 'faster', extra_specs: { a: '1', multiattach: '<is> False' } }
      const made = await service.post('/types', { volume_type: body })
      assert.equal(made.statusCode, 200, made.body)
      const { id, ...type } = made.json().volume_type
      assert.deepEqual([type.name, type.is_public, type.extra_specs], ['nvme', true, body.extra_specs])
      assertFault(await service.post('/types', { volume_type: body }), 409, /named nvme already/)
      assertFault(await service.put(`/types/${id}`, { volume_type: { name: 'ssd' } }), 409, /named ssd already/)
      const changed = await service.put(`/types/${id}`, { volume_type: { description: null, name: 'nvme2' } })
      assert.deepEqual([changed.json().volume_type.name, changed.json().volume_type.description], ['nvme2', null])
      for (const volume_type of [{}, { name: '' }, { name: ' ' }, { name: 5 }, { name: 'x', extra_specs: { a: 1 } }]) {
        assertFault(await service.post('/types', { volume_type }), 400, /./, JSON.stringify(volume_type))
      }

      const specs = `/types/${id}/extra_specs`
      assert.deepEqual((await service.post(specs, { extra_specs: { b: '2' } })).json(), { extra_specs: { b: '2' } })
      assert.deepEqual((await service.put(`${specs}/b`, { b: '3' })).json(), { b: '3' })
      assert.deepEqual((await service.get(`${specs}/b`)).json(), { b: '3' })
      assert.equal((await service.delete(`${specs}/a`)).statusCode, 202)
      assertFault(await service.get(`${specs}/a`), 404, /no extra spec/)
      assertFault(await service.put(`${specs}/b`, { c: '3' }), 400, /the path names/)
      const expected = { b: '3', multiattach: '<is> False' }
      assert.deepEqual((await service.get(specs)).json(), { extra_specs: expected })
      // Others see of them what matters to them.
      assert.deepEqual((await cinder(cloud.member).get(specs)).json(), { extra_specs: { multiattach: '<is> False' } })

      const volumeId = await makeVolume(cloud, { volume_type: id })
      assertFault(await service.delete(`/types/${id}`), 400, /is in use/)
      assert.equal((await actOn(cloud.member, volumeId, { 'os-retype': { new_type: 'ssd' } })).statusCode, 202)
      assert.equal((await service.delete(`/types/${id}`)).statusCode, 202)
      assertFault(await service.get(`/types/${id}`), 404, /could not be found/)
      const { volume_type: byDefault } = (await service.get('/types/default')).json()
      assertFault(await service.delete(`/types/${byDefault.id}`), 400, /in use|default/)
    })

    test('a private type is for those it was opened to', async () => {
      const cloud = shared()
      const service = cinder(cloud.admin)
      const body = { volume_type: { name: 'secret', 'os-volume-type-access:is_public': false } }
      const { id } = (await service.post('/types', body)).json().volume_type
      const member = cinder(cloud.member)
      const listed = async (client = member, query = '') =>
        (await client.get(`/types${query}`)).json().volume_types.some((type: { id: string }) => type.id === id)
      assert.deepEqual(
        [await listed(), await listed(service), await listed(service, '?is_public=None')],
        [false, false, true],
      )
      assertFault(await service.get('/types?is_public=perhaps'), 400, /is_public/)
      assertFault(await member.get(`/types/${id}`), 404, /could not be found/)
      assertFault(await member.post('/volumes', { volume: { size: 1, volume_type: 'secret' } }), 404, /secret/)
      const access = { project: cloud.member.projectId }
      assert.equal((await service.post(`/types/${id}/action`, { addProjectAccess: access })).statusCode, 202)
      assertFault(await service.post(`/types/${id}/action`, { addProjectAccess: access }), 409, /already/)
      assert.deepEqual((await service.get(`/types/${id}/os-volume-type-access`)).json(), {
        volume_type_access: [{ volume_type_id: id, project_id: cloud.member.projectId }],
      })
      assert.equal(await listed(), true)
      await makeVolume(cloud, { volume_type: 'secret' })
      assert.equal((await service.post(`/types/${id}/action`, { removeProjectAccess: access })).statusCode, 202)
      assertFault(await service.post(`/types/${id}/action`, { removeProjectAccess: access }), 404, /may not use/)
      assert.equal(await listed(), false)
      for (const action of [{}, { addProjectAccess: {} }, { addProjectAccess: null }, { other: access }]) {
        assertFault(await service.post(`/types/${id}/action`, action), 400, /./)
      }
      const { volume_type: open } = (await service.get('/types/default')).json()
      assertFault(await service.get(`/types/${open.id}/os-volume-type-access`), 404, /public/)
    })

    test('quotas count volumes, snapshots and their size, and limits of types', async () => {
      const cloud = shared()
      const stranger = await cloud.stranger()
      const admin = cinder(cloud.admin)
      const service = cinder(stranger, '3.71')
      const path = `/os-quota-sets/${stranger.projectId}`
      const limit = async (quota_set: object) => {
        const answer = await admin.put(path, { quota_set })
        assert.equal(answer.statusCode, 200, answer.body)
      }
      await limit({ volumes: 2, gigabytes: '5', snapshots: 1, per_volume_gigabytes: 4, gigabytes_sata: 2 })
      const shown = (await service.get(path)).json().quota_set
      assert.deepEqual(
        [shown.id, shown.volumes, shown.gigabytes, shown.gigabytes_sata, shown.volumes_sata],
        [stranger.projectId, 2, 5, 2, -1],
      )
      const ask = (volume: object) => service.post('/volumes', { volume })
      assertOverQuota(await ask({ size: 5 }), /per_volume_gigabytes/)
      assertOverQuota(await ask({ size: 3, volume_type: 'sata' }), /gigabytes_sata/)
      const id = await makeVolume(cloud, { size: 3 }, stranger)
      assertOverQuota(await ask({ size: 3 }), /gigabytes: requested 3, already used 3 of 5/)
      const gate = Promise.withResolvers<void>()
      cloud.host.intercept = async (verb, _id, run) => {
        if (verb === 'ensureVolumeSize') await gate.promise
        return run()
      }
      assert.equal((await actOn(stranger, id, { 'os-extend': { new_size: 4 } })).statusCode, 202)
      // What extending will add is taken already.
      const usage = (await service.get(`${path}?usage=True`)).json().quota_set
      assert.deepEqual(usage.gigabytes, { limit: 5, in_use: 3, reserved: 1, allocated: 0 })
      assertOverQuota(await ask({ size: 2 }), /gigabytes: requested 2, already used 4 of 5/)
      gate.resolve()
      await cloud.settled()
      cloud.host.intercept = (_verb, _id, run) => run()
      assertOverQuota(await service.post('/snapshots', { snapshot: { volume_id: id } }), /gigabytes/)
      await makeVolume(cloud, { size: 1 }, stranger)
      assertOverQuota(await ask({ size: 1 }), /volumes: requested 1, already used 2 of 2/)
      await limit({ gigabytes: -1, snapshots: 0 })
      assertOverQuota(await service.post('/snapshots', { snapshot: { volume_id: id } }), /snapshots/)
      const { absolute } = (await service.get('/limits')).json().limits
      assert.deepEqual([absolute.totalVolumesUsed, absolute.totalGigabytesUsed, absolute.maxTotalVolumes], [2, 5, 2])
      for (const quota_set of [{ volumes: -2 }, { volumes: 1.5 }, { volumes: 'x' }, { volumes: null }, { cats: 1 }]) {
        assertFault(await admin.put(path, { quota_set }), 400, /quota of/, JSON.stringify(quota_set))
      }
      assert.equal((await admin.delete(path)).statusCode, 200)
      const after = (await service.get(path)).json().quota_set
      assert.deepEqual({ ...after, id: '' }, { ...(await service.get(`${path}/defaults`)).json().quota_set, id: '' })
      assert.equal((await admin.get('/os-quota-class-sets/default')).json().quota_class_set.volumes, after.volumes)
    })

    test('of volumes asked for at once, the quota lets through as many as it has room for', async () => {
      const cloud = shared()
      const stranger = await cloud.stranger()
      await cinder(cloud.admin).put(`/os-quota-sets/${stranger.projectId}`, { quota_set: { volumes: 3 } })
      const answers = await Promise.all(
        Array.from({ length: 8 }, () => cinder(stranger).post('/volumes', { volume: { size: 1 } })),
      )
      const statuses = answers.map(({ statusCode }) => statusCode).sort()
      assert.deepEqual(statuses, [202, 202, 202, 413, 413, 413, 413, 413])
      await cloud.settled()
      await makeSnapshot(cloud, await makeVolume(cloud))
    })
  })
}
