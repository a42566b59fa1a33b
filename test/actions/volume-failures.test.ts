/** Creates that bring disks and fail: nothing is left but the row, and what was given is as before. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HostError } from '../../src/host/host-driver.ts'
import { countersAndClaims, tracesOf } from '../support/host-faults.ts'
import { untilDone } from '../support/scenarios.ts'
import { DATABASES, testCloud } from '../support/test-cloud.ts'
import { addVolume, statusOf } from '../support/volumes.ts'

for (const database of DATABASES) {
  test(`${database}: a create with disks that fails at any host call leaves nothing, and frees what it was given`, async () => {
    await using cloud = await testCloud({ database })
    const { db } = cloud.cloud
    await db.transaction((tx) => tx.updateTable('flavors').set({ ephemeralGib: 1, swapMib: 32 }).executeTakeFirst())
    const given = await addVolume(cloud)
    const { server } = await cloud.wish()
    const blank = { source_type: 'blank', destination_type: 'volume', volume_size: 1 }
    const mapping = [
      { source_type: 'volume', uuid: given, destination_type: 'volume' },
      blank,
      { ...blank, delete_on_termination: true },
    ]
    for (const broken of ['ensurePort', 'ensureDisk', 'ensureVolume', 'ensureBlankDisk', 'ensureOn', 'readPower']) {
      let isBroken = false
      cloud.host.intercept = async (verb, _id, run) => {
        if (verb !== broken) return run()
        isBroken = true
        throw new HostError('noSpace', `The disk of the host is full at ${verb}.`)
      }
      const answer = await cloud.member.post('/servers', { server: { ...server, block_device_mapping_v2: mapping } })
      assert.equal(answer.statusCode, 202, answer.body)
      const { id } = answer.json().server
      await untilDone(cloud, id)
      assert.ok(isBroken, broken)
      const { vmState, faultMessage } = await cloud.server(id)
      assert.deepEqual([vmState, faultMessage], ['error', `The disk of the host is full at ${broken}.`])
      assert.deepEqual(await tracesOf(cloud, id), [], broken)
      assert.equal(await statusOf(cloud, given), 'available')
      assert.deepEqual([...cloud.machine.volumes.keys()], [given])
      const { counters, sums } = await countersAndClaims(cloud)
      assert.deepEqual(
        [counters, sums],
        [
          [0, 0, 0],
          [0, 0, 0],
        ],
      )
      assert.deepEqual(await cloud.actions(id), ['create Error'])
      assert.equal((await cloud.member.delete(`/servers/${id}`)).statusCode, 202)
      await untilDone(cloud, id)
    }
  })

  test(`${database}: an image that the host cannot make leaves none, and the server as it was`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} } })
    const id = cloud.id.web ?? ''
    cloud.host.intercept = async (verb, _id, run) => {
      if (verb === 'ensureImageOf') throw new HostError('noSpace', 'The disk of the host is full.')
      return run()
    }
    const answer = await cloud.member.post(`/servers/${id}/action`, { createImage: { name: 'snap' } })
    assert.equal(answer.statusCode, 202, answer.body)
    await untilDone(cloud, id)
    const { vmState, taskState } = await cloud.server(id)
    assert.deepEqual([vmState, taskState], ['active', null])
    assert.deepEqual(await cloud.actions(id), ['create Success', 'createImage Error'])
    const image = await cloud.member.get(`//v2/images/${answer.json().image_id}`)
    assert.equal(image.statusCode, 404)
    // A host that never answers is given up in the end, and the image can be deleted.
    cloud.host.intercept = async (verb, _id, run) => {
      if (/Image/.test(verb)) throw new HostError('unreachable', 'The host does not answer.')
      return run()
    }
    const second = await cloud.member.post(`/servers/${id}/action`, { createImage: { name: 'snap' } })
    await cloud.settled()
    // Copying may take two hours, and cleaning up as long again.
    for (let hours = 0; hours < 4; hours += 2) {
      cloud.clock.advance(2 * 3_600_000 + 1)
      await cloud.settled()
    }
    await untilDone(cloud, id)
    assert.equal((await cloud.server(id)).taskState, null)
    assert.equal((await cloud.server(id)).vmState, 'active')
    const left = await cloud.cloud.db.read
      .selectFrom('images')
      .select('status')
      .where('id', '=', second.json().image_id)
      .executeTakeFirst()
    assert.equal(left?.status, 'killed')
  })
}
