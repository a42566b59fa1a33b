/** S20 and S21: volumes come and go; their lists, and what a delete of the server makes of them. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { HostError } from '../../src/host/host-driver.ts'
import { assertRequestIds } from '../support/assert-fault.ts'
import { makeServer, untilDone } from '../support/scenarios.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES, testCloud } from '../support/test-cloud.ts'
import {
  addSnapshot,
  addVolume,
  attachVolume,
  detachVolume,
  disksInGuest,
  findVolumeRow,
  statusOf,
  volumesOf,
} from '../support/volumes.ts'

const example = (name: string) => JSON.parse(readFileSync(new URL(`../fixtures/uos/${name}`, import.meta.url), 'utf8'))

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, servers: { web: {}, off: {} } })

    test('S20 is answered as the document shows, the guest gets the disk, and S21 gives it back', async () => {
      const cloud = shared()
      const id = cloud.id.web ?? ''
      const { volumeAttachment: wish } = example('S20.request.json')
      await addVolume(cloud, { id: wish.volumeId })
      cloud.machine.volumes.set(wish.volumeId, { sizeGib: 1, source: null })
      const answer = await attachVolume(cloud, id, wish.volumeId, { device: '/dev/vdd' })
      assert.equal(answer.statusCode, 202, answer.body)
      assertRequestIds(answer)
      const shown = { ...example('S20.response.json').volumeAttachment, serverId: id }
      assert.deepEqual(answer.json(), { volumeAttachment: shown })
      await cloud.settled()
      assert.deepEqual(disksInGuest(cloud, id), [wish.volumeId])
      assert.deepEqual(cloud.machine.servers.get(id)?.disks.get(wish.volumeId), {
        diskId: wish.volumeId,
        kind: 'volume',
        device: 'vdd',
        bootIndex: null,
        bus: 'virtio',
      })
      assert.equal(await statusOf(cloud, wish.volumeId), 'in-use')
      const list = await cloud.member.get(`/servers/${id}/os-volume_attachments`)
      assert.deepEqual([list.statusCode, list.json()], [200, { volumeAttachments: [shown] }])
      const one = await cloud.member.get(`/servers/${id}/os-volume_attachments/${wish.volumeId}`)
      assert.deepEqual([one.statusCode, one.json()], [200, { volumeAttachment: shown }])
      for (const path of [`/servers/${id}`, '/servers/detail']) {
        const body = (await cloud.member.get(path)).json()
        const server = body.server ?? body.servers.find((server: { id: string }) => server.id === id)
        assert.deepEqual(server['os-extended-volumes:volumes_attached'], [{ id: wish.volumeId }])
        assert.equal(server['OS-EXT-STS:task_state'], null)
      }

      const gone = await detachVolume(cloud, id, wish.volumeId)
      assert.deepEqual([gone.statusCode, gone.body], [202, ''])
      await cloud.settled()
      assert.deepEqual([disksInGuest(cloud, id), await volumesOf(cloud, id)], [[], []])
      assert.equal(await statusOf(cloud, wish.volumeId), 'available')
      assert.deepEqual((await cloud.actions('web')).slice(-2), ['attachVolume Success', 'detachVolume Success'])
    })

    test('it works as an action of the server too, and names are chosen in the order of the alphabet', async () => {
      const cloud = shared()
      const id = cloud.id.web ?? ''
      const [one, two, three] = [await addVolume(cloud), await addVolume(cloud), await addVolume(cloud)] as const
      const names: string[] = []
      for (const [volumeId, device] of [
        [one, null],
        [two, 'vdc'],
        [three, undefined],
      ] as const) {
        const answer = await cloud.member.post(`/servers/${id}/action`, { volumeAttachment: { volumeId, device } })
        assert.equal(answer.statusCode, 202, answer.body)
        names.push(answer.json().volumeAttachment.device)
      }
      await cloud.settled()
      assert.deepEqual(names, ['/dev/vdb', '/dev/vdc', '/dev/vdd'])
      assert.deepEqual(await volumesOf(cloud, id), [one, two, three])
      const page = await cloud.member.get(`/servers/${id}/os-volume_attachments?limit=1&offset=1`)
      assert.deepEqual(
        page.json().volumeAttachments.map(({ volumeId }: { volumeId: string }) => volumeId),
        [two],
      )
      for (const volumeId of [two, three, one]) assert.equal((await detachVolume(cloud, id, volumeId)).statusCode, 202)
      await cloud.settled()
      assert.deepEqual(await volumesOf(cloud, id), [])
    })

    test('a stopped server gets its volume at its next start, and a stop keeps it', async () => {
      const cloud = shared()
      const id = cloud.id.off ?? ''
      const act = async (body: object) => {
        assert.equal((await cloud.member.post(`/servers/${id}/action`, body)).statusCode, 202)
        await untilDone(cloud, id)
      }
      await act({ 'os-stop': null })
      const volumeId = await addVolume(cloud)
      assert.equal((await attachVolume(cloud, id, volumeId)).statusCode, 202)
      await cloud.settled()
      assert.equal(await statusOf(cloud, volumeId), 'in-use')
      assert.deepEqual(disksInGuest(cloud, id), [])
      await act({ 'os-start': null })
      assert.deepEqual(disksInGuest(cloud, id), [volumeId])
      await act({ reboot: { type: 'HARD' } })
      assert.deepEqual(disksInGuest(cloud, id), [volumeId])
      await act({ 'os-stop': null })
      assert.equal((await detachVolume(cloud, id, volumeId)).statusCode, 202)
      await cloud.settled()
      assert.equal(await statusOf(cloud, volumeId), 'available')
      await act({ 'os-start': null })
      assert.deepEqual(disksInGuest(cloud, id), [])
    })

    test('of many who want one volume at once, one gets it', async () => {
      const cloud = shared()
      const volumeId = await addVolume(cloud)
      const ids = [cloud.id.web ?? '', cloud.id.off ?? '']
      const answers = await Promise.all(
        [...ids, ...ids, ...ids].map((serverId) => attachVolume(cloud, serverId, volumeId)),
      )
      assert.deepEqual(answers.map(({ statusCode }) => statusCode).sort(), [202, 400, 400, 400, 400, 400])
      await cloud.settled()
      const holder = answers.find(({ statusCode }) => statusCode === 202)?.json().volumeAttachment.serverId
      assert.deepEqual(disksInGuest(cloud, holder), [volumeId])
      await detachVolume(cloud, holder, volumeId)
      await cloud.settled()
      assert.equal(await statusOf(cloud, volumeId), 'available')
    })

    test('several volumes asked for at once on one server all come', async () => {
      const cloud = shared()
      const id = cloud.id.web ?? ''
      const volumes = [await addVolume(cloud), await addVolume(cloud), await addVolume(cloud)]
      const answers = await Promise.all(volumes.map((volumeId) => attachVolume(cloud, id, volumeId)))
      assert.deepEqual(
        answers.map(({ statusCode }) => statusCode),
        [202, 202, 202],
      )
      await cloud.settled()
      assert.deepEqual(disksInGuest(cloud, id).sort(), [...volumes].sort())
      const gone = await Promise.all(volumes.map((volumeId) => detachVolume(cloud, id, volumeId)))
      assert.deepEqual(
        gone.map(({ statusCode }) => statusCode),
        [202, 202, 202],
      )
      await cloud.settled()
      assert.deepEqual(disksInGuest(cloud, id), [])
    })

    test('an attach asked for again under its Idempotency-Key is one attach', async () => {
      const cloud = shared()
      const id = cloud.id.web ?? ''
      const volumeId = await addVolume(cloud)
      for (const url of [`/servers/${id}/os-volume_attachments`, `/servers/${id}/action`]) {
        const ask = () =>
          cloud.member.post(
            url,
            { volumeAttachment: { volumeId } },
            { 'idempotency-key': `of ${url}`.replace(/\s/g, '') },
          )
        const first = await ask()
        assert.equal(first.statusCode, 202, first.body)
        await cloud.settled()
        const again = await ask()
        assert.deepEqual([again.statusCode, again.json()], [202, first.json()])
        assert.deepEqual(await volumesOf(cloud, id), [volumeId])
        await detachVolume(cloud, id, volumeId)
        await cloud.settled()
      }
    })

    test('a guest that does not take a disk, or let go of one, leaves everything as it was', async () => {
      const cloud = shared()
      const id = cloud.id.web ?? ''
      const volumeId = await addVolume(cloud)
      let refusing = 'ensureAttached'
      cloud.host.intercept = async (verb, _id, run) => {
        if (verb === refusing) throw new HostError('unreachable', 'The guest does not answer.')
        return run()
      }
      assert.equal((await attachVolume(cloud, id, volumeId)).statusCode, 202)
      await untilDone(cloud, id)
      assert.equal(await statusOf(cloud, volumeId), 'available')
      assert.deepEqual(await volumesOf(cloud, id), [])
      refusing = ''
      assert.equal((await attachVolume(cloud, id, volumeId)).statusCode, 202)
      await untilDone(cloud, id)
      refusing = 'removeAttached'
      assert.equal((await detachVolume(cloud, id, volumeId)).statusCode, 202)
      await cloud.settled()
      assert.equal(await statusOf(cloud, volumeId), 'detaching')
      await untilDone(cloud, id)
      assert.equal(await statusOf(cloud, volumeId), 'in-use')
      assert.deepEqual(await volumesOf(cloud, id), [volumeId])
      assert.deepEqual((await cloud.actions('web')).slice(-3), [
        'attachVolume Error',
        'attachVolume Success',
        'detachVolume Error',
      ])
      cloud.host.intercept = (_verb, _id, run) => run()
      assert.equal((await detachVolume(cloud, id, volumeId)).statusCode, 202)
      await cloud.settled()
      assert.equal(await statusOf(cloud, volumeId), 'available')
    })

    test('a volume that the host can give to nobody is not freed before the guest let go of it', async () => {
      const cloud = shared()
      const id = cloud.id.web ?? ''
      const volumeId = await addVolume(cloud)
      cloud.host.intercept = async (verb, _id, run) => {
        if (verb !== 'ensureAttached' && verb !== 'removeAttached') return run()
        if (verb === 'ensureAttached') await run()
        throw new HostError('unreachable', 'The guest does not answer.')
      }
      assert.equal((await attachVolume(cloud, id, volumeId)).statusCode, 202)
      await untilDone(cloud, id)
      assert.deepEqual(disksInGuest(cloud, id), [volumeId])
      assert.equal(await statusOf(cloud, volumeId), 'in-use')
      cloud.host.intercept = (_verb, _id, run) => run()
      await detachVolume(cloud, id, volumeId)
      await cloud.settled()
      assert.equal(await statusOf(cloud, volumeId), 'available')
    })

    test('a delete of the server frees its volumes, but those that go with it and have no snapshots', async () => {
      const cloud = shared()
      const id = await makeServer(cloud)
      await untilDone(cloud, id)
      const [stays, goes, kept, changed] = [
        await addVolume(cloud),
        await addVolume(cloud),
        await addVolume(cloud),
        await addVolume(cloud),
      ] as const
      await addSnapshot(cloud, kept)
      for (const [volumeId, more] of [
        [stays, {}],
        [goes, { delete_on_termination: true }],
        [kept, { delete_on_termination: true }],
        [changed, {}],
      ] as const) {
        assert.equal((await attachVolume(cloud, id, volumeId, more)).statusCode, 202)
      }
      await cloud.settled()
      const path = `/servers/${id}/os-volume_attachments/${changed}`
      const wish = { volumeId: changed, delete_on_termination: true }
      assert.equal((await cloud.member.put(path, { volumeAttachment: wish })).statusCode, 202)
      assert.equal((await cloud.member.delete(`/servers/${id}`)).statusCode, 202)
      await untilDone(cloud, id)
      assert.deepEqual(await Promise.all([stays, goes, kept, changed].map((volumeId) => statusOf(cloud, volumeId))), [
        'available',
        'gone',
        'available',
        'gone',
      ])
      assert.deepEqual(
        [stays, goes, kept, changed].map((volumeId) => cloud.machine.volumes.has(volumeId)),
        [true, false, true, false],
      )
      assert.equal((await findVolumeRow(cloud, stays))?.statusBefore, null)
    })
  })

  test(`${database}: a machine that restarts while a disk is on its way ends with rows and guests that agree`, async () => {
    await using cloud = await testCloud({ database, servers: { comes: {}, goes: {} } })
    const [coming, going] = [await addVolume(cloud), await addVolume(cloud)]
    const [comes, goes] = [cloud.id.comes ?? '', cloud.id.goes ?? '']
    await attachVolume(cloud, goes, going)
    await cloud.settled()
    cloud.host.intercept = async (verb, _id, run) => {
      if (verb === 'ensureAttached' || verb === 'removeAttached') throw new HostError('unreachable', 'It hangs.')
      return run()
    }
    await attachVolume(cloud, comes, coming)
    await detachVolume(cloud, goes, going)
    await cloud.settled()
    await cloud.stop()
    cloud.host.rebootMachine()
    await cloud.start()
    for (const id of [comes, goes]) await untilDone(cloud, id)
    assert.deepEqual([await statusOf(cloud, coming), await statusOf(cloud, going)], ['in-use', 'available'])
    assert.deepEqual([disksInGuest(cloud, comes), disksInGuest(cloud, goes)], [[coming], []])
  })
}
