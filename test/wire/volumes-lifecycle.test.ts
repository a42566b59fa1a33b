/** Volumes by both their services: made of whatever there is, looked at, changed and deleted. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { TINY_IMAGE_ID } from '../../src/images/image-store.ts'
import { assertFault } from '../support/assert-fault.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES } from '../support/test-cloud.ts'
import { cinder, makeSnapshot, makeVolume, showVolume } from '../support/volume-requests.ts'
import { addVolume, attachVolume } from '../support/volumes.ts'

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, servers: { web: {} } })

    test('an empty volume is creating, then available, then gone', async () => {
      const cloud = shared()
      const service = cinder(cloud.member)
      const wish = { name: 'data', description: 'mine', size: '2', metadata: { a: 'b' }, volume_type: 'sata' }
      const made = await service.post('/volumes', { volume: { ...wish, imageRef: null, snapshot_id: null } })
      assert.equal(made.statusCode, 202, made.body)
      const { volume } = made.json()
      assert.equal(volume.status, 'creating')
      assert.deepEqual(
        [volume.name, volume.description, volume.size, volume.metadata, volume.volume_type, volume.bootable],
        ['data', 'mine', 2, { a: 'b' }, 'sata', 'false'],
      )
      assert.match(volume.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$/)
      await cloud.settled()
      const shown = await showVolume(cloud, volume.id)
      assert.deepEqual([shown.status, shown.attachments], ['available', []])
      assert.equal(shown.links[0].href.endsWith(`/volume/v3/${cloud.member.projectId}/volumes/${volume.id}`), true)
      assert.deepEqual(cloud.machine.volumes.get(volume.id), { sizeGib: 2, source: null })

      assert.equal((await service.delete(`/volumes/${volume.id}`)).statusCode, 202)
      await cloud.settled()
      assertFault(await service.get(`/volumes/${volume.id}`), 404, /could not be found/)
      assert.equal(cloud.machine.volumes.has(volume.id), false)
    })

    test('UOS makes, shows, renames, extends and deletes', async () => {
      const cloud = shared()
      const { member } = cloud
      const made = await member.post('/volumes', { volume: { size: 1, snapshot_id: null, colour: 'blue' } })
      assert.equal(made.statusCode, 200, made.body)
      const { volume } = made.json()
      const { id } = volume
      const members = ['id', 'status', 'display_name', 'display_description', 'attachments', 'created_at']
      assert.deepEqual(Object.keys(volume).sort(), [...members, 'snapshot_id', 'size'].sort())
      assert.deepEqual([volume.status, volume.display_name, volume.size], ['creating', `vol-${id}`, 1])
      await cloud.settled()
      const full = (await member.get(`/volumes/${id}`)).json().volume
      const fullMembers = ['id', 'name', 'description', 'status', 'size', 'created_at', 'attachments', 'links']
      fullMembers.push('availability_zone', 'source_volid', 'snapshot_id', 'volume_type', 'metadata')
      fullMembers.push('os-vol-host-attr:host', 'os-vol-tenant-attr:tenant_id')
      assert.deepEqual(Object.keys(full).sort(), [...fullMembers, 'bootable'].sort())
      assert.equal(full.volume_type, 'ssd')
      const detail = (await member.get('/volumes/detail')).json().volumes
      assert.deepEqual(Object.keys(detail[0]).sort(), fullMembers.sort())
      const brief = (await member.get('/volumes')).json().volumes
      assert.deepEqual(Object.keys(brief[0]).sort(), ['id', 'links', 'name'])

      const renamed = await member.put(`/volumes/${id}`, { volume: { display_name: 'new', display_description: 'd' } })
      assert.equal(renamed.statusCode, 200, renamed.body)
      assert.deepEqual([renamed.json().volume.display_name, renamed.json().volume.display_description], ['new', 'd'])
      assert.equal('os-vol-host-attr:host' in renamed.json().volume, false)
      const extended = await member.post(`/volumes/${id}/action`, { 'os-extend': { new_size: 3 } })
      assert.equal(extended.statusCode, 202, extended.body)
      await cloud.settled()
      assert.equal((await showVolume(cloud, id)).size, 3)
      assert.equal((await member.delete(`/volumes/${id}`)).statusCode, 202)
      await cloud.settled()
      assertFault(await member.get(`/volumes/${id}`), 404, /could not be found/)
    })

    test('a volume is made of an image, a snapshot or a volume, and takes over what they are', async () => {
      const cloud = shared()
      const ofImage = await makeVolume(cloud, { size: 2, imageRef: TINY_IMAGE_ID })
      const shown = await showVolume(cloud, ofImage)
      assert.deepEqual([shown.status, shown.bootable, shown.size], ['available', 'true', 2])
      assert.equal(shown.volume_image_metadata.image_id, TINY_IMAGE_ID)
      assert.equal(shown.volume_image_metadata.os_type, 'linux')
      const source = { kind: 'image', imageId: TINY_IMAGE_ID }
      assert.deepEqual(cloud.machine.volumes.get(ofImage), { sizeGib: 2, source })

      const snapshotId = await makeSnapshot(cloud, ofImage)
      const ofSnapshot = await makeVolume(cloud, { size: null, snapshot_id: snapshotId })
      const second = await showVolume(cloud, ofSnapshot)
      assert.deepEqual([second.size, second.bootable, second.snapshot_id], [2, 'true', snapshotId])
      const ofVolume = await makeVolume(cloud, { size: 4, source_volid: ofSnapshot, volume_type: 'sata' })
      const third = await showVolume(cloud, ofVolume)
      assert.deepEqual([third.size, third.source_volid, third.volume_type], [4, ofSnapshot, 'sata'])
      assert.equal(third.volume_image_metadata.image_id, TINY_IMAGE_ID)
      assert.deepEqual(cloud.machine.volumes.get(ofVolume)?.sizeGib, 4)
    })

    test('an image shows downloading while a volume is filled from it', async () => {
      const cloud = shared()
      const gate = Promise.withResolvers<void>()
      const reached = Promise.withResolvers<void>()
      cloud.host.intercept = async (verb, _id, run) => {
        if (verb === 'ensureVolume') {
          reached.resolve()
          await gate.promise
        }
        return run()
      }
      const made = await cinder(cloud.member).post('/volumes', { volume: { size: 1, imageRef: TINY_IMAGE_ID } })
      const { id } = made.json().volume
      await reached.promise
      assert.equal((await showVolume(cloud, id)).status, 'downloading')
      gate.resolve()
      cloud.host.intercept = (_verb, _id, run) => run()
      await cloud.settled()
      assert.equal((await showVolume(cloud, id)).status, 'available')
    })

    test('an update changes what it names, by either name, and nothing else', async () => {
      const cloud = shared()
      const id = await makeVolume(cloud, { name: 'one', description: 'first', metadata: { a: '1' } })
      const service = cinder(cloud.member)
      const put = async (volume: object) => {
        const answer = await service.put(`/volumes/${id}`, { volume })
        assert.equal(answer.statusCode, 200, answer.body)
        const { name, description, metadata } = answer.json().volume
        return [name, description, metadata]
      }
      cloud.clock.advance(1_000)
      assert.deepEqual(await put({ name: ' two ' }), ['two', 'first', { a: '1' }])
      assert.deepEqual(await put({ display_description: 'second' }), ['two', 'second', { a: '1' }])
      assert.deepEqual(await put({ description: null, metadata: { b: '2' } }), ['two', null, { b: '2' }])
      assert.match((await showVolume(cloud, id)).updated_at, /^2026-/)
    })

    test('an attachment is shown with the volume, whose delete it forbids', async () => {
      const cloud = shared()
      const id = await addVolume(cloud)
      assert.equal((await attachVolume(cloud, cloud.id.web ?? '', id)).statusCode, 202)
      await cloud.settled()
      const shown = await showVolume(cloud, id)
      assert.equal(shown.status, 'in-use')
      const [attachment] = shown.attachments
      assert.deepEqual(
        [attachment.id, attachment.volume_id, attachment.server_id, attachment.host_name],
        [id, id, cloud.id.web, null],
      )
      assert.match(attachment.device, /^\/dev\/vd[a-z]$/)
      const asAdmin = await cinder(cloud.admin).get(`/volumes/${id}`)
      assert.equal(asAdmin.json().volume.attachments[0].host_name, 'test-host')
      assert.equal(asAdmin.json().volume['os-vol-host-attr:host'], 'test-host@novella#disks')

      const service = cinder(cloud.member, '3.71')
      assertFault(await service.delete(`/volumes/${id}`), 400, /is attached to server/)
      const { attachments } = (await service.get('/attachments')).json()
      assert.deepEqual(
        attachments.find((one: { volume_id: string }) => one.volume_id === id),
        { id: attachment.attachment_id, volume_id: id, instance: cloud.id.web, status: 'attached' },
      )
      const one = (await service.get(`/attachments/${attachment.attachment_id}`)).json().attachment
      assert.deepEqual(
        [one.instance, one.attach_mode, one.connection_info],
        [cloud.id.web, 'rw', { access_mode: 'rw' }],
      )
      assert.equal((await service.get(`/attachments/detail?volume_id=${id}`)).json().attachments.length, 1)
      assertFault(await service.delete(`/attachments/${attachment.attachment_id}`), 409, /Detach it from the server/)
      assertFault(await service.get('/attachments/none'), 404, /could not be found/)
      assertFault(await service.post('/attachments', {}), 400, /compute service/)
      const stranger = await cloud.stranger()
      assertFault(await cinder(stranger, '3.71').get(`/attachments/${attachment.attachment_id}`), 404, /not be found/)
      assertFault(await cinder(cloud.member, '3.26').get('/attachments'), 404, /came with 3\.27/)

      // An attached volume is changed by nobody but its server.
      for (const name of [
        'os-reserve',
        'os-unreserve',
        'os-begin_detaching',
        'os-detach',
        'os-initialize_connection',
      ]) {
        assertFault(await service.post(`/volumes/${id}/action`, { [name]: {} }), 409, /is attached to a server/, name)
      }
      assertFault(await service.post('/snapshots', { snapshot: { volume_id: id, force: false } }), 400, /force/)
      assertFault(await cinder(cloud.member).post('/snapshots', { snapshot: { volume_id: id } }), 400, /in-use/)
      await makeSnapshot(cloud, id, { force: true })
      assert.equal((await service.post('/snapshots', { snapshot: { volume_id: id } })).statusCode, 202)
      await cloud.settled()
      assertFault(
        await cinder(cloud.member).post(`/volumes/${id}/action`, { 'os-extend': { new_size: 2 } }),
        400,
        /in-use/,
      )
      assert.equal((await service.post(`/volumes/${id}/action`, { 'os-extend': { new_size: 2 } })).statusCode, 202)
      await cloud.settled()
      const grown = await showVolume(cloud, id)
      assert.deepEqual([grown.status, grown.size], ['in-use', 2])
      const upload = (force: boolean) => ({ 'os-volume_upload_image': { image_name: 'copy', force } })
      assertFault(await service.post(`/volumes/${id}/action`, upload(false)), 400, /must be available/)
      assert.equal((await service.post(`/volumes/${id}/action`, upload(true))).statusCode, 202)
      await cloud.settled()
      assert.equal((await showVolume(cloud, id)).status, 'in-use')
    })

    test('a repeated create with a key makes one volume', async () => {
      const cloud = shared()
      const ask = () =>
        cloud.member.post('/volumes', { volume: { size: 1, display_name: 'once' } }, { 'idempotency-key': database })
      const [first, second] = [await ask(), await ask()]
      assert.equal(first.json().volume.id, second.json().volume.id)
      assert.equal(second.headers['idempotency-replayed'], 'true')
      await cloud.settled()
      const { volumes } = (await cinder(cloud.member).get('/volumes?name=once')).json()
      assert.equal(volumes.length, 1)
    })
  })
}
