import type { Row } from '../db/schema.ts'
import type { Caller } from '../http/policy.ts'
import type { Shown } from '../network-api/list-query.ts'
import { standardMembers, uosCreatedAt } from '../network-api/standard-members.ts'
import { dhcpOptionsOf, pairsOf } from './port-values.ts'

/** A port with what its views tell besides its row. */
export interface ShownPort extends Row<'ports'> {
  /** IPv4 first. */
  addresses: { subnetId: string; ipAddress: string }[]
  securityGroupIds: string[]
  tags: string[]
  /** Where its server runs; null when it has none, or that runs nowhere yet. */
  hostName: string | null
}

/** As Neutron shows it. Source: shared/spec/neighbours.md §4. */
export function portView(port: ShownPort, caller: Pick<Caller, 'isAdmin'>): Shown {
  const host = port.hostName ?? port.bindingHost
  return {
    ...standardMembers(port),
    ...common(port),
    extra_dhcp_opts: dhcpOptionsOf(port),
    port_security_enabled: port.hasPortSecurity === 1,
    dns_name: port.dnsName,
    'binding:vnic_type': port.vnicType,
    ...(caller.isAdmin
      ? {
          'binding:host_id': host,
          'binding:profile': JSON.parse(port.bindingProfile),
          'binding:vif_type': host === '' ? 'unbound' : 'bridge',
          'binding:vif_details': host === '' ? {} : { port_filter: true },
        }
      : {}),
  }
}

/** As UOS shows it. Source: shared/spec/uos-network.md §3. */
export const uosPortView = (port: ShownPort, isCreated: boolean): Shown => ({
  id: port.id,
  tenant_id: port.projectId,
  ...common(port),
  'binding:vnic_type': port.vnicType,
  'binding:disable_anti_spoofing': port.hasAntiSpoofing === 0,
  ...(isCreated ? {} : { extra_dhcp_opts: dhcpOptionsOf(port) }),
  ...uosCreatedAt(port, isCreated),
})

const common = (port: ShownPort) => ({
  name: port.name,
  network_id: port.networkId,
  // A port that passes nothing is down, plugged in or not.
  status: port.isUp === 1 ? port.status : 'DOWN',
  admin_state_up: port.isUp === 1,
  mac_address: port.macAddress,
  fixed_ips: port.addresses.map(({ subnetId, ipAddress }) => ({ subnet_id: subnetId, ip_address: ipAddress })),
  device_id: port.deviceId,
  device_owner: port.deviceOwner,
  security_groups: port.securityGroupIds,
  allowed_address_pairs: pairsOf(port),
})
