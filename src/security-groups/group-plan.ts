/** Rows to plans: what hosts must know of security groups. */
import type { Reader } from '../db/database.ts'
import type { RulePlan, SecurityGroupPlan } from '../host/host-driver.ts'

/** The groups of a port, in no order. */
export async function readGroupPlansOfPort(read: Reader, portId: string): Promise<SecurityGroupPlan[]> {
  const groups = await read
    .selectFrom('portSecurityGroups')
    .select('securityGroupId')
    .where('portId', '=', portId)
    .execute()
  return Promise.all(groups.map(({ securityGroupId }) => readGroupPlan(read, securityGroupId)))
}

/** A group with its rules, and the members of the groups that its rules name as remote. */
export async function readGroupPlan(read: Reader, groupId: string): Promise<SecurityGroupPlan> {
  const rules: RulePlan[] = await read
    .selectFrom('securityGroupRules')
    .select(['direction', 'ethertype', 'protocol', 'portRangeMin', 'portRangeMax', 'remoteIpPrefix', 'remoteGroupId'])
    .where('securityGroupId', '=', groupId)
    .orderBy('id')
    .execute()
  const remotes = [...new Set(rules.flatMap(({ remoteGroupId }) => remoteGroupId ?? []))].sort()
  const members = await Promise.all(
    remotes.map(async (remote) => ({ groupId: remote, addresses: await listMemberAddresses(read, remote) })),
  )
  return { groupId, rules, members }
}

/** What the ports in a group may send from: their addresses and the allowed ones, sorted. */
async function listMemberAddresses(read: Reader, groupId: string): Promise<string[]> {
  const rows = await read
    .selectFrom('portSecurityGroups')
    .innerJoin('ports', 'ports.id', 'portSecurityGroups.portId')
    .leftJoin('portAddresses', 'portAddresses.portId', 'ports.id')
    .select(['portAddresses.ipAddress', 'ports.allowedAddressPairs'])
    .where('portSecurityGroups.securityGroupId', '=', groupId)
    .execute()
  const addresses = rows.flatMap(({ ipAddress, allowedAddressPairs }) => [
    ...(ipAddress === null ? [] : [ipAddress]),
    // A thousand members are read for each of their ports at a start, and hardly any has pairs.
    ...(allowedAddressPairs === '[]' ? [] : addressesOfPairs(allowedAddressPairs)),
  ])
  return [...new Set(addresses)].sort()
}

const addressesOfPairs = (json: string): string[] =>
  (JSON.parse(json) as { ip_address: string }[]).map((pair) => pair.ip_address)
