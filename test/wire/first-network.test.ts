/** The networks of a fresh cloud, as rows: what the first server is plugged into. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DATABASES, testCloud } from '../support/test-cloud.ts'

/** SQLite's rows have no prototype. */
const plain = <Row extends object>(rows: Row[]): Row[] => rows.map((row) => ({ ...row }))

for (const database of DATABASES) {
  test(`${database}: a fresh cloud has an external network and a shared one, once, however often it starts`, async () => {
    await using cloud = await testCloud({ database })
    await cloud.killAndStart()
    const { read } = cloud.cloud.db
    const networks = await read
      .selectFrom('networks')
      .select(['name', 'isShared', 'isExternal'])
      .orderBy('name')
      .execute()
    assert.deepEqual(plain(networks), [
      { name: 'BGP', isShared: 0, isExternal: 1 },
      { name: 'shared', isShared: 1, isExternal: 0 },
    ])
    const columns = ['name', 'cidr', 'gatewayIp', 'hasDhcp', 'ipVersion'] as const
    const subnets = await read.selectFrom('subnets').select(columns).where('name', '=', 'shared_subnet').execute()
    assert.deepEqual(plain(subnets), [
      { name: 'shared_subnet', cidr: '172.31.248.0/22', gatewayIp: '172.31.248.1', hasDhcp: 1, ipVersion: 4 },
    ])
  })

  test(`${database}: the first server of a project brings its default group: ping, ssh and web in, everything out`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} } })
    const rules = await cloud.cloud.db.read
      .selectFrom('securityGroupRules as rule')
      .innerJoin('securityGroups as group', 'group.id', 'rule.securityGroupId')
      .select(['rule.direction', 'rule.ethertype', 'rule.protocol', 'rule.portRangeMin', 'rule.portRangeMax'])
      .where('group.projectId', '=', cloud.member.projectId)
      .where('group.name', '=', 'default')
      .execute()
    const allowed = rules
      .filter(({ ethertype }) => ethertype === 'IPv4')
      .map((rule) => [rule.direction, rule.protocol, rule.portRangeMin, rule.portRangeMax].join(' '))
    assert.deepEqual(allowed.sort(), [
      'egress   ',
      'ingress icmp  ',
      'ingress tcp 22 22',
      'ingress tcp 443 443',
      'ingress tcp 80 80',
    ])
  })
}
