import type { NetworkPlan, PortPlan, RouterPlan, SecurityGroupPlan, ServerCard } from '../host-driver.ts'

/**
 * The network of one host as the QEMU driver needs it. The driver hands ports through and asks where a port's tap is;
 * everything else about networks (bridges, DHCP, filters, metadata) is behind this door.
 */
export interface HostNetwork extends AsyncDisposable {
  /**
   * Finds again what earlier runs left, and opens its listeners.
   * @throws HostError `missing` naming the packages or rights this machine lacks.
   */
  start(): Promise<void>
  /** The network, its services, the port's filter and its tap; applies changed addresses and rules too. */
  ensurePort(port: PortPlan): Promise<void>
  /** The tap and the filter; accepts that they never were. */
  removePort(portId: string): Promise<void>
  /** These five as `HostDriver` has them. */
  ensureNetwork(network: NetworkPlan): Promise<void>
  ensureSecurityGroup(group: SecurityGroupPlan): Promise<void>
  ensureRouter(router: RouterPlan): Promise<void>
  removeRouter(routerId: string): Promise<void>
  readNetworking(): Promise<{ portIds: string[]; routerIds: string[] }>
  /**
   * Calls `listener` with a card whose tap had gone and was made anew: a guest that runs holds the old one, which is dead.
   * Call it before `start`, which may find such.
   */
  onTapRemade(listener: (card: ServerCard) => void): void
  /** The network namespace, by name, and the tap device in it; undefined when there is none. */
  findTap(portId: string): Promise<{ namespace: string; tapName: string } | undefined>
}
