/** The examples of the API document for S01 to S11, S18 and S19, replayed word for word. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { assertRequestIds } from '../support/assert-fault.ts'
import { KEYS } from '../support/public-keys.ts'
import { assertSameFormat } from '../support/same-format.ts'
import { assertSameShape } from '../support/same-shape.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Answer, DATABASES, type TestCloud } from '../support/test-cloud.ts'
import { until } from '../support/until.ts'

interface Example {
  op: string
  kind: 'request' | 'response'
  status: number | null
  method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  path: string
  file: string | null
}

const read = (name: string) => JSON.parse(readFileSync(new URL(`../fixtures/uos/${name}`, import.meta.url), 'utf8'))
const EXAMPLES: Example[] = read('index.json')
/** The image that the example of S01 names. */
const IMAGE_ID = '61c662a0-673b-4b02-a191-235716118b7c'

function exampleOf(op: string, kind: Example['kind']): Example {
  const example = EXAMPLES.find((one) => one.op === op && one.kind === kind)
  if (!example) throw new Error(`There is no ${kind} of ${op}.`)
  return example
}

/** Sends the request of an operation as it is written, and compares status and body with the written answer. */
async function replay(cloud: TestCloud, op: string, serverId = ''): Promise<Answer> {
  const [asked, answered] = [exampleOf(op, 'request'), exampleOf(op, 'response')]
  const { member } = cloud
  const path = asked.path.replace('{project_id}', member.projectId).replace('{server_id}', serverId)
  const answer = await member.request({
    method: asked.method,
    url: `/${path}`,
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    ...(asked.file === null ? {} : { payload: JSON.stringify(read(asked.file)) }),
  })
  assert.equal(answer.statusCode, answered.status, answer.body)
  assertRequestIds(answer)
  if (answered.file === null) assert.equal(answer.body, '')
  return answer
}

/** Compares a body with the example's, or with the part of it that `pick` takes. */
function compare(body: unknown, op: string, pick: (body: never) => unknown = (whole) => whole): void {
  const example = pick(read(exampleOf(op, 'response').file ?? '') as never)
  assertSameShape(body, example, op)
  assertSameFormat(body, example, op)
}

async function addExampleImage(cloud: TestCloud): Promise<void> {
  const { db } = cloud.cloud
  const tiny = await db.read.selectFrom('images').selectAll().where('name', '=', 'tiny').executeTakeFirstOrThrow()
  await db.transaction((tx) =>
    tx
      .insertInto('images')
      .values({ ...tiny, id: IMAGE_ID, name: 'Ubuntu 13.04 x64' })
      .execute(),
  )
}

