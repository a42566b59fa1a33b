/**
 * Row to wire, as Nova v2.1 shows servers at version 2.1.
 * Source: shared/spec/nova-v21.md, section 2.3.
 */
import { timestampBOrNull } from '../http/timestamps.ts'
import type { ShownServer } from './server-store.ts'
import { addressesView, commonView, imageView, instanceName, type ViewContext } from './server-view.ts'

type View = Record<string, unknown>

/** Item of the brief list. */
export const novaBriefView = ({ server: { id, name } }: ShownServer, { links }: ViewContext): View => ({
  id,
  name,
  links: links.both('servers', id),
})

/** Answer of an update. */
export function novaUpdatedView(shown: ShownServer, context: ViewContext): View {
  const { server } = shown
  return {
    ...commonView(shown, context),
    image: imageView(server, context.links, {}),
    flavor: { id: server.flavorId, links: [context.links.bookmark('flavors', server.flavorId)] },
    addresses: novaAddresses(shown, ({ ipAddress, ipVersion }) => ({ version: ipVersion, addr: ipAddress })),
  }
}

/** Show, and item of the detailed list. */
export function novaFullView(shown: ShownServer, context: ViewContext): View {
  const { server, cards, volumeIds } = shown
  const groups = [...new Set(cards.flatMap(({ securityGroupName }) => securityGroupName ?? []))]
  return {
    ...novaUpdatedView(shown, context),
    addresses: novaAddresses(shown, ({ ipAddress, ipVersion, macAddress }, type) => ({
      version: ipVersion,
      addr: ipAddress,
      'OS-EXT-IPS:type': type,
      'OS-EXT-IPS-MAC:mac_addr': macAddress,
    })),
    key_name: server.keyName,
    config_drive: server.configDrive,
    ...(groups.length > 0 ? { security_groups: groups.map((name) => ({ name })) } : {}),
    'OS-EXT-AZ:availability_zone': server.availabilityZone,
    'OS-EXT-STS:vm_state': server.vmState,
    'OS-EXT-STS:task_state': server.taskState,
    'OS-EXT-STS:power_state': server.powerState,
    'OS-SRV-USG:launched_at': timestampBOrNull(server.launchedAt),
    'OS-SRV-USG:terminated_at': timestampBOrNull(server.terminatedAt),
    'os-extended-volumes:volumes_attached': volumeIds.map((id) => ({ id })),
    ...(context.isAdmin ? hostAttributes(shown, context) : {}),
  }
}

/** Which machine it is on is for admins. */
function hostAttributes({ server: { hostName, number } }: ShownServer, { hypervisorSuffix }: ViewContext): View {
  return {
    'OS-EXT-SRV-ATTR:host': hostName,
    'OS-EXT-SRV-ATTR:hypervisor_hostname': hostName === null ? null : `${hostName}${hypervisorSuffix}`,
    'OS-EXT-SRV-ATTR:instance_name': instanceName(number),
  }
}

/** By network name; none while it builds, though its ports have theirs. */
const novaAddresses = ({ server, cards }: ShownServer, entry: Parameters<typeof addressesView<View>>[1]) =>
  server.vmState === 'building' ? {} : addressesView(cards, entry)
