/** Pages of S02 and S03: no gap, no double, whatever happens in between. */
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { sql } from 'kysely'
import { comesAfter, inOrder } from '../../src/db/keyset.ts'
import { serversToSearch } from '../../src/servers/list-servers.ts'
import { readServerFilters } from '../../src/servers/server-filters.ts'
import { assertFault } from '../support/assert-fault.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Client, DATABASES } from '../support/test-cloud.ts'

const COUNT = 25

interface Page {
  servers: { id: string; name: string }[]
  servers_links?: { rel: string; href: string }[]
}

async function readPage(client: Client, path: string): Promise<Page> {
  const answer = await client.get(path)
  assert.equal(answer.statusCode, 200, `${path} ${answer.body}`)
  return answer.json()
}

/** The path of the next page, under the project, as a client follows it. */
function nextOf(client: Client, page: Page): string | undefined {
  const [next, another] = page.servers_links ?? []
  if (!next) return undefined
  assert.equal(another, undefined)
  assert.equal(next.rel, 'next')
  const [, path] = next.href.split(`/v2/${client.projectId}`)
  return path
}

/** All names, page by page; `between` runs after each. */
async function walk(client: Client, path: string, between?: (page: number) => Promise<void>): Promise<string[]> {
  const names: string[] = []
  let next: string | undefined = path
  for (let count = 1; next !== undefined; count++) {
    assert.ok(count < 100, 'The pages do not end.')
    const page: Page = await readPage(client, next)
    names.push(...page.servers.map(({ name }) => name))
    next = nextOf(client, page)
    await between?.(count)
  }
  return names
}

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })
    const newestFirst = Array.from({ length: COUNT }, (_, n) => `s${COUNT - n}`)

    before(async () => {
      const cloud = shared()
      for (let n = 1; n <= COUNT; n++) {
        const wish = await cloud.wish({ name: `s${n}`, metadata: { parity: String(n % 2) } })
        assert.equal((await cloud.member.post('/servers', wish)).statusCode, 202)
        // Several in the same millisecond, so that the order needs more than the time.
        if (n % 5 === 0) cloud.clock.advance(1_000)
      }
      await cloud.settled()
      // Within one millisecond the order is that of the ids, which are random.
      const rows = await cloud.cloud.db.read.selectFrom('servers').select(['id', 'createdAt']).execute()
      rows.sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1))
      await cloud.cloud.db.transaction(async (tx) => {
        for (const [n, { id }] of rows.entries()) {
          await tx.updateTable('servers').set({ name: newestFirst[n] }).where('id', '=', id).execute()
        }
      })
    })

    test('a page is read off the index, in order, from its marker on', {
      skip: database === 'sqlite' ? false : 'the query plan that is read here is what SQLite says',
    }, async () => {
      const { cloud, member } = shared()
      const filters = readServerFilters({}, { ...member, roles: [], isAdmin: false, requestId: '' })
      const [marker] = await cloud.db.read.selectFrom('servers').selectAll().limit(1).execute()
      assert.ok(marker)
      const page = serversToSearch(cloud.db, filters).selectAll().orderBy(inOrder(filters.sort)).limit(10)
      for (const [query, entered] of [
        [page, 'projectId=?'],
        [page.where(comesAfter(filters.sort, marker)), 'projectId=? AND (createdAt,id)<(?,?)'],
      ] as const) {
        const plan = await query.explain<{ detail: string }>(undefined, sql`query plan`)
        assert.deepEqual(
          plan.map(({ detail }) => detail),
          [`SEARCH servers USING INDEX serversOfProject (${entered})`],
        )
      }
    })

    test('the list is newest first', async () => {
      const { member } = shared()
      for (const path of ['/servers', '/servers/detail']) {
        const { servers, servers_links: links } = await readPage(member, path)
        assert.deepEqual(
          servers.map(({ name }) => name),
          newestFirst,
        )
        assert.equal(links, undefined)
      }
    })

    test('pages of any size hold every server once, in every order', async () => {
      const { member } = shared()
      for (const order of [
        '',
        'sort_dir=desc',
        'sort_key=created_at',
        'sort_key=created_at&sort_dir=asc',
        'sort_key=display_name&sort_dir=asc',
        'sort_key=uuid&sort_dir=asc',
        'sort_key=vm_state&sort_dir=asc',
        'sort_key=task_state',
        'sort_key=launched_at&sort_dir=desc',
        'sort_key=terminated_at&sort_dir=asc',
        'sort_key=key_name&sort_dir=desc',
        'sort_key=vm_state&sort_dir=asc&sort_key=display_name&sort_dir=desc',
        'sort_key=display_name&sort_dir=desc&sort_key=created_at&sort_dir=asc',
      ]) {
        const { servers } = await readPage(member, `/servers/detail?${order}`)
        const whole = servers.map(({ name }) => name)
        assert.equal(new Set(whole).size, COUNT, order)
        for (const limit of [4, 7]) {
          assert.deepEqual(await walk(member, `/servers?limit=${limit}&${order}`), whole, order)
        }
      }
      const { servers } = await readPage(member, '/servers?sort_key=display_name&sort_dir=asc')
      const names = servers.map(({ name }) => name)
      assert.deepEqual(names, names.toSorted())
      const oldestFirst = await readPage(member, '/servers?sort_key=created_at&sort_dir=asc')
      assert.deepEqual(oldestFirst.servers.map(({ name }) => name).toReversed(), newestFirst)
    })

    test('a page of exactly the rest still links on, to an empty page', async () => {
      const { member } = shared()
      const page = await readPage(member, `/servers?limit=${COUNT}`)
      const last = await readPage(member, nextOf(member, page) ?? '')
      assert.deepEqual(last, { servers: [] })
    })

    test('the link keeps the path and the other parameters', async () => {
      const { member } = shared()
      const query = 'limit=2&name=s&status=ACTIVE&status=BUILD&sort_key=display_name&sort_dir=asc&other=a%26b'
      const page = await readPage(
        member,
        `/servers/detail?${query}&marker=${(await readPage(member, '/servers')).servers[5]?.id}`,
      )
      const [{ href } = { href: '' }] = page.servers_links ?? []
      const url = new URL(href)
      assert.equal(url.origin, 'http://localhost')
      assert.equal(url.pathname, `/v2/${member.projectId}/servers/detail`)
      assert.deepEqual(url.searchParams.getAll('marker'), [page.servers.at(-1)?.id])
      for (const [key, value] of new URLSearchParams(query))
        assert.ok(url.searchParams.getAll(key).includes(value), key)
      assert.deepEqual(url.searchParams.getAll('status'), ['ACTIVE', 'BUILD'])
    })

    test('pages under a filter hold what the filter finds', async () => {
      const { member } = shared()
      const names = await walk(member, '/servers?limit=3&name=^s.$')
      assert.deepEqual(names, newestFirst.slice(-9))
    })

    test('limits: none, too many, and none at all', async () => {
      const { member } = shared()
      assert.deepEqual(await readPage(member, '/servers?limit=0'), { servers: [] })
      assert.deepEqual(await readPage(member, '/servers/detail?limit=0'), { servers: [] })
      for (const limit of ['1000', '1001', '999999999', '025']) {
        assert.equal((await readPage(member, `/servers?limit=${limit}`)).servers.length, COUNT, limit)
      }
      for (const limit of ['-1', '1.5', 'x', '', '1e2', '0x10', '99999999999999999999', '%2B1']) {
        for (const path of ['/servers', '/servers/detail']) {
          assertFault(await member.get(`${path}?limit=${limit}`), 400, /limit/, limit)
        }
      }
    })

    test('a marker that is no server within reach is refused', async () => {
      const cloud = shared()
      const stranger = await cloud.stranger()
      const { id } = (await stranger.post('/servers', await cloud.wish())).json().server
      await cloud.settled()
      for (const marker of ['11111111-1111-4111-8111-111111111111', 'x', '', id]) {
        assertFault(await cloud.member.get(`/servers?marker=${marker}`), 400, /marker/, marker)
        assertFault(await cloud.member.get(`/servers/detail?limit=0&marker=${marker}`), 400, /marker/, marker)
      }
      await stranger.delete(`/servers/${id}`)
      await cloud.settled()
    })

    test('servers made and deleted between pages neither hide nor double others', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const wish = await cloud.wish({ max_count: 24 })
      assert.equal((await client.post('/servers', wish)).statusCode, 202)
      await cloud.settled()
      const all = (await readPage(client, '/servers')).servers
      const deleted = new Set<string>()
      let page = 0
      for (const order of ['', '&sort_key=created_at&sort_dir=asc', '&sort_key=display_name&sort_dir=asc']) {
        const walked = await walk(client, `/servers?limit=4${order}`, async () => {
          page += 1
          cloud.clock.advance(1_000)
          await client.post('/servers', await cloud.wish({ name: `new-${page}` }))
          // The last of the page that was just read, which the next link names, and one that is far away.
          for (const one of [all[page * 2], all[all.length - page]]) {
            if (!one) continue
            deleted.add(one.name)
            await client.delete(`/servers/${one.id}`)
          }
          await cloud.settled()
        })
        assert.equal(new Set(walked).size, walked.length, `doubled: ${order}`)
        for (const { name } of all) assert.ok(walked.includes(name) || deleted.has(name), `${name} is missing`)
      }
    })

    test('the server that a marker names may be deleted meanwhile', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      await client.post('/servers', await cloud.wish({ max_count: 5 }))
      await cloud.settled()
      const whole = (await readPage(client, '/servers')).servers
      const page = await readPage(client, '/servers?limit=2')
      await client.delete(`/servers/${page.servers[1]?.id}`)
      await cloud.settled()
      const rest = await readPage(client, nextOf(client, page) ?? '')
      assert.deepEqual(
        rest.servers.map(({ id }) => id),
        whole.slice(2, 4).map(({ id }) => id),
      )
    })
  })
}
