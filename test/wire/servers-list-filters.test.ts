/** What S02 and S03 find: every filter, for members and for admins. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Row } from '../../src/db/schema.ts'
import { assertFault } from '../support/assert-fault.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Client, DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

const STATES: Record<string, Partial<Row<'servers'>>> = {
  bob: {},
  bobby: { taskState: 'rebooting' },
  hard: { taskState: 'reboot_started_hard' },
  Stopped: { vmState: 'stopped', powerState: 4 },
  paused: { vmState: 'paused', powerState: 3 },
  'a.b': { vmState: 'suspended', powerState: 7 },
  young: { vmState: 'building', taskState: 'spawning', powerState: 0 },
  broken: { vmState: 'error', powerState: 0, keyName: 'my key' },
  bigger: { vmState: 'resized' },
}
const ALL = Object.keys(STATES).sort()

/** Names that a query finds, sorted; the brief and the detailed list must agree. */
async function find(client: Client, query: string): Promise<string[]> {
  const [brief, detail] = [await client.get(`/servers?${query}`), await client.get(`/servers/detail?${query}`)]
  assert.equal(brief.statusCode, 200, `${query} ${brief.body}`)
  assert.equal(detail.statusCode, 200, `${query} ${detail.body}`)
  const [names, again] = [brief, detail].map((answer) =>
    answer.json().servers.map(({ name }: { name: string }) => name),
  )
  assert.deepEqual(names, again, query)
  return names.sort()
}

async function refuses(cloud: TestCloud, query: string, message: RegExp, status = 400): Promise<void> {
  for (const path of ['/servers', '/servers/detail']) {
    assertFault(await cloud.member.get(`${path}?${query}`), status, message, query)
  }
}

