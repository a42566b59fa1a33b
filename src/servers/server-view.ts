/**
 * Row to wire: the four server views of the UOS dialect.
 * Source: shared/spec/uos-compute.md, section 4.
 */
import { createHash } from 'node:crypto'
import type { Config } from '../config.ts'
import type { Row } from '../db/schema.ts'
import type { Links } from '../http/links.ts'
import { timestampA, timestampBOrNull } from '../http/timestamps.ts'
import { SHOWS_FAULT, SHOWS_PROGRESS, statusOf } from './server-state.ts'
import type { CardAddress, ShownServer } from './server-store.ts'

/** What views need besides the rows. */
export interface ViewContext {
  links: Links
  isAdmin: boolean
  hypervisorSuffix: Config['hypervisorSuffix']
}

/** Answer of a create: the one time the password is shown. */
export function createdView(
  server: { id: string; adminPass: string; diskConfig: string; securityGroups: { name: string }[] },
  links: Links,
) {
  return {
    security_groups: server.securityGroups,
    'OS-DCF:diskConfig': server.diskConfig,
    id: server.id,
    links: links.both('servers', server.id),
    adminPass: server.adminPass,
  }
}

/** Item of the brief list. */
export function briefView({ server, cards }: ShownServer, { links }: ViewContext) {
  return {
    id: server.id,
    name: server.name,
    links: links.both('servers', server.id),
    addresses: addressesView(cards, shortEntry),
  }
}

/** Answer of an update: 17 fields. */
export function updatedView(shown: ShownServer, context: ViewContext) {
  const { server, cards } = shown
  const { links } = context
  return {
    ...commonView(shown, context),
    addresses: addressesView(cards, shortEntry),
    image: imageView(server, links, {}),
    flavor: { id: server.flavorId, links: [links.bookmark('flavors', server.flavorId)] },
  }
}

/** Show, and item of the detailed list: 30 fields, and the fault of a failed server. */
export function fullView(shown: ShownServer, context: ViewContext) {
  const { server, cards, volumeIds } = shown
  const { links } = context
  const hostName = server.hostName ?? ''
  return {
    ...commonView(shown, context),
    addresses: addressesView(cards, fullEntry),
    image: imageView(server, links, { name: server.imageName }),
    flavor: { id: server.flavorId, links: [links.bookmark('flavors', server.flavorId)], name: server.flavorName },
    security_groups: securityGroupsView(cards),
    key_name: server.keyName,
    config_drive: server.configDrive,
    'OS-EXT-AZ:availability_zone': server.availabilityZone,
    'OS-EXT-SRV-ATTR:host': hostName,
    'OS-EXT-SRV-ATTR:hypervisor_hostname': hostName === '' ? '' : `${hostName}${context.hypervisorSuffix}`,
    'OS-EXT-SRV-ATTR:instance_name': instanceName(server.number),
    'OS-EXT-STS:vm_state': server.vmState,
    'OS-EXT-STS:task_state': server.taskState,
    'OS-EXT-STS:power_state': server.powerState,
    'OS-SRV-USG:launched_at': timestampBOrNull(server.launchedAt),
    'OS-SRV-USG:terminated_at': timestampBOrNull(server.terminatedAt),
    'os-extended-volumes:volumes_attached': volumeIds.map((id) => ({ id })),
  }
}

/** Empty for a server that boots from a volume. */
export const imageView = <More extends object>({ imageId }: Row<'servers'>, links: Links, more: More) =>
  imageId === '' ? '' : { id: imageId, links: [links.bookmark('images', imageId)], ...more }

/** `instance-` and the number in eight hex digits. */
export const instanceName = (number: number): string => `instance-${number.toString(16).padStart(8, '0')}`

/** What users see of the host: the same for all servers of a project there, and '' while there is none. */
export function obscuredHostId(projectId: string, hostName: string | null): string {
  return hostName === null
    ? ''
    : createHash('sha224')
        .update(projectId + hostName)
        .digest('hex')
}

/** What all but the brief view have, in both dialects. */
export function commonView({ server }: ShownServer, { links, isAdmin }: ViewContext) {
  const status = statusOf(server.vmState, server.taskState)
  return {
    id: server.id,
    name: server.name,
    links: links.both('servers', server.id),
    status,
    created: timestampA(server.createdAt),
    updated: timestampA(server.updatedAt),
    hostId: obscuredHostId(server.projectId, server.hostName),
    user_id: server.userId,
    tenant_id: server.projectId,
    accessIPv4: server.accessIpv4,
    accessIPv6: server.accessIpv6,
    metadata: JSON.parse(server.metadata) as Record<string, string>,
    'OS-DCF:diskConfig': server.diskConfig,
    ...(SHOWS_PROGRESS.has(status) ? { progress: server.progress } : {}),
    ...(SHOWS_FAULT.has(status) && server.faultAt !== null ? { fault: faultView(server, isAdmin) } : {}),
  }
}

function faultView(server: Row<'servers'>, isAdmin: boolean) {
  const { faultCode: code, faultMessage, faultAt, faultDetails: details } = server
  const showsDetails = details !== null && (isAdmin || code !== 500)
  return {
    code: code ?? 500,
    created: timestampA(faultAt ?? 0),
    message: faultMessage ?? '',
    ...(showsDetails ? { details } : {}),
  }
}

/**
 * By network name, each address followed by the floating one that leads to it; the same address stands in several rows
 * when its card has several security groups.
 */
export function addressesView<Entry>(
  cards: CardAddress[],
  entry: (card: CardAddress, type: 'fixed' | 'floating') => Entry,
): Record<string, Entry[]> {
  const addresses = new Map(
    cards.filter(({ ipAddress }) => ipAddress !== null).map((card) => [`${card.portId} ${card.ipAddress}`, card]),
  )
  // Networks may be named like what objects inherit, so nothing is looked up on an object.
  const byNetwork = Map.groupBy(addresses.values(), ({ networkName }) => networkName)
  return Object.fromEntries([...byNetwork].map(([name, ones]) => [name, ones.flatMap((one) => entries(one, entry))]))
}

function entries<Entry>(card: CardAddress, entry: (card: CardAddress, type: 'fixed' | 'floating') => Entry): Entry[] {
  const { floatingIpAddress } = card
  const fixed = entry(card, 'fixed')
  return floatingIpAddress === null ? [fixed] : [fixed, entry({ ...card, ipAddress: floatingIpAddress }, 'floating')]
}

const shortEntry = (card: CardAddress) => ({
  addr: card.ipAddress,
  version: card.ipVersion,
  'UOS-EXT-IPS:id': card.portId,
  'UOS-EXT-IPS:subnet_id': card.subnetId,
  'UOS-EXT-IPS:subnet_name': card.subnetName,
  'UOS-EXT-IPS:subnet_shared': card.isShared === 1,
})

const fullEntry = (card: CardAddress, type: 'fixed' | 'floating') => ({
  ...shortEntry(card),
  'OS-EXT-IPS:type': type,
  'OS-EXT-IPS-MAC:mac_addr': card.macAddress,
})

/** One entry for each card and group. */
function securityGroupsView(cards: CardAddress[]) {
  const seen = new Set<string>()
  return cards.flatMap(({ portId, securityGroupId: id, securityGroupName: name }) => {
    const key = `${portId} ${id}`
    if (id === null || seen.has(key)) return []
    seen.add(key)
    return [{ port_id: portId, name, id }]
  })
}
