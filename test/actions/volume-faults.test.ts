/** Every durable action of volumes and snapshots, whichever host call is lost and wherever the process is killed. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HostError } from '../../src/host/host-driver.ts'
import { TINY_IMAGE_ID } from '../../src/images/image-store.ts'
import { readUploads } from '../../src/images/upload-files.ts'
import { counting, hangingAt, LOSSES, losing, reach } from '../support/host-faults.ts'
import { untilDone } from '../support/scenarios.ts'
import { DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'
import { actOn, cinder, makeSnapshot, makeVolume } from '../support/volume-requests.ts'

interface Story {
  name: string
  /** What is there before, without faults; its id. */
  begin(cloud: TestCloud): Promise<string>
  /** Asks for the action; the id of what it is about. */
  ask(cloud: TestCloud, beginning: string): Promise<string>
  /** The status in the end; `gone`. */
  ends: string
  /** The status in the end when a host call fails for good. */
  fails: string
}

const nothing = async () => ''
const volume = (cloud: TestCloud) => makeVolume(cloud, { imageRef: TINY_IMAGE_ID })
const snapshot = async (cloud: TestCloud) => makeSnapshot(cloud, await makeVolume(cloud))

const act =
  (body: (id: string, cloud: TestCloud) => unknown) =>
  async (cloud: TestCloud, id: string): Promise<string> => {
    const answer = await actOn(cloud.member, id, await body(id, cloud))
    assert.equal(answer.statusCode, 202, answer.body)
    return id
  }
const remove = (collection: string) => async (cloud: TestCloud, id: string) => {
  const answer = await cinder(cloud.member).delete(`/${collection}/${id}?cascade=true`)
  assert.equal(answer.statusCode, 202, answer.body)
  return id
}
const create =
  (wish: (beginning: string) => object) =>
  async (cloud: TestCloud, beginning: string): Promise<string> => {
    const answer = await cinder(cloud.member).post('/volumes', { volume: wish(beginning) })
    assert.equal(answer.statusCode, 202, answer.body)
    return answer.json().volume.id
  }

const STORIES: Story[] = [
  { name: 'create', begin: nothing, ask: create(() => ({ size: 1 })), ends: 'available', fails: 'error' },
  {
    name: 'create from a volume',
    begin: volume,
    ask: create((source_volid) => ({ source_volid })),
    ends: 'available',
    fails: 'error',
  },
  { name: 'delete', begin: volume, ask: remove('volumes'), ends: 'gone', fails: 'error_deleting' },
  {
    name: 'delete with snapshots',
    async begin(cloud) {
      const id = await makeVolume(cloud)
      await makeSnapshot(cloud, id)
      await makeSnapshot(cloud, id)
      return id
    },
    ask: remove('volumes'),
    ends: 'gone',
    fails: 'error_deleting',
  },
  {
    name: 'extend',
    begin: volume,
    ask: act(() => ({ 'os-extend': { new_size: 2 } })),
    ends: 'available',
    fails: 'error_extending',
  },
  {
    name: 'upload',
    begin: volume,
    ask: act(() => ({ 'os-volume_upload_image': { image_name: 'copy' } })),
    ends: 'available',
    fails: 'available',
  },
  {
    name: 'revert',
    async begin(cloud) {
      const id = await makeVolume(cloud)
      await makeSnapshot(cloud, id)
      return id
    },
    ask: act(async (id, cloud) => {
      const { snapshots } = (await cinder(cloud.member).get(`/snapshots?volume_id=${id}`)).json()
      return { revert: { snapshot_id: snapshots[0].id } }
    }),
    ends: 'available',
    fails: 'error',
  },
  {
    name: 'reimage',
    begin: volume,
    ask: act(() => ({ 'os-reimage': { image_id: TINY_IMAGE_ID } })),
    ends: 'available',
    fails: 'error',
  },
  {
    name: 'snapshot',
    begin: volume,
    async ask(cloud, volumeId) {
      const answer = await cinder(cloud.member).post('/snapshots', { snapshot: { volume_id: volumeId } })
      assert.equal(answer.statusCode, 202, answer.body)
      return answer.json().snapshot.id
    },
    ends: 'available',
    fails: 'error',
  },
  { name: 'delete a snapshot', begin: snapshot, ask: remove('snapshots'), ends: 'gone', fails: 'error_deleting' },
]

