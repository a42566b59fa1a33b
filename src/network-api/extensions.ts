/** An addition to the network API by the name that clients look for. */
export interface Extension {
  alias: string
  name: string
  description: string
}

/**
 * What clients may count on: they change what they send by it, and test suites what they try. Only what holds is here.
 * Names are as Neutron has them where clients look for names.
 */
export const EXTENSIONS: readonly Extension[] = [
  ['allowed-address-pairs', 'Allowed Address Pairs', 'Addresses that a port may send from besides its own.'],
  ['availability_zone', 'Availability Zone', 'The zones that networks and routers are in.'],
  ['binding', 'Port Binding', 'Where and how a port is plugged in.'],
  ['expose-port-forwarding-in-fip', 'Expose Port Forwarding in FIP', 'Forwardings are shown with their floating IP.'],
  ['ext-gw-mode', 'Neutron L3 Configurable external gateway mode', 'Source NAT of a router can be switched off.'],
  ['external-net', 'Neutron external network', 'Networks that lead out of the cloud.'],
  ['extra_dhcp_opt', 'Neutron Extra DHCP options', 'Options of a port that its DHCP answers carry.'],
  ['extraroute', 'Neutron Extra Route', 'Routes of a router besides those of its networks.'],
  ['extraroute-atomic', 'Atomically add/remove extra routes', 'Extra routes are added and removed one by one.'],
  ['fip-port-details', 'Floating IP Port Details Extension', 'A floating IP tells of the port it leads to.'],
  ['floating-ip-port-forwarding', 'Floating IP Port Forwarding', 'Single ports of a floating IP lead to ports inside.'],
  ['ip-substring-filtering', 'IP address substring filtering', 'Ports can be found by a part of an address.'],
  ['net-mtu', 'Network MTU', 'The largest packet of a network is told.'],
  ['net-mtu-writable', 'Network MTU (writable)', 'The largest packet of a network can be set.'],
  ['network-ip-availability', 'Network IP Availability', 'How many addresses of a network are used.'],
  ['network_availability_zone', 'Network Availability Zone', 'The zones that a network is in.'],
  ['pagination', 'Pagination support', 'Lists come in pages.'],
  ['port-security', 'Port Security', 'The filters of a port can be switched off.'],
  ['project-id', 'project_id field enabled', 'Projects are called project_id as well as tenant_id.'],
  ['provider', 'Provider Network', 'Admins see how a network is made.'],
  ['quota_details', 'Quota details management support', 'What is used of a quota is told.'],
  ['quotas', 'Quota management support', 'How much a project may have.'],
  ['revision-if-match', 'If-Match constraints based on revision_number', 'Changes can ask for the revision they know.'],
  ['router', 'Neutron L3 Router', 'Routers and floating IPs.'],
  ['router_availability_zone', 'Router Availability Zone', 'The zones that a router is in.'],
  ['security-group', 'security-group', 'Filters of ports, in groups.'],
  [
    'security-groups-normalized-cidr',
    'Normalized CIDR field for security group rules',
    'A rule tells its prefix in full.',
  ],
  ['sorting', 'Sorting support', 'Lists come in the order that is asked for.'],
  ['standard-attr-description', 'standard-attr-description', 'Everything can have a description.'],
  ['standard-attr-revisions', 'Resource revision numbers', 'Everything counts its changes.'],
  ['standard-attr-tag', 'Tag support for resources with standard attribute', 'Everything can have tags.'],
  ['standard-attr-timestamp', 'Resource timestamps', 'Everything tells when it was made and changed.'],
  ['tag-ports-during-bulk-creation', 'Tag Ports During Bulk Creation', 'Ports can have tags from the start.'],
].map(([alias = '', name = '', description = '']) => ({ alias, name, description }))
