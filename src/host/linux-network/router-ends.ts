/**
 * How routers hold on to the networks they join. A router's namespace and a network's are joined by a veth pair; the
 * end inside the network's namespace is a `vr…` device on the network's bridge, and is named here. Whoever makes
 * routers makes the pair; the network has a namespace, bridge, filters and DHCP as long as a port or an end is named.
 *
 *   1. `attachRouterEnd` makes the network where it is not, and answers its namespace
 *   2. the caller makes the veth pair, one end in that namespace under the name it gave
 *   3. `attachRouterEnd` again puts the end on the bridge, with the network's MTU, and up
 *
 * Ends that are there already are put right by the first call alone. The care of a network puts an end that is there
 * back on its bridge; one that is gone is for its router to make again.
 */
import type { NetworkPlan } from '../host-driver.ts'

/** What the name of every router's end inside a network begins with; the filters know no sender behind them. */
export const ROUTER_END_PREFIX = 'vr'

export interface RouterEnds {
  /**
   * Names an end on a network and makes the network, external ones too: those have a bridge and nothing else.
   * @param endName `vr` and up to 13 letters or digits.
   * @returns the network's namespace, and whether the end is there, and so on the bridge now.
   * @throws Error when the name is none.
   */
  attachRouterEnd(network: NetworkPlan, endName: string): Promise<{ namespace: string; isThere: boolean }>
  /** Removes the device and forgets the name; the network goes with its last port and end. Accepts that it never was. */
  detachRouterEnd(networkId: string, endName: string): Promise<void>
}

/**
 * An end's name as a device and as a file.
 * @throws Error when it is none.
 */
export function safeEndName(endName: string): string {
  if (!/^vr[A-Za-z0-9]{1,13}$/.test(endName)) throw new Error(`Not a router's end: ${JSON.stringify(endName)}`)
  return endName
}
