/** Who holds a port, as its column `deviceOwner` says it; '' for nobody. The words are Neutron's, and clients read them. */
export const OWNERS = {
  dhcp: 'network:dhcp',
  routerInterface: 'network:router_interface',
  routerGateway: 'network:router_gateway',
  floatingIp: 'network:floatingip',
  server: 'compute:nova',
} as const

/** Ports that are ends of a router. */
export const ROUTER_ENDS: readonly string[] = [OWNERS.routerInterface, OWNERS.routerGateway]
