/** Volumes that are being copied, and what is asked of them meanwhile. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HostError } from '../../src/host/host-driver.ts'
import { makeServer, untilDone } from '../support/scenarios.ts'
import { DATABASES, testCloud } from '../support/test-cloud.ts'
import { until } from '../support/until.ts'
import { actOn, cinder, makeVolume } from '../support/volume-requests.ts'
import { addVolume, attachVolume, findVolumeRow, statusOf } from '../support/volumes.ts'

for (const database of DATABASES) {
  test(`${database}: a volume that is copied for an hour is extended after that`, async () => {
    await using cloud = await testCloud({ database })
    const id = await makeVolume(cloud)
    let tries = 0
    let isCopied = true
    cloud.host.intercept = async (verb, _id, run) => {
      if (verb !== 'ensureVolumeSize') return run()
      tries += 1
      if (isCopied) throw new HostError('unreachable', 'The disk is being copied.')
      return run()
    }
    const answer = await actOn(cloud.member, id, { 'os-extend': { new_size: 2 } })
    assert.equal(answer.statusCode, 202, answer.body)
    const since = cloud.clock.now()
    await cloud.advanceUntil(() => cloud.clock.now() - since > 3_600_000, 100_000)
    assert.equal(await statusOf(cloud, id), 'extending')
    assert.ok(tries > 10, `${tries} tries`)
    isCopied = false
    await untilDone(cloud, id)
    const volume = await findVolumeRow(cloud, id)
    assert.deepEqual([volume?.status, volume?.sizeGib, volume?.faultMessage], ['available', 2, null])
    assert.equal(cloud.machine.volumes.get(id)?.sizeGib, 2)
  })

  test(`${database}: a volume that goes with its server goes when the copy of it is done`, async () => {
    await using cloud = await testCloud({ database })
    const serverId = await makeServer(cloud)
    await untilDone(cloud, serverId)
    const [copied, other] = [await addVolume(cloud), await addVolume(cloud)]
    for (const id of [copied, other]) {
      const answer = await attachVolume(cloud, serverId, id, { delete_on_termination: true })
      assert.equal(answer.statusCode, 202, answer.body)
      await untilDone(cloud, serverId)
    }
    const copyBegins = Promise.withResolvers<void>()
    const removed: string[] = []
    cloud.host.intercept = async (verb, id, run) => {
      if (verb === 'removeVolume') removed.push(id)
      if (verb === 'ensureVolume') await copyBegins.promise
      return run()
    }
    const made = await cinder(cloud.member).post('/volumes', { volume: { source_volid: copied } })
    assert.equal(made.statusCode, 202, made.body)
    const copy: string = made.json().volume.id
    assert.equal((await cloud.member.delete(`/servers/${serverId}`)).statusCode, 202)
    await until('the server is gone, and waited for nobody', async () => {
      cloud.clock.advance(1_000)
      return (await cloud.server(serverId)).vmState === 'deleted'
    })
    assert.deepEqual(await Promise.all([copied, other, copy].map((id) => statusOf(cloud, id))), [
      'deleting',
      'gone',
      'creating',
    ])
    assert.deepEqual(removed, [other])
    copyBegins.resolve()
    await untilDone(cloud, copy)
    await untilDone(cloud, copied)
    assert.deepEqual(await Promise.all([copied, copy].map((id) => statusOf(cloud, id))), ['gone', 'available'])
    assert.deepEqual([...cloud.machine.volumes.keys()], [copy])
  })
}