async function statusOf({ cloud: { db } }: TestCloud, id: string): Promise<string> {
  const [inVolumes, inSnapshots] = await Promise.all([
    db.read.selectFrom('volumes').select('status').where('id', '=', id).executeTakeFirst(),
    db.read.selectFrom('volumeSnapshots').select('status').where('id', '=', id).executeTakeFirst(),
  ])
  return inVolumes?.status ?? inSnapshots?.status ?? 'gone'
}

/** The rows and the host have the same volumes, snapshots and images, but for rows whose making failed: they have none. */
async function assertNoStrays(cloud: TestCloud, what: string): Promise<void> {
  const { read } = cloud.cloud.db
  const volumes = await read.selectFrom('volumes').select(['id', 'status', 'sizeGib', 'hostName']).execute()
  const snapshots = await read.selectFrom('volumeSnapshots').select(['id', 'status']).execute()
  const images = await read.selectFrom('images').select(['id', 'status']).where('id', '!=', TINY_IMAGE_ID).execute()
  const made = volumes.filter(({ hostName }) => hostName !== null).map(({ id }) => id)
  const taken = snapshots.filter(({ status }) => status !== 'error').map(({ id }) => id)
  const { machine } = cloud
  assert.deepEqual([...machine.volumes.keys()].sort(), made.sort(), `volumes, ${what}`)
  assert.deepEqual([...machine.snapshots.keys()].sort(), taken.sort(), `snapshots, ${what}`)
  const imageIds = images.map(({ id }) => id).sort()
  assert.deepEqual([...machine.images].filter((id) => id !== TINY_IMAGE_ID).sort(), imageIds, `images, ${what}`)
  const uploads = (await readUploads(cloud.cloud.config)).map(({ imageId }) => imageId)
  assert.deepEqual(uploads.sort(), imageIds, `uploads, ${what}`)
  assert.ok(
    images.every(({ status }) => status === 'active'),
    what,
  )
  for (const { id, status, sizeGib } of volumes) {
    if (status === 'available') assert.equal(machine.volumes.get(id)?.sizeGib, sizeGib, what)
  }
}

/** How often the story asks the host of something, when all goes well. */
async function countCalls(cloud: TestCloud, story: Story): Promise<string[]> {
  const { intercept, calls } = counting()
  const beginning = await story.begin(cloud)
  cloud.host.intercept = intercept
  const id = await story.ask(cloud, beginning)
  await untilDone(cloud, id)
  assert.equal(await statusOf(cloud, id), story.ends)
  cloud.host.intercept = (_verb, _id, run) => run()
  assert.ok(calls.length > 0)
  return calls
}

