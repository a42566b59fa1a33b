/** What a port may be, and who decides it: everything that is asked before a port is written. */
import type { Reader, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { Caller } from '../http/policy.ts'
import { networkError } from '../network-api/network-errors.ts'
import type { PortChange } from './port-values.ts'

/** Owners that the service alone gives. */
const SERVICE_OWNER = 'network:'

export const isServicePort = ({ deviceOwner }: Pick<Row<'ports'>, 'deviceOwner'>): boolean =>
  deviceOwner.startsWith(SERVICE_OWNER)

/**
 * Some attributes belong to those who run the cloud, and what weakens the filters of a network to those whose network it
 * is: on a network shared with others it would let a card take their traffic.
 * @throws ApiError PolicyNotAuthorized.
 */
export function assertMayChoose(caller: Caller, network: Row<'networks'>, change: PortChange): void {
  const refuse = (member: string, who: string) => {
    throw networkError('PolicyNotAuthorized', `Only ${who} sets ${member}.`)
  }
  if (change.device_owner?.startsWith(SERVICE_OWNER)) refuse('device_owner to network:…', 'the service itself')
  if (caller.isAdmin) return
  if (change['binding:host_id']) refuse('binding:host_id', 'an admin')
  if (Object.keys(change['binding:profile'] ?? {}).length > 0) refuse('binding:profile', 'an admin')
  if (network.projectId === caller.projectId) return
  const owner = 'the owner of the network'
  if ((change.allowed_address_pairs ?? []).length > 0) refuse('allowed_address_pairs', owner)
  if (change.port_security_enabled !== undefined && change.port_security_enabled !== (network.hasPortSecurity === 1)) {
    refuse('port_security_enabled', owner)
  }
  if (change['binding:disable_anti_spoofing']) refuse('binding:disable_anti_spoofing', owner)
}

/**
 * Servers and routers get and lose ports by themselves; whoever could write their ids would plug in cards that nobody
 * asked them for.
 * @throws ApiError InvalidInput.
 */
export async function assertFreeDevice(read: Reader, deviceId: string): Promise<void> {
  if (deviceId === '') return
  const [server, router, floatingIp] = await Promise.all([
    read.selectFrom('servers').select('id').where('id', '=', deviceId).executeTakeFirst(),
    read.selectFrom('routers').select('id').where('id', '=', deviceId).executeTakeFirst(),
    read.selectFrom('floatingIps').select('id').where('id', '=', deviceId).executeTakeFirst(),
  ])
  if (!server && !router && !floatingIp && !deviceId.startsWith('dhcp-')) return
  throw networkError(
    'InvalidInput',
    `device_id cannot be ${deviceId}: attach the port to its server or router, which then has it.`,
  )
}

/**
 * The groups of a port: of its project, or of any for an admin.
 * @throws ApiError SecurityGroupNotFound.
 */
export async function readGroups(
  tx: Tx,
  { isAdmin }: Pick<Caller, 'isAdmin'>,
  projectId: string,
  ids: readonly string[],
): Promise<string[]> {
  const wished = [...new Set(ids)]
  if (wished.length === 0) return []
  const known = await tx
    .selectFrom('securityGroups')
    .select('id')
    .where('id', 'in', wished)
    .$if(!isAdmin, (some) => some.where('projectId', '=', projectId))
    .execute()
  const missing = wished.find((id) => !known.some((group) => group.id === id))
  if (missing !== undefined) {
    throw networkError('SecurityGroupNotFound', `Security group ${missing} does not exist.`)
  }
  return wished
}

/**
 * A port that is not filtered has neither groups nor allowed addresses.
 * @param change what is being said: who names groups is told of them, who switches filters off of what stands in the way.
 * @throws ApiError PortSecurityAndIPRequiredForSecurityGroups, PortSecurityPortHasSecurityGroup,
 * AddressPairAndPortSecurityRequired.
 */
export function assertFiltersFit(
  change: PortChange,
  { isFiltered, groups, pairs }: { isFiltered: boolean; groups: number; pairs: number },
): void {
  if (isFiltered) return
  if (groups > 0 && change.security_groups) {
    throw networkError(
      'PortSecurityAndIPRequiredForSecurityGroups',
      'Port security must be enabled in order to use security groups.',
    )
  }
  if (groups > 0) {
    throw networkError(
      'PortSecurityPortHasSecurityGroup',
      'Port has security group associated. Cannot disable port security until security group is removed.',
    )
  }
  if (pairs > 0) {
    throw networkError(
      'AddressPairAndPortSecurityRequired',
      'Port security must be enabled in order to have allowed address pairs on a port.',
    )
  }
}
