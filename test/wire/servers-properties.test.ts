/** Whatever is sent to any route that takes a body, or to any list, is answered or refused, and never fails. */
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import fc from 'fast-check'
import { serviceOf } from '../../src/http/api-error.ts'
import { countRows } from '../support/count-rows.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Answer, DATABASES, type TestCloud } from '../support/test-cloud.ts'

interface Route {
  method: 'POST' | 'PUT'
  /** Filled in with ids that exist. */
  url: string
}

interface Document {
  paths: Record<string, Record<string, unknown>>
}

/** What the OpenAPI document lists, with the parameters of its paths filled in. */
async function readPaths(cloud: TestCloud): Promise<{ url: string; methods: string[] }[]> {
  const { paths } = (await cloud.app.inject('/openapi.json')).json() as Document
  const values: Record<string, string> = { projectId: cloud.member.projectId, serverId: cloud.id.web ?? '' }
  return Object.entries(paths).map(([path, operations]) => ({
    url: path.replace(/\{(\w+)\}/g, (_, name: string) => values[name] ?? 'web'),
    methods: Object.keys(operations),
  }))
}

/** Everything a JSON text can say, and what tends to trip: names that objects inherit, texts of every kind, extremes. */
const key = fc.oneof(
  fc.constantFrom('server', 'auth', 'keypair', 'name', 'networks', 'metadata', 'reboot', 'type', 'os-stop', 'identity'),
  fc.constantFrom('__proto__', 'constructor', 'toString', 'length', 'then', 'toJSON', ''),
  fc.string({ unit: 'binary', maxLength: 10 }),
)
const scalar = fc.oneof(
  fc.constantFrom(null, true, false, 0, -1, -0, 1e308, 2 ** 53, -(2 ** 63), 0.1, '', ' ', '\u0000', '\ud800', '☁'),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom('x'.repeat(300), 'x'.repeat(70_000), '11111111-1111-4111-8111-111111111111', "'; drop table servers"),
)
const json = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    scalar,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.array(fc.tuple(key, tie('value')), { maxLength: 4 }).map((entries) => Object.fromEntries(entries)),
  ),
})).value

/** A good wish with one or two members replaced: gets past the first check, where arbitrary bodies end. */
const nearWish = (good: Record<string, unknown>) =>
  fc
    .array(
      fc.tuple(
        fc.constantFrom(
          ...['name', 'flavorRef', 'imageRef', 'min_count', 'max_count', 'networks', 'key_name', 'adminPass'],
          ...['security_groups', 'metadata', 'user_data', 'availability_zone', 'accessIPv4', 'accessIPv6'],
          ...['OS-DCF:diskConfig', 'return_reservation_id', 'block_device_mapping', 'block_device_mapping_v2'],
        ),
        json,
      ),
      { minLength: 1, maxLength: 2 },
    )
    .map((changes) => ({ server: { ...good, ...Object.fromEntries(changes) } }))

const KEYS = [
  ...['badRequest', 'unauthorized', 'forbidden', 'itemNotFound', 'badMethod', 'conflictingRequest', 'overLimit'],
  ...['badMediaType'],
]

/** A refusal has the envelope of the service that was asked. */
function assertEnvelope(answer: Answer, url: string): void {
  const body = answer.json()
  switch (serviceOf(url)) {
    case 'identity':
      assert.deepEqual(Object.keys(body.error).sort(), ['code', 'message', 'title'])
      assert.equal(body.error.code, answer.statusCode)
      break
    case 'image':
      assert.deepEqual(Object.keys(body).sort(), ['code', 'message', 'title'])
      break
    case 'network':
      assert.deepEqual(Object.keys(body.NeutronError).sort(), ['detail', 'message', 'type'])
      break
    case 'compute': {
      const [name = '', another] = Object.keys(body)
      assert.equal(another, undefined)
      assert.ok(KEYS.includes(name), name)
      assert.equal(body[name].code, answer.statusCode)
      assert.equal(typeof body[name].message, 'string')
    }
  }
}

