/** Security groups and rules under the compute API, and the groups of a server. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { assertFault } from '../support/assert-fault.ts'
import { createServer } from '../support/create-servers.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Client, DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

const PATH = '/os-security-groups'
const RULES = '/os-security-group-rules'
const NOBODY = '00000000-0000-4000-8000-000000000000'

for (const database of DATABASES) {
  describe(database, () => {
    const cloud = sharedCloud({ database })

    test('the default group is there without having been made', async () => {
      const stranger = await cloud().stranger()
      const { security_groups: groups } = (await stranger.get(PATH)).json()
      assert.deepEqual(
        groups.map((group: { name: string; tenant_id: string }) => [group.name, group.tenant_id]),
        [['default', stranger.projectId]],
      )
    })

    test('a group is made, shown, renamed and deleted', async () => {
      const { member } = cloud()
      const made = await member.post(PATH, { security_group: { name: ' web ', description: 'for the web' } })
      assert.equal(made.statusCode, 200, made.body)
      const { security_group: group } = made.json()
      assert.deepEqual(Object.keys(group).sort(), ['description', 'id', 'name', 'rules', 'tenant_id'])
      assert.deepEqual([group.name, group.description, group.tenant_id], ['web', 'for the web', member.projectId])
      assert.deepEqual((await member.get(`${PATH}/${group.id}`)).json(), { security_group: group })
      const renamed = await member.put(`${PATH}/${group.id}`, { security_group: { name: 'api', description: '' } })
      assert.deepEqual(renamed.json().security_group, { ...group, name: 'api', description: '' })
      const listed = (await member.get(PATH)).json().security_groups
      assert.ok(listed.some(({ name }: { name: string }) => name === 'api'))
      const deleted = await member.delete(`${PATH}/${group.id}`)
      assert.deepEqual([deleted.statusCode, deleted.body], [202, ''])
      assertFault(await member.get(`${PATH}/${group.id}`), 404, /could not be found/)
    })

    test('rules are made and deleted, and only what comes in is shown', async () => {
      const { member } = cloud()
      const id = await makeGroup(member, 'rules')
      const wishes = [
        {
          wish: { ip_protocol: 'TCP', from_port: '8080', to_port: 8090, cidr: '198.51.100.0/24' },
          shown: {
            ip_protocol: 'tcp',
            from_port: 8080,
            to_port: 8090,
            ip_range: { cidr: '198.51.100.0/24' },
            group: {},
          },
        },
        {
          wish: { ip_protocol: 'icmp', from_port: -1, to_port: -1, cidr: '198.51.100.0/24' },
          shown: { ip_protocol: 'icmp', from_port: -1, to_port: -1, ip_range: { cidr: '198.51.100.0/24' }, group: {} },
        },
        {
          wish: { ip_protocol: 'udp', from_port: 53, to_port: 53, cidr: null, group_id: null },
          shown: { ip_protocol: 'udp', from_port: 53, to_port: 53, ip_range: { cidr: '0.0.0.0/0' }, group: {} },
        },
        {
          wish: { ip_protocol: 'tcp', from_port: 22, to_port: 22, cidr: 'fd00::/8' },
          shown: { ip_protocol: 'tcp', from_port: 22, to_port: 22, ip_range: { cidr: 'fd00::/8' }, group: {} },
        },
        {
          wish: { group_id: id },
          shown: {
            ip_protocol: null,
            from_port: null,
            to_port: null,
            ip_range: {},
            group: { name: 'rules', tenant_id: member.projectId },
          },
        },
        {
          wish: { ip_protocol: 'tcp', group_id: id },
          shown: {
            ip_protocol: 'tcp',
            from_port: 1,
            to_port: 65_535,
            ip_range: {},
            group: { name: 'rules', tenant_id: member.projectId },
          },
        },
      ]
      const before = (await member.get(`${PATH}/${id}`)).json().security_group.rules.length
      for (const { wish, shown } of wishes) {
        const made = await member.post(RULES, { security_group_rule: { parent_group_id: id, ...wish } })
        assert.equal(made.statusCode, 200, made.body)
        const { id: ruleId, parent_group_id, ...rest } = made.json().security_group_rule
        assert.deepEqual({ parent_group_id, ...rest }, { parent_group_id: id, ...shown })
        assert.equal(typeof ruleId, 'string')
      }
      const { rules } = (await member.get(`${PATH}/${id}`)).json().security_group
      assert.equal(rules.length, before + wishes.length)
      for (const rule of rules) assert.equal((await member.delete(`${RULES}/${rule.id}`)).statusCode, 202)
      assert.deepEqual((await member.get(`${PATH}/${id}`)).json().security_group.rules, [])
      assertFault(await member.delete(`${RULES}/${rules[0].id}`), 404, /could not be found/)
    })

    test('what makes no sense is refused', async () => {
      const { member } = cloud()
      const id = await makeGroup(member, 'refusals')
      const rules: [Record<string, unknown>, number, RegExp][] = [
        [{ ip_protocol: 'tcp', from_port: 90, to_port: 80 }, 400, /port range/],
        [{ ip_protocol: 'tcp', from_port: 0, to_port: 80 }, 400, /port range/],
        [{ ip_protocol: 'tcp', from_port: 80 }, 400, /from_port and to_port/],
        [{ ip_protocol: 'tcp', from_port: 80, to_port: '99999' }, 400, /Invalid port 99999/],
        [{ ip_protocol: 'tcp', from_port: 80, to_port: 70_000 }, 400, /to_port/],
        [{ ip_protocol: 'gre', from_port: 1, to_port: 1 }, 400, /protocol gre/],
        [{ cidr: '0.0.0.0/0' }, 400, /ip_protocol/],
        [{ ip_protocol: 'tcp', from_port: 1, to_port: 2, cidr: 'nowhere' }, 400, /remote_ip_prefix/],
        [{ ip_protocol: 'tcp', from_port: 1, to_port: 2, cidr: '10.0.0.0/8', group_id: id }, 400, /Only one/],
        [{ ip_protocol: 'icmp', from_port: 300, to_port: 0 }, 400, /ICMP/],
        [{ group_id: NOBODY }, 404, /could not be found/],
        [{ parent_group_id: NOBODY, ip_protocol: 'tcp', from_port: 1, to_port: 2 }, 404, /could not be found/],
        [{ parent_group_id: undefined, ip_protocol: 'tcp', from_port: 1, to_port: 2 }, 400, /parent_group_id/],
      ]
      for (const [wish, status, message] of rules) {
        const answer = await member.post(RULES, { security_group_rule: { parent_group_id: id, ...wish } })
        assertFault(answer, status, message, JSON.stringify(wish))
      }
      const twice = { parent_group_id: id, ip_protocol: 'tcp', from_port: 81, to_port: 81 }
      assert.equal((await member.post(RULES, { security_group_rule: twice })).statusCode, 200)
      assertFault(await member.post(RULES, { security_group_rule: twice }), 400, /already exists/)
      assertFault(await member.post(PATH, { security_group: { name: ' ' } }), 400, /only spaces/)
      assertFault(await member.post(PATH, { security_group: {} }), 400, /name/)
      assertFault(await member.post(PATH, { security_group: { name: 'default' } }), 400, /default/)
      assertFault(await member.put(`${PATH}/${id}`, { security_group: { name: 'default' } }), 400, /default/)
      const { security_groups: groups } = (await member.get(PATH)).json()
      const standard = groups.find(({ name }: { name: string }) => name === 'default')
      assertFault(await member.delete(`${PATH}/${standard.id}`), 400, /default|in use/)
    })

    test("another project's groups and rules cannot be found", async () => {
      const { member } = cloud()
      const stranger = await cloud().stranger()
      const id = await makeGroup(member, 'private')
      const [rule] = (await member.get(`${PATH}/${id}`)).json().security_group.rules
      assertFault(await stranger.get(`${PATH}/${id}`), 404, /could not be found/)
      assertFault(await stranger.put(`${PATH}/${id}`, { security_group: { name: 'mine' } }), 404, /could not be found/)
      assertFault(await stranger.delete(`${PATH}/${id}`), 404, /could not be found/)
      assertFault(await stranger.delete(`${RULES}/${rule.id}`), 404, /could not be found/)
      const answer = await stranger.post(RULES, { security_group_rule: { parent_group_id: id, group_id: id } })
      assertFault(answer, 404, /could not be found/)
      assert.equal((await cloud().admin.get(`${PATH}/${id}`)).statusCode, 200)
    })

    test('a reader sees groups and changes none', async () => {
      const reader = await cloud().stranger('reader')
      assert.equal((await reader.get(PATH)).statusCode, 200)
      assertFault(await reader.post(PATH, { security_group: { name: 'mine' } }), 403, /network:write/)
    })
  })

  test(`${database}: a quota ends the making of groups with 403`, async () => {
    await using cloud = await testCloud({ database })
    const { projectId } = cloud.member
    await cloud.cloud.db.transaction((tx) =>
      tx.insertInto('networkQuotas').values({ projectId, resource: 'security_group', most: 2 }).execute(),
    )
    await makeGroup(cloud.member, 'one')
    assertFault(await cloud.member.post(PATH, { security_group: { name: 'two' } }), 403, /Quota exceeded/)
  })

  test(`${database}: a server joins a group and leaves it, and its host follows`, async () => {
    await using cloud = await testCloud({ database })
    const { member } = cloud
    const server = await createServer(cloud)
    const id = await makeGroup(member, 'web')
    const act = (body: Record<string, unknown>) => member.post(`/servers/${server.id}/action`, body)
    const joined = await act({ addSecurityGroup: { name: 'web' } })
    assert.deepEqual([joined.statusCode, joined.body], [202, ''])
    await cloud.settled()
    assert.deepEqual(await groupsOf(cloud, server.id), ['default', 'web'])
    assert.ok(groupsOnHost(cloud, server.id).includes(id))
    assert.equal((await act({ addSecurityGroup: { name: id } })).statusCode, 202)
    assertFault(await member.delete(`${PATH}/${id}`), 400, /in use/)

    assert.equal((await act({ removeSecurityGroup: { name: 'web' } })).statusCode, 202)
    await cloud.settled()
    assert.deepEqual(await groupsOf(cloud, server.id), ['default'])
    assert.ok(!groupsOnHost(cloud, server.id).includes(id))
    assertFault(await act({ removeSecurityGroup: { name: 'web' } }), 404, /not associated/)
    assertFault(await act({ addSecurityGroup: { name: 'nobody' } }), 404, /could not be found/)
    assertFault(await act({ addSecurityGroup: {} }), 400, /name/)
    await makeGroup(member, 'web')
    assertFault(await act({ addSecurityGroup: { name: 'web' } }), 409, /Several/)
    const stranger = await cloud.stranger()
    assertFault(await stranger.get(`/servers/${server.id}/os-security-groups`), 404, /could not be found/)
    const foreign = await stranger.post(`/servers/${server.id}/action`, { addSecurityGroup: { name: 'default' } })
    assertFault(foreign, 404, /could not be found/)
  })
}

async function makeGroup(client: Client, name: string): Promise<string> {
  const answer = await client.post(PATH, { security_group: { name, description: '' } })
  assert.equal(answer.statusCode, 200, answer.body)
  return answer.json().security_group.id
}

async function groupsOf(cloud: TestCloud, serverId: string): Promise<string[]> {
  const { security_groups: groups } = (await cloud.member.get(`/servers/${serverId}/os-security-groups`)).json()
  return groups.map(({ name }: { name: string }) => name)
}

const groupsOnHost = (cloud: TestCloud, serverId: string): string[] =>
  [...cloud.machine.ports.values()]
    .filter((port) => port.serverId === serverId)
    .flatMap((port) => port.securityGroups ?? [])
    .map(({ groupId }) => groupId)
