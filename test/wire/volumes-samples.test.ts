/** The samples of Cinder's documentation, asked again: every answer has the members that theirs has, and no others. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES } from '../support/test-cloud.ts'
import { cinder, makeVolume } from '../support/volume-requests.ts'

const FIXTURES = join(import.meta.dirname, '../fixtures/volume')
const sample = (name: string) => JSON.parse(readFileSync(join(FIXTURES, `${name}.json`), 'utf8'))
const membersOf = (thing: object): string[] => Object.keys(thing).sort()
/** Microversions that there is a sample of. */
const versionsOf = (name: string): string[] =>
  readdirSync(FIXTURES).flatMap((file) => {
    const [, version] = new RegExp(`^${name}-(3\\.\\d+)\\.json$`).exec(file) ?? []
    return version === undefined ? [] : [version]
  })

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })

    for (const version of versionsOf('volume-show-response')) {
      test(`volumes at ${version}`, async () => {
        const cloud = shared()
        // The samples show what admins see.
        const service = cinder(cloud.admin, version)
        const { volume: wish } = sample('volume-create-request')
        const made = await service.post('/volumes', { ...sample('volume-create-request'), volume: wish })
        assert.equal(made.statusCode, 202, made.body)
        const { volume } = made.json()
        assert.deepEqual(membersOf(volume), membersOf(sample(`volume-create-response-${version}`).volume))
        await cloud.settled()
        const shown = (await service.get(`/volumes/${volume.id}`)).json().volume
        assert.deepEqual(membersOf(shown), membersOf(sample(`volume-show-response-${version}`).volume))
        const [detailed] = (await service.get('/volumes/detail?limit=1')).json().volumes
        assert.deepEqual(membersOf(detailed), membersOf(shown))
        const updated = await service.put(`/volumes/${volume.id}`, sample('volume-update-request'))
        assert.equal(updated.statusCode, 200, updated.body)
        assert.deepEqual(
          membersOf(updated.json().volume),
          membersOf(sample(`volume-update-response-${version}`).volume),
        )
        const expected = sample(`volume-show-response-${version}`).volume
        for (const member of ['bootable', 'encrypted', 'multiattach', 'size', 'shared_targets', 'consumes_quota']) {
          assert.equal(typeof shown[member], typeof expected[member], member)
        }
      })
    }

    for (const version of versionsOf('snapshot-show-response')) {
      test(`snapshots at ${version}`, async () => {
        const cloud = shared()
        const service = cinder(cloud.member, version)
        const body = sample('snapshot-create-request')
        body.snapshot.volume_id = await makeVolume(cloud)
        const made = await service.post('/snapshots', body)
        assert.equal(made.statusCode, 202, made.body)
        const { snapshot } = made.json()
        assert.deepEqual(membersOf(snapshot), membersOf(sample(`snapshot-create-response-${version}`).snapshot))
        await cloud.settled()
        const shown = (await service.get(`/snapshots/${snapshot.id}`)).json().snapshot
        assert.deepEqual(membersOf(shown), membersOf(sample(`snapshot-show-response-${version}`).snapshot))
        const updated = await service.put(`/snapshots/${snapshot.id}`, sample('snapshot-update-request'))
        assert.deepEqual(
          membersOf(updated.json().snapshot),
          membersOf(sample(`snapshot-update-response-${version}`).snapshot),
        )
        assert.equal(updated.json().snapshot.name, sample('snapshot-update-request').snapshot.name)
      })
    }

    for (const version of versionsOf('volume-transfers-create-response')) {
      test(`transfers at ${version}`, async () => {
        const cloud = shared()
        const service = cinder(cloud.member, version)
        const volumeId = await makeVolume(cloud)
        const made = await service.post('/volume-transfers', {
          transfer: { volume_id: volumeId, name: 'first volume' },
        })
        const { transfer } = made.json()
        assert.deepEqual(membersOf(transfer), membersOf(sample(`volume-transfers-create-response-${version}`).transfer))
        const accept = { accept: { auth_key: transfer.auth_key } }
        const accepted = (await service.post(`/volume-transfers/${transfer.id}/accept`, accept)).json()
        assert.deepEqual(membersOf(accepted.transfer), membersOf(sample('volume-transfers-accept-response').transfer))
      })
    }

    test('everything else', async () => {
      const cloud = shared()
      await makeVolume(cloud)
      const service = cinder(cloud.admin)
      const ask = async (path: string) => (await service.get(path)).json()
      const limits = await ask('/limits')
      assert.deepEqual(membersOf(limits.limits.absolute), membersOf(sample('limits-show-response').limits.absolute))
      const types = await ask('/types')
      assert.deepEqual(
        membersOf(types.volume_types[0]),
        membersOf(sample('volume-types-list-response').volume_types[0]),
      )
      assert.deepEqual(await ask('/os-availability-zone'), sample('availability-zone-list-response'))
      const brief = (await cinder(cloud.member).get('/volumes')).json()
      assert.deepEqual(membersOf(brief.volumes[0]), membersOf(sample('volumes-list-response').volumes[0]))
      const services = (await cinder(cloud.admin, '3.7').get('/os-services')).json().services
      const expected = sample('services-list-response').services
      for (const binary of ['cinder-scheduler', 'cinder-volume']) {
        const [ours, theirs] = [services, expected].map((list) =>
          list.find((one: { binary: string }) => one.binary === binary),
        )
        assert.deepEqual(
          membersOf(ours).filter((member) => member !== 'cluster'),
          membersOf(theirs).filter((member) => member !== 'cluster'),
        )
      }
      const usage = (await ask(`/os-quota-sets/${cloud.member.projectId}?usage=true`)).quota_set
      const plain = (name: string) => !/__DEFAULT__|_ssd$|_sata$/.test(name)
      assert.deepEqual(
        membersOf(usage).filter(plain),
        membersOf(sample('quotas-show-usage-response').quota_set).filter(plain),
      )
      assert.ok((await ask('/extensions')).extensions.length > 0)
      assert.deepEqual(await ask('/backups'), { backups: [] })
    })
  })
}