type Detail = Record<string, unknown> & { id: string; 'OS-EXT-SRV-ATTR:host': string }

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, config: { hypervisorSuffix: '.0.lg.ustack.in' } })

    test('S01 to S11, S18 and S19 are answered as the document shows', async () => {
      const cloud = shared()
      const { member } = cloud
      await addExampleImage(cloud)

      // The guest of the first server does not start before the building server was looked at.
      const gate = Promise.withResolvers<void>()
      cloud.host.intercept = async (verb, _id, run) => {
        if (verb === 'ensureOn') await gate.promise
        return run()
      }
      const created = await replay(cloud, 'S01')
      compare(created.json(), 'S01')
      const { id } = created.json().server
      await until('the guest starts', async () => (await cloud.server(id)).taskState === 'spawning')
      const building = await replay(cloud, 'S03')
      compare(building.json().servers[0], 'S03', (body: { servers: unknown[] }) => body.servers[0])
      gate.resolve()
      await cloud.settled()

      compare((await replay(cloud, 'S02')).json(), 'S02')
      const active = (await replay(cloud, 'S03')).json().servers[0] as Detail
      compare(active, 'S03', (body: { servers: unknown[] }) => body.servers[1])
      const shown = (await replay(cloud, 'S04', id)).json()
      compare(shown, 'S04')
      assert.deepEqual(shown.server, active)
      assert.equal(shown.server.name, 'api-test-1')
      assert.deepEqual([shown.server.image.id, shown.server.image.name], [IMAGE_ID, 'Ubuntu 13.04 x64'])
      assert.deepEqual(
        [shown.server.flavor.id, shown.server.flavor.name],
        ['3332c026-533a-43d0-b415-abd3fdab09bf', 'micro-2'],
      )

      cloud.clock.advance(5_000)
      const renamed = await replay(cloud, 'S05', id)
      compare(renamed.json(), 'S05')
      assert.equal(renamed.json().server.name, 'new-name')
      assert.ok(renamed.json().server.updated > shown.server.updated)

      const stateOf = async () => {
        await cloud.settled()
        const { server } = (await replay(cloud, 'S04', id)).json()
        return [server.status, server['OS-EXT-STS:vm_state'], server['OS-EXT-STS:power_state']]
      }
      await replay(cloud, 'S07', id)
      await cloud.advanceUntil(async () => (await cloud.server(id)).taskState === null)
      assert.deepEqual(await stateOf(), ['ACTIVE', 'active', 1])
      await replay(cloud, 'S11', id)
      assert.deepEqual(await stateOf(), ['ACTIVE', 'active', 1])
      assert.equal(cloud.host.agentOf(id).passwords.get('root'), 'newsecret')
      for (const [name, public_key] of [
        ['key1', KEYS.one],
        ['key2', KEYS.two],
      ]) {
        assert.equal((await member.post('/os-keypairs', { keypair: { name, public_key } })).statusCode, 200)
      }
      const keysOf = () => [...(cloud.host.agentOf(id).keys.get('root') ?? [])].sort()
      await replay(cloud, 'S18', id)
      assert.deepEqual(await stateOf(), ['ACTIVE', 'active', 1])
      assert.deepEqual(keysOf(), [KEYS.one, KEYS.two].sort())
      await replay(cloud, 'S19', id)
      assert.deepEqual(await stateOf(), ['ACTIVE', 'active', 1])
      assert.deepEqual(keysOf(), [])
      await replay(cloud, 'S10', id)
      assert.deepEqual(await stateOf(), ['SHUTOFF', 'stopped', 4])
      await replay(cloud, 'S08', id)
      assert.deepEqual(await stateOf(), ['ACTIVE', 'active', 1])
      await replay(cloud, 'S09', id)
      await cloud.advanceUntil(async () => (await cloud.server(id)).taskState === null)
      assert.deepEqual(await stateOf(), ['SHUTOFF', 'stopped', 4])
      await replay(cloud, 'S06', id)
      await cloud.settled()
      assert.equal((await member.get(`/servers/${id}`)).statusCode, 404)
    })

    test('what holds in every example holds in answers', async () => {
      const cloud = shared()
      const { member } = cloud
      const { id } = (await member.post('/servers', await cloud.wish({ name: 'invariants' }))).json().server
      await cloud.settled()
      const { server } = (await member.get(`/servers/${id}`)).json()
      const host = server['OS-EXT-SRV-ATTR:host']
      const hash = createHash('sha224').update(`${server.tenant_id}${host}`).digest('hex')
      assert.equal(server.hostId, hash)
      assert.equal(server['OS-EXT-SRV-ATTR:hypervisor_hostname'], `${host}.0.lg.ustack.in`)
      assert.deepEqual([server.tenant_id, server.user_id], [member.projectId, member.userId])
      const [address] = server.addresses.shared
      assert.deepEqual(
        server.security_groups.map((group: { port_id: string; name: string }) => [group.port_id, group.name]),
        [[address['UOS-EXT-IPS:id'], 'default']],
      )
      assert.match(address.addr, /^172\.31\.(24[89]|25[01])\.\d+$/)
      assert.equal(address['UOS-EXT-IPS:subnet_id'], '0383c257-d730-4bbc-bd20-c7482bc925e8')
      assert.ok(server['OS-SRV-USG:launched_at'] >= server.created.slice(0, 19))
      assert.ok(server['OS-SRV-USG:launched_at'] <= `${server.updated.slice(0, 19)}.999999`)
      const row = await cloud.server(id)
      assert.equal(server['OS-EXT-SRV-ATTR:instance_name'], `instance-${row.number.toString(16).padStart(8, '0')}`)
    })

    test('links begin with the address that the request came to', async () => {
      const cloud = shared()
      const answer = await cloud.member.post('/servers', await cloud.wish(), {
        host: 'bj1.compute.api.ustack.com',
        'x-forwarded-proto': 'https',
      })
      const { id, links } = answer.json().server
      const { projectId } = cloud.member
      assert.deepEqual(links, [
        { href: `https://bj1.compute.api.ustack.com/v2/${projectId}/servers/${id}`, rel: 'self' },
        { href: `https://bj1.compute.api.ustack.com/${projectId}/servers/${id}`, rel: 'bookmark' },
      ])
    })
  })
}
