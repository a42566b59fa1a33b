import type { Row } from '../db/schema.ts'
import { timestampB } from '../http/timestamps.ts'
import type { Shown } from '../network-api/list-query.ts'
import { standardMembers } from '../network-api/standard-members.ts'
import { forwardingView } from './forwarding-view.ts'

/** A floating IP with what its views tell besides its row. */
export interface ShownFloatingIp extends Row<'floatingIps'> {
  /** The port it leads to. */
  port: Row<'ports'> | undefined
  /** Where its address is from. */
  floatingSubnetId: string | null
  portForwardings: Row<'portForwardings'>[]
  tags: string[]
}

/** As Neutron shows it. Source: shared/spec/neighbours.md §4. */
export function floatingIpView(floatingIp: ShownFloatingIp): Shown {
  const { port } = floatingIp
  return {
    ...standardMembers(floatingIp),
    ...binding(floatingIp),
    dns_name: floatingIp.dnsName,
    dns_domain: '',
    qos_policy_id: null,
    port_details: port
      ? {
          name: port.name,
          network_id: port.networkId,
          mac_address: port.macAddress,
          admin_state_up: port.isUp === 1,
          status: port.status,
          device_id: port.deviceId,
          device_owner: port.deviceOwner,
        }
      : null,
    port_forwardings: floatingIp.portForwardings.map(forwardingView),
  }
}

/** As UOS shows it, in a create too. Source: shared/spec/uos-network.md §3. */
export const uosFloatingIpView = (floatingIp: ShownFloatingIp): Shown => ({
  id: floatingIp.id,
  tenant_id: floatingIp.projectId,
  ...binding(floatingIp),
  rate_limit: floatingIp.rateLimitKbps,
  'uos:name': floatingIp.name,
  created_at: timestampB(floatingIp.createdAt),
})

/** As UOS shows it after a change of its rate (N22), which alone tells more. */
export const uosRateView = (floatingIp: ShownFloatingIp) => ({
  ...uosFloatingIpView(floatingIp),
  floating_port_id: floatingIp.floatingPortId,
  floating_subnet_id: floatingIp.floatingSubnetId,
  'uos:registerno': floatingIp.registerno,
})

const binding = (floatingIp: ShownFloatingIp) => ({
  floating_network_id: floatingIp.floatingNetworkId,
  floating_ip_address: floatingIp.floatingIpAddress,
  port_id: floatingIp.portId,
  fixed_ip_address: floatingIp.fixedIpAddress,
  router_id: floatingIp.routerId,
  status: floatingIp.status,
})