for (const database of DATABASES) {
  test(`${database}: each action of volumes ends well whichever host call, or its answer, is lost`, async () => {
    await using cloud = await testCloud({ database })
    for (const story of STORIES) {
      for (const [nth, verb] of (await countCalls(cloud, story)).entries()) {
        for (const loss of LOSSES) {
          const beginning = await story.begin(cloud)
          cloud.host.intercept = losing(nth, loss)
          const id = await story.ask(cloud, beginning)
          await untilDone(cloud, id)
          const what = `${story.name}: after the ${loss} of ${verb} (${nth}) was lost`
          assert.equal(await statusOf(cloud, id), story.ends, what)
          cloud.host.intercept = (_verb, _id, run) => run()
          await assertNoStrays(cloud, what)
        }
      }
    }
  })

  test(`${database}: each action of volumes ends well when the process is killed at any host call`, async () => {
    await using cloud = await testCloud({ database })
    for (const story of STORIES) {
      for (const [nth, verb] of (await countCalls(cloud, story)).entries()) {
        // To start again on PostgreSQL takes a second; there the worse of the two has to do.
        for (const loss of database === 'postgres' ? (['answer'] as const) : LOSSES) {
          const beginning = await story.begin(cloud)
          const hanging = hangingAt(nth, loss)
          cloud.host.intercept = hanging.intercept
          const id = await story.ask(cloud, beginning)
          await reach(cloud, hanging.reached)
          await cloud.killAndStart()
          await untilDone(cloud, id)
          assert.equal(await statusOf(cloud, id), story.ends, `${story.name}: killed at ${verb} (${nth}), ${loss} lost`)
        }
      }
    }
  })

  test(`${database}: an action that fails for good says so, leaves nothing behind, and all can be deleted`, async () => {
    await using cloud = await testCloud({ database })
    for (const story of STORIES) {
      const [verb] = await countCalls(cloud, story)
      const beginning = await story.begin(cloud)
      cloud.host.intercept = async (asked, _id, run) => {
        if (asked === verb) throw new HostError('noSpace', 'The disk of the host is full.')
        return run()
      }
      const id = await story.ask(cloud, beginning)
      await untilDone(cloud, id)
      cloud.host.intercept = (_verb, _id, run) => run()
      assert.equal(await statusOf(cloud, id), story.fails, story.name)
      const { db } = cloud.cloud
      const faults = [
        ...(await db.read.selectFrom('volumes').select('faultMessage').where('id', '=', id).execute()),
        ...(await db.read.selectFrom('volumeSnapshots').select('faultMessage').where('id', '=', id).execute()),
      ]
      assert.equal(faults[0]?.faultMessage, 'The disk of the host is full.', story.name)
      await assertNoStrays(cloud, story.name)
    }
    const { volumes } = (await cinder(cloud.member).get('/volumes')).json()
    for (const { id } of volumes) await remove('volumes')(cloud, id)
    await cloud.settled()
    assert.deepEqual((await cinder(cloud.member).get('/volumes')).json(), { volumes: [] })
    await assertNoStrays(cloud, 'after all was deleted')
    assert.equal(cloud.machine.volumes.size + cloud.machine.snapshots.size, 0)
  })

  test(`${database}: a delete by force takes over whatever is being done, and leaves nothing`, async () => {
    await using cloud = await testCloud({ database })
    for (const story of STORIES.filter(({ name }) => /^(create|extend|upload|revert|reimage)$/.test(name))) {
      const beginning = await story.begin(cloud)
      const gate = Promise.withResolvers<void>()
      const reached = Promise.withResolvers<void>()
      let isFirst = true
      cloud.host.intercept = async (verb, _id, run) => {
        if (verb === 'readServers' || !isFirst) return run()
        isFirst = false
        reached.resolve()
        await gate.promise
        return run()
      }
      const id = await story.ask(cloud, beginning)
      await reached.promise
      const refused = await cinder(cloud.member).delete(`/volumes/${id}`)
      assert.equal(refused.statusCode, 400, `${story.name}: ${refused.body}`)
      const forced = await cinder(cloud.admin, '3.23').delete(`/volumes/${id}?force=true&cascade=true`)
      assert.equal(forced.statusCode, 202, `${story.name}: ${forced.body}`)
      // The delete waits for the call under way, which has its effect only now.
      gate.resolve()
      await untilDone(cloud, id)
      assert.equal(await statusOf(cloud, id), 'gone', story.name)
      await assertNoStrays(cloud, story.name)
    }
  })

  test(`${database}: nothing goes while a volume is being made from it`, async () => {
    await using cloud = await testCloud({ database })
    const source = await makeVolume(cloud)
    const snapshotId = await makeSnapshot(cloud, source)
    const gate = Promise.withResolvers<void>()
    cloud.host.intercept = async (verb, _id, run) => {
      if (verb === 'ensureVolume') await gate.promise
      return run()
    }
    const service = cinder(cloud.member)
    const ids = [
      await create(() => ({ source_volid: source }))(cloud, ''),
      await create(() => ({ snapshot_id: snapshotId }))(cloud, ''),
    ]
    for (const path of [`/volumes/${source}?cascade=true`, `/snapshots/${snapshotId}`]) {
      const refused = await service.delete(path)
      assert.equal(refused.statusCode, 400, refused.body)
      assert.match(refused.json().badRequest.message, /is being copied to volume/)
    }
    gate.resolve()
    for (const id of ids) await untilDone(cloud, id)
    await remove('volumes')(cloud, source)
    await untilDone(cloud, source)
    for (const id of ids) assert.equal(await statusOf(cloud, id), 'available')
  })

  test(`${database}: a volume that fits nowhere says why`, async () => {
    await using cloud = await testCloud({ database, memory: { facts: { diskGib: 10 } }, config: { diskRatio: 1 } })
    const id = await makeVolume(cloud, { size: 11 })
    await untilDone(cloud, id)
    assert.equal(await statusOf(cloud, id), 'error')
    const { faultMessage } = await cloud.cloud.db.read
      .selectFrom('volumes')
      .select('faultMessage')
      .where('id', '=', id)
      .executeTakeFirstOrThrow()
    assert.match(
      faultMessage ?? '',
      /^No valid host was found\. test-host: it has 10 GiB of disk free, 11 are needed\.$/,
    )
  })
}
