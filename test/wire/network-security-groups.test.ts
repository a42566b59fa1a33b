/** N36 to N39 and updates: security groups of both dialects. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { countRows } from '../support/count-rows.ts'
import { assertNetworkError, type Body, bodyOf, DIALECTS, make } from '../support/network-requests.ts'
import { assertSameShape } from '../support/same-shape.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES, testCloud } from '../support/test-cloud.ts'

const { uos, neutron } = DIALECTS
const sample = (name: string): Body =>
  JSON.parse(readFileSync(join(import.meta.dirname, '../fixtures/network', `${name}.json`), 'utf8'))
const NOWHERE = '00000000-0000-4000-8000-000000000000'

const inWords = (rules: Body[]): string[] =>
  rules.map((rule) =>
    [rule.direction, rule.ethertype, rule.protocol ?? 'any', rule.port_range_min, rule.port_range_max]
      .filter((word) => word !== null)
      .join(' '),
  )
const DOCUMENTED = [
  'egress IPv4 any',
  'ingress IPv4 icmp',
  'ingress IPv4 tcp 22 22',
  'ingress IPv4 tcp 443 443',
  'ingress IPv4 tcp 80 80',
]

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })

    test('a project finds its default group on the first look, once', async () => {
      const client = await shared().stranger('reader')
      const looks = await Promise.all(
        [uos, neutron, uos].map((dialect) => client.get(`${dialect}/security-groups`).then((one) => bodyOf(one, 200))),
      )
      for (const { security_groups: groups } of looks) {
        assert.deepEqual(
          groups.map(({ name }: Body) => name),
          ['default'],
        )
        assert.deepEqual(inWords(groups[0].security_group_rules).sort(), DOCUMENTED)
      }
      const other = await shared().stranger('reader')
      assert.equal(bodyOf(await other.get(`${uos}/security-group-rules`), 200).security_group_rules.length, 5)
    })

    test('UOS: create, show, list, delete, member for member', async () => {
      const client = await shared().stranger()
      const created = bodyOf(await client.post(`${uos}/security-groups.json`, { security_group: { name: 'sg' } }), 201)
      const group = created.security_group
      const members = ['description', 'id', 'name', 'security_group_rules', 'tenant_id']
      assert.deepEqual(Object.keys(group).sort(), members)
      assert.equal(group.description, '')
      assert.equal(group.tenant_id, client.projectId)
      assert.deepEqual(inWords(group.security_group_rules).sort(), DOCUMENTED)
      assert.deepEqual(Object.keys(group.security_group_rules[0]).sort(), [
        ...['direction', 'ethertype', 'id', 'port_range_max', 'port_range_min', 'protocol', 'remote_group_id'],
        ...['remote_ip_prefix', 'security_group_id', 'tenant_id'],
      ])
      const shown = bodyOf(await client.get(`${uos}/security-groups/${group.id}`), 200).security_group
      assert.deepEqual(Object.keys(shown).sort(), ['created_at', ...members])
      assert.match(shown.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$/)
      const { security_groups: all } = bodyOf(await client.get(`${uos}/security-groups`), 200)
      assert.deepEqual(
        all.find(({ id }: Body) => id === group.id),
        shown,
      )
      bodyOf(await client.delete(`${uos}/security-groups/${group.id}`), 204)
      assertNetworkError(await client.get(`${uos}/security-groups/${group.id}`), 404, 'SecurityGroupNotFound')
    })

    test('Neutron: what it shows has the shape of its own samples', async () => {
      const client = await shared().stranger()
      const wish = { name: 'new-webservers', description: 'security group for webservers', stateful: true }
      const group = await make(client, 'security-groups', wish)
      const example = sample('security-group-create').security_group
      const more = { normalized_cidr: null, remote_address_group_id: null }
      // The extension of default rules for all projects is not offered; that of normalized prefixes is.
      const rule = { ...example.security_group_rules[1], ...more }
      delete rule.belongs_to_default_sg
      const egress = group.security_group_rules.filter(({ direction }: Body) => direction === 'egress')
      assertSameShape({ ...group, security_group_rules: egress }, { ...example, security_group_rules: [rule] })
      assert.equal(group.name, wish.name)
      assert.equal(group.revision_number, 0)
    })

    test('names are data, and need not be unique', async () => {
      const client = await shared().stranger()
      const name = `web'; drop "x"\n} table \`$(id)\` 網 ${'x'.repeat(200)}`
      const [one, two] = [
        await make(client, 'security-groups', { name, description: name }),
        await make(client, 'security-groups', { name }),
      ]
      const found = bodyOf(await client.get(`${neutron}/security-groups?name=${encodeURIComponent(name)}`), 200)
      assert.deepEqual(found.security_groups.map(({ id }: Body) => id).sort(), [one.id, two.id].sort())
      assert.equal(found.security_groups[0].name, name)
      assertNetworkError(
        await client.post(`${uos}/security-groups`, { security_group: { name: 'x'.repeat(256) } }),
        400,
        'HTTPBadRequest',
      )
    })

    test('a group is renamed and described; the default one only described', async () => {
      const client = await shared().stranger()
      const group = await make(client, 'security-groups', { name: 'a' })
      for (const [i, dialect] of [uos, neutron].entries()) {
        const change = { security_group: { name: `b${i}`, description: 'c' } }
        const { security_group: changed } = bodyOf(
          await client.put(`${dialect}/security-groups/${group.id}`, change),
          200,
        )
        assert.deepEqual([changed.name, changed.description], [`b${i}`, 'c'])
      }
      assert.equal(
        bodyOf(await client.get(`${neutron}/security-groups/${group.id}`), 200).security_group.revision_number,
        2,
      )
      const [byDefault] = bodyOf(await client.get(`${neutron}/security-groups?name=default`), 200).security_groups
      const put = (id: string, change: Body) =>
        client.put(`${neutron}/security-groups/${id}`, { security_group: change })
      bodyOf(await put(byDefault.id, { name: 'default', description: 'mine' }), 200)
      assertNetworkError(await put(byDefault.id, { name: 'x' }), 409, 'SecurityGroupCannotUpdateDefault')
      assertNetworkError(await put(group.id, { name: 'default' }), 409, 'SecurityGroupDefaultAlreadyExists')
      assertNetworkError(await put(group.id, { stateful: false }), 400, 'BadRequest')
    })

    test('what must not be is refused, and changes nothing', async () => {
      const cloud = shared()
      const [client, other] = [await cloud.stranger(), await cloud.stranger()]
      const [byDefault] = bodyOf(await client.get(`${uos}/security-groups`), 200).security_groups
      const theirs = await make(other, 'security-groups', { name: 'theirs' })
      const used = await make(client, 'security-groups', { name: 'used' })
      await cloud.cloud.db.transaction(async (tx) => {
        const { id: portId } = await tx.selectFrom('ports').select('id').executeTakeFirstOrThrow()
        await tx.insertInto('portSecurityGroups').values({ portId, securityGroupId: used.id }).execute()
      })
      const before = await countRows(cloud)
      for (const dialect of [uos, neutron]) {
        const groups = `${dialect}/security-groups`
        const create = (security_group: Body) => client.post(groups, { security_group })
        assertNetworkError(await create({ name: 'default' }), 409, 'SecurityGroupDefaultAlreadyExists')
        assertNetworkError(await create({}), 400, 'HTTPBadRequest')
        assertNetworkError(await create({ name: 7 }), 400, 'HTTPBadRequest')
        assertNetworkError(await create({ name: 'x', stateful: false }), 400, 'BadRequest')
        assertNetworkError(await client.post(groups, { name: 'x' }), 400, 'HTTPBadRequest')
        assertNetworkError(await client.delete(`${groups}/${byDefault.id}`), 409, 'SecurityGroupCannotRemoveDefault')
        assertNetworkError(await client.delete(`${groups}/${used.id}`), 409, 'SecurityGroupInUse')
        for (const id of [theirs.id, NOWHERE, 'default']) {
          assertNetworkError(await client.get(`${groups}/${id}`), 404, 'SecurityGroupNotFound')
          assertNetworkError(await client.delete(`${groups}/${id}`), 404, 'SecurityGroupNotFound')
          const renamed = client.put(`${groups}/${id}`, { security_group: { name: 'x' } })
          assertNetworkError(await renamed, 404, 'SecurityGroupNotFound')
        }
      }
      const unknown = client.post(`${neutron}/security-groups`, { security_group: { name: 'x', colour: 'red' } })
      assertNetworkError(await unknown, 400, 'HTTPBadRequest')
      assert.deepEqual(await countRows(cloud), before)
    })

    test('a project has ten groups, its default one among them, until an admin says otherwise', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      for (let i = 1; i < 10; i++) await make(client, 'security-groups', { name: `g${i}` })
      const eleventh = () => client.post(`${uos}/security-groups`, { security_group: { name: 'one too many' } })
      assertNetworkError(await eleventh(), 409, 'OverQuota')
      await cloud.cloud.db.transaction((tx) =>
        tx
          .insertInto('networkQuotas')
          .values({ projectId: client.projectId, resource: 'security_group', most: 11 })
          .execute(),
      )
      bodyOf(await eleventh(), 201)
      assertNetworkError(await eleventh(), 409, 'OverQuota')
    })

    test('rules of others that name a deleted group go with it; an admin deletes even a default group', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const [group, remote] = [
        await make(client, 'security-groups', { name: 'a' }),
        await make(client, 'security-groups', { name: 'b' }),
      ]
      const rule = { security_group_id: group.id, direction: 'ingress', remote_group_id: remote.id }
      await make(client, 'security-group-rules', rule)
      const count = async () =>
        bodyOf(await client.get(`${uos}/security-groups/${group.id}`), 200).security_group.security_group_rules.length
      assert.equal(await count(), 6)
      bodyOf(await client.delete(`${uos}/security-groups/${remote.id}`), 204)
      assert.equal(await count(), 5)
      const [byDefault] = bodyOf(await client.get(`${uos}/security-groups?name=default`), 200).security_groups
      bodyOf(await cloud.admin.delete(`${neutron}/security-groups/${byDefault.id}`), 204)
      const [again] = bodyOf(await client.get(`${uos}/security-groups?name=default`), 200).security_groups
      assert.notEqual(again.id, byDefault.id)
    })

    test('an admin makes groups for others and sees everybody’s', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const wish = { name: 'given', tenant_id: client.projectId }
      const group = await make(cloud.admin, 'security-groups', wish)
      assert.equal(bodyOf(await client.get(`${uos}/security-groups/${group.id}`), 200).security_group.name, 'given')
      const all = bodyOf(await cloud.admin.get(`${neutron}/security-groups?project_id=${client.projectId}`), 200)
      assert.deepEqual(all.security_groups.map(({ name }: Body) => name).sort(), ['default', 'given'])
      const forbidden = client.post(`${neutron}/security-groups`, {
        security_group: { ...wish, tenant_id: cloud.admin.projectId },
      })
      assertNetworkError(await forbidden, 403, 'PolicyNotAuthorized')
    })
  })

  test(`${database}: with default_rules = neutron a new group lets everything out, and the default one its members in`, async () => {
    await using cloud = await testCloud({ database, config: { defaultRules: 'neutron' } })
    const group = await make(cloud.member, 'security-groups', { name: 'a' })
    assert.deepEqual(inWords(group.security_group_rules).sort(), ['egress IPv4 any', 'egress IPv6 any'])
    const [byDefault] = bodyOf(await cloud.member.get(`${uos}/security-groups?name=default`), 200).security_groups
    assert.deepEqual(
      byDefault.security_group_rules.map((rule: Body) => [rule.direction, rule.ethertype, rule.remote_group_id]).sort(),
      [
        ['egress', 'IPv4', null],
        ['egress', 'IPv6', null],
        ['ingress', 'IPv4', byDefault.id],
        ['ingress', 'IPv6', byDefault.id],
      ],
    )
  })
}
