/** Names of devices that join routers, and the edge, to networks; 15 characters at most, which is what the kernel takes. */
import { createHash } from 'node:crypto'
import { namespacePrefix, safeId } from './names.ts'
import { ROUTER_END_PREFIX } from './router-ends.ts'

const digest = (text: string): string => createHash('sha256').update(text).digest('hex')

/** Of an interface, in the router's namespace. */
export const INTERFACE_PREFIX = 'in-'
/** Of the gateway, in the router's namespace. */
export const GATEWAY_PREFIX = 'out-'

export const interfaceName = (portId: string): string => INTERFACE_PREFIX + digest(portId).slice(0, 11)
export const gatewayName = (portId: string): string => GATEWAY_PREFIX + digest(portId).slice(0, 11)

/** The other end of the cable, on the network's bridge. */
export const endName = (portId: string): string => ROUTER_END_PREFIX + digest(portId).slice(0, 13)

/** The namespace that stands for the world on an external network; see edge.ts. */
export const edgeNamespace = (dataDir: string, networkId: string): string =>
  `${namespacePrefix(dataDir)}edge-${safeId(networkId)}`

/** What the cable of the edge is named after, as that of a router after its port. */
export const edgePortId = (networkId: string): string => `edge-${networkId}`

export const edgeMac = (networkId: string): string =>
  `fa:17:${(digest(edgePortId(networkId)).slice(0, 8).match(/../g) ?? []).join(':')}`

/** What every device begins with that a data directory puts into the machine's own namespace. */
export const uplinkPrefix = (dataDir: string): string => `nv${namespacePrefix(dataDir).slice(3, 9)}`

/** The device in the machine's own namespace that leads to an external network. */
export const uplinkName = (dataDir: string, networkId: string): string =>
  uplinkPrefix(dataDir) + digest(networkId).slice(0, 7)