const stringify = (body: unknown): string => JSON.stringify(body)

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, servers: { web: {} } })
    const routes: Route[] = []
    const lists: string[] = []

    before(async () => {
      for (const { url, methods } of await readPaths(shared())) {
        for (const method of ['POST', 'PUT'] as const) {
          if (methods.includes(method.toLowerCase())) routes.push({ method, url })
        }
        if (methods.includes('get')) lists.push(url)
      }
      assert.ok(routes.some(({ url }) => url.endsWith('/servers')) && lists.some((url) => url.endsWith('/detail')))
      assert.ok(
        routes.some(({ url }) => url.endsWith('/auth/tokens')) && routes.some(({ url }) => url.endsWith('/action')),
      )
    })

    const send = (cloud: TestCloud, { method, url }: Route, payload: string, headers: Record<string, string> = {}) =>
      cloud.app.inject({
        method,
        url,
        payload,
        headers: {
          'x-auth-token': cloud.member.token,
          'content-type': 'application/json',
          // The image service would answer with pages.
          accept: 'application/json',
          ...headers,
        },
        // Failed logins from one address would soon pause all others, which is another test's rule.
        remoteAddress: `10.${Array.from({ length: 3 }, () => Math.floor(Math.random() * 256)).join('.')}`,
      })

    /** The rows there were after the last request that was refused; undefined after one that was accepted. */
    let counted: Record<string, number> | undefined

    /** Sends, and asserts that it is no failure of ours and, when refused, that no row came or went. */
    async function holds(
      cloud: TestCloud,
      route: Route,
      payload: string,
      headers?: Record<string, string>,
    ): Promise<number> {
      if (counted === undefined) await cloud.settled()
      counted ??= await countRows(cloud)
      const answer = await send(cloud, route, payload, headers)
      assert.ok(answer.statusCode < 500, `${answer.statusCode} ${answer.body}`)
      if (answer.statusCode < 400) {
        counted = undefined
        return answer.statusCode
      }
      assertEnvelope(answer, route.url)
      assert.deepEqual(await countRows(cloud), counted)
      return answer.statusCode
    }

    test('any JSON is answered or refused by every route that takes a body', async () => {
      const cloud = shared()
      for (const route of routes) {
        counted = undefined
        await fc.assert(
          fc.asyncProperty(json, async (body) => void (await holds(cloud, route, stringify(body) ?? ''))),
          // The network API has every route twice, on the same ground.
          { numRuns: serviceOf(route.url) === 'network' ? 12 : 25 },
        )
      }
    })

    test('so is a good wish with something wrong in it', async () => {
      counted = undefined
      const cloud = shared()
      const { server } = await cloud.wish()
      const route = { method: 'POST', url: `/v2/${cloud.member.projectId}/servers` } as const
      await fc.assert(
        fc.asyncProperty(nearWish(server), async (body) => void (await holds(cloud, route, stringify(body)))),
        { numRuns: 120 },
      )
    })

    test('so is a good update, and a good action, with something wrong in it', async () => {
      counted = undefined
      const cloud = shared()
      const url = `/v2/${cloud.member.projectId}/servers/${cloud.id.web}`
      const member = fc.constantFrom('name', 'accessIPv4', 'accessIPv6', 'OS-DCF:diskConfig')
      await fc.assert(
        fc.asyncProperty(member, json, async (name, value) => {
          await holds(cloud, { method: 'PUT', url }, stringify({ server: { [name]: value } }))
        }),
        { numRuns: 60 },
      )
      const action = fc.constantFrom('reboot', 'os-getConsoleOutput', 'os-getVNCConsole')
      const inner = fc.constantFrom('type', 'length')
      await fc.assert(
        fc.asyncProperty(action, inner, json, async (name, part, value) => {
          await holds(cloud, { method: 'POST', url: `${url}/action` }, stringify({ [name]: { [part]: value } }))
        }),
        { numRuns: 60 },
      )
    })

    test('texts that are no JSON, and bodies too deep or too long, are refused by every route', async () => {
      counted = undefined
      const cloud = shared()
      const deep = (count: number, open: string, close: string) => `${open.repeat(count)}${close.repeat(count)}`
      for (const route of routes) {
        for (const payload of [
          deep(100_000, '[', ']'),
          `{"server":${deep(100_000, '[', ']')}}`,
          `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`,
          '['.repeat(100_000),
          `"${'x'.repeat(2 * 1_048_576)}"`,
          '{"server":',
          '\u0000',
        ]) {
          const status = await holds(cloud, route, payload)
          // 403: what only admins may do is refused before anything is read. 415: bytes of an image are no JSON.
          assert.ok([400, 413, 404, 403, 415].includes(status), `${route.url} ${payload.slice(0, 20)} ${status}`)
        }
      }
    })

    test('a body of any depth that can be read can be answered, with an idempotency key too', async () => {
      counted = undefined
      const cloud = shared()
      const { server } = await cloud.wish()
      const route = { method: 'POST', url: `/v2/${cloud.member.projectId}/servers` } as const
      for (const depth of [100, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 8_000, 10_000, 20_000, 50_000]) {
        const text = stringify({ server: { ...server, unheard_of: 0 } })
        for (const [open, close] of [
          ['[', ']'],
          ['{"a":', '}'],
        ] as const) {
          const nested = `${open.repeat(depth)}1${close.repeat(depth)}`
          const payload = text.replace('"unheard_of":0', `"unheard_of":${nested}`)
          await holds(cloud, route, payload, { 'idempotency-key': `${depth}${open[0]}` })
        }
      }
    })

    test('any query is answered or refused by every route that is read', async () => {
      const cloud = shared()
      const names = fc.oneof(
        fc.constantFrom('limit', 'marker', 'name', 'status', 'image', 'flavor', 'ip', 'changes-since', 'all_tenants'),
        fc.constantFrom('sort_key', 'sort_dir', 'deleted', 'host', 'vm_state', 'power_state', 'tenant_id', 'minRam'),
        fc.constantFrom('reservation_id', 'is_public', 'minDisk', 'uuid', '__proto__', 'constructor', 'a[b]'),
        fc.string({ unit: 'binary', maxLength: 8 }),
      )
      const values = fc.oneof(
        fc.string({ unit: 'binary', maxLength: 20 }),
        fc.stringMatching(/^[\\()[\]{}|*+?^$.a-c0-3,:=!<>-]{0,12}$/),
        fc.integer().map(String),
        fc.constantFrom('', 'true', '2026-11-24', '99999999999999999999', 'created_at', 'asc', 'ACTIVE', 'DELETED'),
      )
      const encoded = fc
        .array(fc.tuple(names, values), { maxLength: 4 })
        .map((pairs) =>
          pairs.map((pair) => pair.map((part) => encodeURIComponent(part.toWellFormed())).join('=')).join('&'),
        )
      const query = fc.oneof(encoded, fc.stringMatching(/^[a-z%&=+;0-9]{0,20}$/))
      // A project's default group is made at the first look.
      for (const client of [cloud.member, cloud.admin]) await client.get('//v2.0/security-groups')
      await cloud.settled()
      const before = await countRows(cloud)
      for (const url of lists) {
        for (const { token } of [cloud.member, cloud.admin]) {
          await fc.assert(
            fc.asyncProperty(query, async (text) => {
              const answer = await cloud.app.inject({ url: `${url}?${text}`, headers: { 'x-auth-token': token } })
              assert.ok(answer.statusCode < 500, `${url}?${text} ${answer.body}`)
            }),
            { numRuns: url.includes('/servers') ? 150 : 20 },
          )
        }
      }
      assert.deepEqual(await countRows(cloud), before)
    })

    test('so is one that says the same a thousand times', async () => {
      const cloud = shared()
      const names = [
        ...['a', 'limit', 'marker', 'name', 'status', 'ip', 'changes-since', 'sort_key', 'sort_dir', 'uuid', 'tag'],
        ...['id', 'created_at', 'visibility', 'image', 'minRam', 'sort', 'size_min'],
      ]
      // What shows one thing reads no filters; what is only for admins is refused to others before.
      for (const url of lists.filter((one) => !one.includes('/web'))) {
        for (const name of names) {
          for (const value of ['1', 'id', '2026-11-24', 'ERROR']) {
            const query = Array.from({ length: 1_200 }, () => `${name}=${value}`).join('&')
            const headers = { 'x-auth-token': cloud.admin.token }
            const answer = await cloud.app.inject({ url: `${url}?${query}`, headers })
            assert.ok(answer.statusCode < 500, `${url}?${name}=${value} ${answer.body}`)
          }
        }
      }
    })
  })
}