const encode = encodeURIComponent

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, servers: STATES })

    test('without a filter all are found, deleted ones aside', async () => {
      assert.deepEqual(await find(shared().member, ''), ALL)
    })

    test('name is a regular expression, searched anywhere and in any case', async () => {
      const { member } = shared()
      for (const [pattern, names] of [
        ['bob', ['bob', 'bobby']],
        ['BOB', ['bob', 'bobby']],
        ['^bob$', ['bob']],
        ['stopped', ['Stopped']],
        ['b$', ['a.b', 'bob']],
        ['a\\.b', ['a.b']],
        ['^(bob|paused)$', ['bob', 'paused']],
        ['^b.*y$', ['bobby']],
        ['^[a-c]', ['a.b', 'bigger', 'bob', 'bobby', 'broken']],
        ['o{2}', []],
        ['p{2}', ['Stopped']],
        ['p+ed', ['Stopped']],
        ['\\d', []],
        ['(?:bo)b', ['bob', 'bobby']],
        ['[[:alpha:]]{7}', ['Stopped']],
        ['', ALL],
        ['%', []],
        ['_', []],
        ["'", []],
        ['☁', []],
      ] as const) {
        assert.deepEqual(await find(member, `name=${encode(pattern)}`), names, pattern)
      }
    })

    test('a pattern that is none is refused', async () => {
      const cloud = shared()
      const patterns = ['(', '[', '*', 'a**', '(?<', '\\', 'a{2,1}', '(?=a)', '\\1', '(a)\\1', '\\xZZ', 'x{1001}']
      for (const pattern of patterns) {
        await refuses(cloud, `name=${encode(pattern)}`, /name/)
        await refuses(cloud, `ip=${encode(pattern)}`, /ip/)
      }
    })

    test('what the databases read differently is refused by both', async () => {
      const cloud = shared()
      for (const pattern of [
        '\\bbob',
        '\\x62',
        '\\pL',
        '\\Qa.b\\E',
        '\\Abob',
        'bob\\z',
        '(?i)bob',
        '(?P<a>b)',
        '(?<a>b)',
      ]) {
        await refuses(cloud, `name=${encode(pattern)}`, /name.*\\d, \\w/)
      }
      await refuses(cloud, `name=${'a'.repeat(256)}`, /name.*255/)
      // What slips through is refused by the one database that minds.
      const answer = await cloud.member.get(`/servers?name=${encode('^*')}`)
      assert.ok([200, 400].includes(answer.statusCode), answer.body)
    })

    test('an evil pattern is answered at once', async () => {
      const cloud = shared()
      await cloud.member.put(`/servers/${cloud.id.paused}`, { server: { name: `${'a'.repeat(250)}!` } })
      const bomb = Array.from({ length: 60 }, (_, n) => `(a{${n + 1}}){1,9}`).join('|')
      for (const pattern of [
        '(a+)+$',
        '(a|a)*$',
        '(a|aa)+$',
        '(.*a){20}$',
        '([a-z]+)*\\d',
        'a?'.repeat(60) + 'a'.repeat(60),
        bomb,
      ]) {
        const answer = await cloud.member.get(`/servers?name=${encode(pattern)}`)
        assert.ok([200, 400].includes(answer.statusCode), `${pattern} ${answer.body}`)
      }
      const huge = `${'(?:[a-z]{250})?'.repeat(15)}x$`
      assertFault(await cloud.member.get(`/servers?name=${encode(huge)}`), 400, /name/)
      await cloud.member.put(`/servers/${cloud.id.paused}`, { server: { name: 'paused' } })
    })

    test('a pattern that is long for so many names is refused, unless other filters leave fewer', async () => {
      await using cloud = await testCloud({ database, servers: { web: {}, other: { vmState: 'stopped' } } })
      const row = await cloud.server('web')
      const copies = Array.from({ length: 100 }, (_, n) => {
        const id = `${String(n).padStart(8, '0')}-0000-4000-8000-000000000000`
        return { ...row, id, number: 1_000 + n, name: 'a'.repeat(250) }
      })
      const deleted = { vmState: 'deleted', deletedAt: row.createdAt, terminatedAt: row.createdAt } as const
      const values = copies.map((copy, n) => (n < 50 ? copy : { ...copy, ...deleted }))
      await cloud.cloud.db.transaction((tx) => tx.insertInto('servers').values(values).execute())

      const pattern = encode(`(?:a?){60}b`)
      for (const query of [`name=${pattern}&changes-since=1970-01-01`, `name=${encode('(?:a?){140}b')}`]) {
        await refuses(cloud, query, /^name .*so many servers.*filter/)
      }
      assert.deepEqual(await find(cloud.member, `name=${pattern}`), ['web'])
      assert.deepEqual(await find(cloud.member, `name=${encode('(?:a?){140}r$')}&status=SHUTOFF`), ['other'])
      assert.equal((await find(cloud.member, 'name=^aaa')).length, 50)
      assert.equal((await find(cloud.member, 'name=web&changes-since=1970-01-01')).length, 1)
      const addresses = Array.from({ length: 1_500 }, (_, n) => `10.0.${n >> 8}.${n & 255}`)
      await cloud.cloud.db.transaction(async (tx) => {
        const { portId, subnetId } = await tx
          .selectFrom('portAddresses')
          .innerJoin('ports', 'ports.id', 'portAddresses.portId')
          .select(['portId', 'subnetId'])
          .where('deviceId', '=', row.id)
          .executeTakeFirstOrThrow()
        const rows = addresses.map((ipAddress) => ({ portId, subnetId, ipAddress }))
        await tx.insertInto('portAddresses').values(rows).execute()
      })
      await refuses(cloud, `ip=${encode('(?:1?){140}b')}`, /^ip .*so many servers/)
      await cloud.settled()
    })

    test('the whole of the longest name can be asked for', async () => {
      const cloud = shared()
      const name = 'x'.repeat(255)
      await cloud.member.put(`/servers/${cloud.id.paused}`, { server: { name } })
      assert.deepEqual(await find(cloud.member, `name=${name}`), [name])
      await cloud.member.put(`/servers/${cloud.id.paused}`, { server: { name: 'paused' } })
    })

    test('status is mapped back to states, in any case, and may repeat', async () => {
      const { member } = shared()
      for (const [query, names] of [
        ['status=ACTIVE', ['bob', 'bobby', 'hard']],
        ['status=active', ['bob', 'bobby', 'hard']],
        ['status=REBOOT', ['bobby']],
        ['status=HARD_REBOOT', ['hard']],
        ['status=SHUTOFF', ['Stopped']],
        ['status=PAUSED', ['paused']],
        ['status=SUSPENDED', ['a.b']],
        ['status=BUILD', ['young']],
        ['status=ERROR', ['broken']],
        ['status=VERIFY_RESIZE', ['bigger']],
        ['status=paused&status=ERROR', ['broken', 'paused']],
        ['status=nonsense&status=ERROR', ['broken']],
        ['status=nonsense', []],
        ['status=', []],
        ['status=RESCUE', []],
        ['status=__proto__', []],
        ['status=ERROR&name=bob', []],
      ] as const) {
        assert.deepEqual(await find(member, query), names, query)
      }
    })

    test('a filter that is repeated a thousand times is still answered', async () => {
      const { member } = shared()
      const many = (text: string) => Array.from({ length: 1_200 }, () => text).join('&')
      assert.deepEqual(await find(member, many('status=paused')), ['paused'])
      assert.deepEqual(await find(member, many('name=bobby')), ['bobby'])
      assert.deepEqual(await find(member, many('sort_key=uuid')), ALL)
    })

    test('image, flavor and reservation are found by id', async () => {
      const cloud = shared()
      const { server: wish } = await cloud.wish()
      const row = await cloud.server('bob')
      assert.deepEqual(await find(cloud.member, `image=${wish.imageRef}`), ALL)
      assert.deepEqual(await find(cloud.member, `flavor=${wish.flavorRef}`), ALL)
      assert.deepEqual(await find(cloud.member, `reservation_id=${row.reservationId}`), ['bob'])
      for (const key of ['image', 'flavor', 'reservation_id']) {
        for (const value of ['nothing', '', '11111111-1111-4111-8111-111111111111', "'", '5']) {
          assert.deepEqual(await find(cloud.member, `${key}=${encode(value)}`), [], `${key}=${value}`)
        }
      }
    })

    test('ip is a regular expression over the addresses', async () => {
      const cloud = shared()
      const { server } = (await cloud.member.get(`/servers/${cloud.id.bob}`)).json()
      const [{ addr }] = server.addresses.shared
      assert.deepEqual(await find(cloud.member, `ip=${encode(`^${addr.replaceAll('.', '\\.')}$`)}`), ['bob'])
      assert.ok((await find(cloud.member, `ip=${addr}`)).includes('bob'))
      assert.deepEqual(await find(cloud.member, 'ip=172.31'), ALL)
      assert.deepEqual(await find(cloud.member, 'ip=^31'), [])
    })

    test('changes-since finds what changed, deleted servers included', async () => {
      await using cloud = await testCloud({ database, servers: { old: {}, changed: {}, gone: {} } })
      const at = (ms: number) => new Date(ms).toISOString()
      cloud.clock.advance(10_000)
      const since = cloud.clock.now()
      await cloud.member.put(`/servers/${cloud.id.changed}`, { server: { name: 'changed' } })
      await cloud.member.delete(`/servers/${cloud.id.gone}`)
      await cloud.settled()
      assert.deepEqual(await find(cloud.member, ''), ['changed', 'old'])
      assert.deepEqual(await find(cloud.member, `changes-since=${at(since)}`), ['changed', 'gone'])
      assert.deepEqual(await find(cloud.member, `changes-since=${at(since + 1)}`), [])
      assert.deepEqual(await find(cloud.member, `changes-since=${at(0)}`), ['changed', 'gone', 'old'])
      assert.deepEqual(await find(cloud.member, 'changes-since=2026-11-24'), ['changed', 'gone', 'old'])
      const same = at(since).slice(0, 19)
      const east = at(since + 8 * 3_600_000).slice(0, 19)
      for (const instant of [same, `${same}Z`, `${same}.000000`, `${same}+00:00`, `${east}+08:00`, `${east}+0800`]) {
        assert.deepEqual(await find(cloud.member, `changes-since=${encode(instant)}`), ['changed', 'gone'], instant)
      }
      assert.deepEqual(await find(cloud.member, `changes-since=${east}+08:00`), ['changed', 'gone'])
      const { servers } = (await cloud.member.get(`/servers/detail?changes-since=${at(since)}&name=gone`)).json()
      const [gone] = servers
      assert.deepEqual([gone.status, gone['OS-EXT-STS:vm_state'], gone.addresses], ['DELETED', 'deleted', {}])
      assert.match(gone['OS-SRV-USG:terminated_at'], /^2026-11-24T12:00:\d\d\.000000$/)
      for (const bad of ['yesterday', '', '2026-13-01', '2026-11-24T25:00:00Z', '12:00', '1700000000', '2026']) {
        await refuses(cloud, `changes-since=${bad}`, /changes-since/)
      }
    })

    test('only admins list other projects and deleted servers', async () => {
      await using cloud = await testCloud({ database, servers: { theirs: {}, gone: {} } })
      const { admin, member } = cloud
      await admin.post('/servers', await cloud.wish({ name: 'mine' }))
      await member.delete(`/servers/${cloud.id.gone}`)
      await cloud.settled()
      assert.deepEqual(await find(admin, ''), ['mine'])
      for (const yes of ['all_tenants', 'all_tenants=', 'all_tenants=1', 'all_tenants=True', 'all_tenants=yes']) {
        assert.deepEqual(await find(admin, yes), ['mine', 'theirs'], yes)
        await refuses(cloud, yes, /admin/, 403)
      }
      for (const no of ['all_tenants=0', 'all_tenants=False', 'all_tenants=no', 'all_tenants=off']) {
        assert.deepEqual(await find(admin, no), ['mine'], no)
        assert.deepEqual(await find(member, no), ['theirs'], no)
      }
      await refuses(cloud, 'all_tenants=maybe', /all_tenants/)
      for (const key of ['tenant_id', 'project_id']) {
        assert.deepEqual(await find(admin, `all_tenants=1&${key}=${member.projectId}`), ['theirs'])
        assert.deepEqual(await find(admin, `${key}=${member.projectId}`), ['mine'])
        assert.deepEqual(await find(member, `${key}=${admin.projectId}`), ['theirs'])
      }
      assert.deepEqual(await find(admin, 'all_tenants=1&deleted=true'), ['gone'])
      assert.deepEqual(await find(admin, 'all_tenants=1&deleted=false'), ['mine', 'theirs'])
      assert.deepEqual(await find(admin, 'all_tenants=1&status=DELETED'), ['gone'])
      assert.deepEqual(await find(member, 'deleted=true'), ['theirs'])
      await refuses(cloud, 'status=DELETED', /admin/, 403)
      await refuses(cloud, 'status=ACTIVE&status=deleted', /admin/, 403)
    })

    test('filters for admins work for them, and are dropped for others', async () => {
      const cloud = shared()
      const { admin, member } = cloud
      const everywhere = (query: string) => find(admin, `all_tenants=1&${query}`)
      for (const [query, names] of [
        ['host=test-host', ALL],
        ['host=mars', []],
        ['vm_state=stopped', ['Stopped']],
        ['vm_state=STOPPED', []],
        ['task_state=spawning', ['young']],
        ['power_state=3', ['paused']],
        ['power_state=5', []],
        ['key_name=my%20key', ['broken']],
        [`user_id=${member.userId}`, ALL],
        ['user_id=nobody', []],
        [`uuid=${cloud.id.bob}`, ['bob']],
        ['availability_zone=nova', ALL],
        ['availability_zone=mars', []],
      ] as const) {
        assert.deepEqual(await everywhere(query), names, query)
        assert.deepEqual(await find(member, query), ALL, query)
      }
      assertFault(await admin.get('/servers?power_state=on'), 400, /power_state/)
      assert.deepEqual(await find(member, 'power_state=on'), ALL)
    })

    test('sort keys that do not exist or are not for everybody are refused', async () => {
      const cloud = shared()
      for (const key of ['color', '__proto__', 'constructor', '', 'sealedAdminPass', 'id;drop']) {
        await refuses(cloud, `sort_key=${key}`, /sorted/)
      }
      for (const direction of ['up', 'ASC', '']) await refuses(cloud, `sort_key=uuid&sort_dir=${direction}`, /sort_dir/)
      await refuses(cloud, 'sort_key=host', /host/, 403)
      assert.equal((await cloud.admin.get('/servers?sort_key=host')).statusCode, 200)
    })

    test('an unknown parameter is ignored, unless it starts with an underscore', async () => {
      const cloud = shared()
      for (const query of ['color=blue', 'hasOwnProperty=1', 'constructor=x', 'limits=x', 'name[]=x']) {
        assert.deepEqual(await find(cloud.member, query), ALL, query)
      }
      for (const query of ['_sa_instance_state=x', '__proto__=x', '_', '_name=bob']) {
        await refuses(cloud, query, /filter/)
      }
    })

    test('a NUL, which PostgreSQL cannot compare with, is refused', async () => {
      const cloud = shared()
      for (const key of ['image', 'name', 'ip', 'marker', 'changes-since', 'limit', 'sort_key', 'vm_state', 'color']) {
        await refuses(cloud, `${key}=a%00b`, /NUL/)
      }
    })
  })
}
