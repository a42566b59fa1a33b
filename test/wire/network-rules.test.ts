/** N40 to N43: rules of security groups, in both dialects. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { NetworkErrorType } from '../../src/network-api/network-errors.ts'
import { readGroupPlan } from '../../src/security-groups/group-plan.ts'
import { countRows } from '../support/count-rows.ts'
import { assertNetworkError, type Body, bodyOf, DIALECTS, make } from '../support/network-requests.ts'
import { assertSameShape } from '../support/same-shape.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Client, DATABASES, type TestCloud } from '../support/test-cloud.ts'

const { uos, neutron } = DIALECTS
const sample = (name: string): Body =>
  JSON.parse(readFileSync(join(import.meta.dirname, '../fixtures/network', `${name}.json`), 'utf8'))

/** A project with a group that has no rules of its own making yet. */
async function withGroup(cloud: TestCloud): Promise<{ client: Client; group: Body }> {
  const client = await cloud.stranger()
  return { client, group: await make(client, 'security-groups', { name: 'web' }) }
}

const raiseQuota = (cloud: TestCloud, projectId: string, most: number) =>
  cloud.cloud.db.transaction((tx) =>
    tx.insertInto('networkQuotas').values({ projectId, resource: 'security_group_rule', most }).execute(),
  )

/** Many rules without asking for each; what they hold is what the API would have written. */
async function fillGroup(cloud: TestCloud, securityGroupId: string, prefixes: string[]): Promise<void> {
  const now = cloud.clock.now()
  const rows = prefixes.map((remoteIpPrefix) => ({
    ...({ id: randomUUID(), securityGroupId, direction: 'ingress', ethertype: 'IPv4', protocol: null } as const),
    ...{ portRangeMin: null, portRangeMax: null, remoteIpPrefix, createdAt: now, updatedAt: now },
  }))
  await cloud.cloud.db.transaction(async (tx) => {
    for (let from = 0; from < rows.length; from += 1_000) {
      await tx
        .insertInto('securityGroupRules')
        .values(rows.slice(from, from + 1_000))
        .execute()
    }
  })
}

/** What is wished, and what is shown of it (UOS), beside the group and `direction: ingress`. */
const TAKEN: [Body, Body][] = [
  [
    { protocol: 'tcp', port_range_min: '234', port_range_max: '300' },
    { port_range_min: 234, port_range_max: 300 },
  ],
  [{ remote_ip_prefix: '0.0.0.0' }, { remote_ip_prefix: '0.0.0.0', ethertype: 'IPv4', protocol: null }],
  [{ remote_ip_prefix: '10.1.2.3/8' }, { remote_ip_prefix: '10.1.2.3/8' }],
  [
    { remote_ip_prefix: 'FD00::1/64', ethertype: 'IPv6' },
    { remote_ip_prefix: 'FD00::1/64', ethertype: 'IPv6' },
  ],
  [{ ethertype: 'ipv6' }, { ethertype: 'IPv6' }],
  [
    { ethertype: 'IPV4', protocol: 'UDP' },
    { ethertype: 'IPv4', protocol: 'udp' },
  ],
  [
    { protocol: 132, port_range_min: 7, port_range_max: 7 },
    { protocol: '132', port_range_min: 7 },
  ],
  [{ protocol: '255' }, { protocol: '255' }],
  [{ protocol: 'ospf' }, { protocol: 'ospf' }],
  [{ protocol: 'ipv6-icmp', ethertype: 'IPv6' }, { protocol: 'ipv6-icmp' }],
  [
    { protocol: 'icmpv6', ethertype: 'IPv6', port_range_min: 128 },
    { port_range_min: 128, port_range_max: null },
  ],
  [
    { protocol: 'icmp', port_range_min: 8, port_range_max: 0 },
    { port_range_min: 8, port_range_max: 0 },
  ],
  [
    { protocol: 'icmp', port_range_min: 0 },
    { port_range_min: 0, port_range_max: null },
  ],
  [{ protocol: 'any', direction: 'ingress', remote_ip_prefix: '192.0.2.0/24' }, { protocol: null }],
  [{ direction: 'egress', protocol: 'tcp', port_range_min: 1, port_range_max: 65535 }, { direction: 'egress' }],
]

/** What is wished, and the type of the refusal; the status is 400. */
const REFUSED: [Body, NetworkErrorType][] = [
  [{ port_range_min: 80, port_range_max: 80 }, 'SecurityGroupProtocolRequiredWithPorts'],
  [{ protocol: 'any', port_range_min: 80, port_range_max: 80 }, 'SecurityGroupProtocolRequiredWithPorts'],
  [{ protocol: 'tcp', port_range_min: 81, port_range_max: 80 }, 'SecurityGroupInvalidPortRange'],
  [{ protocol: 'tcp', port_range_min: 80 }, 'SecurityGroupInvalidPortRange'],
  [{ protocol: 'udp', port_range_max: 80 }, 'SecurityGroupInvalidPortRange'],
  [{ protocol: 'tcp', port_range_min: 0, port_range_max: 80 }, 'SecurityGroupInvalidPortValue'],
  [{ protocol: 'tcp', port_range_min: 1, port_range_max: 65_536 }, 'HTTPBadRequest'],
  [{ protocol: 'tcp', port_range_min: -1, port_range_max: -1 }, 'HTTPBadRequest'],
  [{ protocol: 'tcp', port_range_min: 'x', port_range_max: 80 }, 'HTTPBadRequest'],
  [{ protocol: 'icmp', port_range_min: 256 }, 'SecurityGroupInvalidIcmpValue'],
  [{ protocol: 'icmp', port_range_min: 3, port_range_max: 256 }, 'SecurityGroupInvalidIcmpValue'],
  [{ protocol: 'icmp', port_range_max: 0 }, 'SecurityGroupMissingIcmpType'],
  [{ protocol: 'gre', port_range_min: 1, port_range_max: 2 }, 'SecurityGroupInvalidProtocolForPort'],
  [{ protocol: '256' }, 'SecurityGroupRuleInvalidProtocol'],
  [{ protocol: -1 }, 'SecurityGroupRuleInvalidProtocol'],
  [{ protocol: 'tcp; flush ruleset' }, 'SecurityGroupRuleInvalidProtocol'],
  [{ protocol: 'constructor' }, 'SecurityGroupRuleInvalidProtocol'],
  [{ protocol: 'icmpv6' }, 'SecurityGroupEthertypeConflictWithProtocol'],
  [{ protocol: 58, ethertype: 'IPv4' }, 'SecurityGroupEthertypeConflictWithProtocol'],
  [{ ethertype: 'IPv5' }, 'InvalidInput'],
  [{ remote_ip_prefix: 'fd00::/8' }, 'SecurityGroupRuleParameterConflict'],
  [{ remote_ip_prefix: '10.0.0.0/8', ethertype: 'IPv6' }, 'SecurityGroupRuleParameterConflict'],
  [{ remote_ip_prefix: '10.0.0.0/33' }, 'InvalidInput'],
  [{ remote_ip_prefix: '10.0.0' }, 'InvalidInput'],
  [{ remote_ip_prefix: '10.0.0.1\nadd rule' }, 'InvalidInput'],
  [{ direction: 'sideways' }, 'HTTPBadRequest'],
  [{ direction: null }, 'HTTPBadRequest'],
]

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })

    test('UOS: create, show, list, delete, member for member', async () => {
      const { client, group } = await withGroup(shared())
      const wish = { security_group_id: group.id, direction: 'ingress', protocol: 'tcp', port_range_min: '80' }
      const asked = { ...wish, port_range_max: '90', remote_ip_prefix: '10.0.0.0/8', ethertype: 'IPv4' }
      const answer = await client.post(`${uos}/security-group-rules.json`, { security_group_rule: asked })
      const { security_group_rule: rule } = bodyOf(answer, 201)
      const { id, ...rest } = rule
      assert.deepEqual(rest, {
        ...asked,
        port_range_min: 80,
        port_range_max: 90,
        remote_group_id: null,
        tenant_id: client.projectId,
      })
      const place = `${uos}/security-group-rules/${id}`
      assert.deepEqual(bodyOf(await client.get(place), 200).security_group_rule, rule)
      const { security_group_rules: all } = bodyOf(
        await client.get(`${uos}/security-group-rules?security_group_id=${group.id}&protocol=tcp&port_range_min=80`),
        200,
      )
      assert.equal(all.length, 2)
      assert.deepEqual(
        all.find((one: Body) => one.id === id),
        rule,
      )
      bodyOf(await client.delete(place), 204)
      assertNetworkError(await client.get(place), 404, 'SecurityGroupRuleNotFound')
      assert.notEqual((await client.put(place, { security_group_rule: { description: 'x' } })).statusCode, 200)
    })

    test('Neutron: what it shows has the shape of its own sample', async () => {
      const { client, group } = await withGroup(shared())
      const { security_group_rule: example } = sample('security-group-rule-create')
      const rule = await make(client, 'security-group-rules', {
        ...{ security_group_id: group.id, direction: 'ingress', protocol: 'tcp', port_range_min: 7, port_range_max: 8 },
        ...{ remote_group_id: group.id, description: 'from "itself"\n' },
      })
      delete example.belongs_to_default_sg
      assertSameShape(rule, { ...example, remote_address_group_id: null, normalized_cidr: null, tags: [] })
      assert.equal(rule.description, 'from "itself"\n')
      for (const [prefix, shown, normalized] of [
        ['10.1.2.3/8', '10.1.2.3/8', '10.0.0.0/8'],
        ['10.1.2.3', '10.1.2.3/32', '10.1.2.3/32'],
      ]) {
        const wish = { security_group_id: group.id, direction: 'ingress', remote_ip_prefix: prefix }
        const made = await make(client, 'security-group-rules', wish)
        assert.deepEqual([made.remote_ip_prefix, made.normalized_cidr], [shown, normalized])
      }
    })

    test('a rule may be about any protocol, by name or number, and any block', async () => {
      const { client, group } = await withGroup(shared())
      for (const [wish, expected] of TAKEN) {
        const asked = { security_group_id: group.id, direction: 'ingress', ...wish }
        const answer = await client.post(`${uos}/security-group-rules`, { security_group_rule: asked })
        const { security_group_rule: rule } = bodyOf(answer, 201)
        assert.deepEqual({ ...rule, ...expected }, rule, JSON.stringify(wish))
      }
    })

    test('what no rule can say is refused by its name, and changes nothing', async () => {
      const cloud = shared()
      const { client, group } = await withGroup(cloud)
      const other = await withGroup(cloud)
      const before = await countRows(cloud)
      for (const dialect of [uos, neutron]) {
        const create = (wish: Body) =>
          client.post(`${dialect}/security-group-rules`, {
            security_group_rule: { security_group_id: group.id, direction: 'ingress', ...wish },
          })
        for (const [wish, type] of REFUSED) assertNetworkError(await create(wish), 400, type, JSON.stringify(wish))
        const both = { remote_ip_prefix: '10.0.0.0/8', remote_group_id: group.id }
        assertNetworkError(await create(both), 400, 'SecurityGroupRemoteGroupAndRemoteIpPrefix')
        for (const id of [other.group.id, 'nowhere']) {
          assertNetworkError(await create({ security_group_id: id }), 404, 'SecurityGroupNotFound')
          assertNetworkError(await create({ remote_group_id: id }), 404, 'SecurityGroupNotFound')
        }
        assertNetworkError(await create({ security_group_id: undefined }), 400, 'HTTPBadRequest')
        assertNetworkError(await create({ direction: undefined }), 400, 'HTTPBadRequest')
        const [theirs] = other.group.security_group_rules
        for (const id of [theirs.id, 'nowhere']) {
          assertNetworkError(
            await client.delete(`${dialect}/security-group-rules/${id}`),
            404,
            'SecurityGroupRuleNotFound',
          )
        }
      }
      assert.deepEqual(await countRows(cloud), before)
    })

    test('a rule that allows the same as another exists already, whatever way it is written', async () => {
      const { client, group } = await withGroup(shared())
      const create = (wish: Body) =>
        client.post(`${neutron}/security-group-rules`, {
          security_group_rule: { security_group_id: group.id, direction: 'ingress', ...wish },
        })
      const tcp = { protocol: 'tcp', port_range_min: 8080, port_range_max: 8080 }
      const groups: Body[][] = [
        [
          tcp,
          { ...tcp, protocol: 6 },
          { ...tcp, protocol: '6', description: 'another' },
          { ...tcp, ethertype: 'ipv4' },
        ],
        [
          { ...tcp, remote_ip_prefix: '10.0.0.5' },
          { ...tcp, remote_ip_prefix: '10.0.0.5/32' },
        ],
        [
          { ...tcp, remote_ip_prefix: '10.9.0.0/16' },
          { ...tcp, remote_ip_prefix: '10.9.8.7/16' },
        ],
        [
          { ...tcp, remote_group_id: group.id },
          { ...tcp, remote_group_id: group.id },
        ],
        [{ ethertype: 'IPv6', remote_ip_prefix: '::/0' }, { ethertype: 'IPv6' }],
      ]
      for (const [first, ...twins] of groups) {
        bodyOf(await create(first), 201)
        for (const twin of twins) {
          assertNetworkError(await create(twin), 409, 'SecurityGroupRuleExists', JSON.stringify(twin))
        }
      }
      assertNetworkError(
        await create({ protocol: 'tcp', port_range_min: 22, port_range_max: 22 }),
        409,
        'SecurityGroupRuleExists',
      )
    })

    test('of many who add the same rule at once, one does', async () => {
      const { client, group } = await withGroup(shared())
      const wish = { security_group_id: group.id, direction: 'ingress', protocol: 'sctp' }
      const answers = await Promise.all(
        Array.from({ length: 8 }, () => client.post(`${uos}/security-group-rules`, { security_group_rule: wish })),
      )
      assert.deepEqual(answers.map(({ statusCode }) => statusCode).sort(), [201, ...Array(7).fill(409)])
    })

    test('several at once are all made or none', async () => {
      const cloud = shared()
      const { client, group } = await withGroup(cloud)
      const rule = (port: number) => ({
        ...{ security_group_id: group.id, direction: 'ingress', protocol: 'udp' },
        ...{ port_range_min: port, port_range_max: port },
      })
      const before = await countRows(cloud)
      const bulk = (rules: Body[]) => client.post(`${neutron}/security-group-rules`, { security_group_rules: rules })
      assertNetworkError(await bulk([rule(1), rule(2), rule(1)]), 409, 'SecurityGroupRuleExists')
      assertNetworkError(await bulk([rule(1), { ...rule(2), protocol: 'x' }]), 400, 'SecurityGroupRuleInvalidProtocol')
      assertNetworkError(await bulk([]), 400, 'HTTPBadRequest')
      assert.deepEqual(await countRows(cloud), before)
      const made = bodyOf(await bulk([rule(1), rule(2)]), 201).security_group_rules
      assert.deepEqual(
        made.map((one: Body) => one.port_range_min),
        [1, 2],
      )
    })

    test('a project has a hundred rules; with more allowed, a group of 10,000 is listed and planned', async () => {
      const cloud = shared()
      const { client, group } = await withGroup(cloud)
      const prefix = (i: number) => `10.${Math.floor(i / 256)}.${i % 256}.0/24`
      const rules = (from: number, to: number) =>
        Array.from({ length: to - from }, (_, i) => ({
          security_group_id: group.id,
          direction: 'ingress',
          remote_ip_prefix: prefix(from + i),
        }))
      const bulk = (wish: Body[]) => client.post(`${neutron}/security-group-rules`, { security_group_rules: wish })
      // Its own five and those of the default group are there already.
      assertNetworkError(await bulk(rules(0, 91)), 409, 'OverQuota')
      bodyOf(await bulk(rules(0, 90)), 201)
      assertNetworkError(await bulk(rules(90, 91)), 409, 'OverQuota')
      await raiseQuota(cloud, client.projectId, 10_005)
      await fillGroup(
        cloud,
        group.id,
        Array.from({ length: 9_805 }, (_, i) => prefix(90 + i)),
      )
      assertNetworkError(await bulk(rules(9_894, 9_895)), 409, 'SecurityGroupRuleExists')
      bodyOf(await bulk(rules(9_895, 9_995)), 201)
      assertNetworkError(await bulk(rules(9_995, 9_996)), 409, 'OverQuota')
      const place = `${neutron}/security-groups/${group.id}`
      assert.equal(bodyOf(await client.get(place), 200).security_group.security_group_rules.length, 10_000)
      const plan = await readGroupPlan(cloud.cloud.db.read, group.id)
      assert.equal(plan.rules.length, 10_000)
      const one = await client.get(`${uos}/security-group-rules?remote_ip_prefix=10.38.0.0/24`)
      assert.equal(bodyOf(one, 200).security_group_rules.length, 1)
      bodyOf(await client.delete(place), 204)
      assert.equal(bodyOf(await client.get(`${uos}/security-group-rules`), 200).security_group_rules.length, 5)
    })

    test('a rule counts as a change of its group', async () => {
      const { client, group } = await withGroup(shared())
      const revision = async () =>
        bodyOf(await client.get(`${neutron}/security-groups/${group.id}`), 200).security_group.revision_number
      const before = await revision()
      const rule = await make(client, 'security-group-rules', { security_group_id: group.id, direction: 'ingress' })
      assert.equal(await revision(), before + 1)
      bodyOf(await client.delete(`${neutron}/security-group-rules/${rule.id}`), 204)
      assert.equal(await revision(), before + 2)
    })

    test('the host follows: a rule added and taken reaches the server’s card', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const answer = await client.post('/servers', await cloud.wish())
      assert.equal(answer.statusCode, 202, answer.body)
      await cloud.settled()
      const [group] = bodyOf(await client.get(`${uos}/security-groups`), 200).security_groups
      const ports = () =>
        cloud.machine.securityGroups.get(group.id)?.rules.some(({ portRangeMin }) => portRangeMin === 8_080)
      assert.equal(ports(), false)
      const wish = { security_group_id: group.id, direction: 'ingress', protocol: 'tcp' }
      const rule = await make(client, 'security-group-rules', { ...wish, port_range_min: 8_080, port_range_max: 8_080 })
      await cloud.settled()
      assert.equal(ports(), true)
      bodyOf(await client.delete(`${uos}/security-group-rules/${rule.id}`), 204)
      await cloud.settled()
      assert.equal(ports(), false)
    })
  })
}
