/**
 * Where an external network ends on this machine: a namespace that stands for the world, at the address that routers
 * send everything to which they know nothing nearer for.
 *
 *   router ─┐
 *   router ─┼─ external network ─ edge (the subnets' gateway addresses) ─ uplink nat, or nothing
 *
 * Without an uplink it answers pings and leads nowhere, but a command can be run in it as if it stood outside
 * (`novella edge`). With `bridge=NAME` the gateway is the world's own, and there is no edge.
 * It is there as long as a router has a gateway on the network.
 */
import type { Logger } from 'pino'
import type { NetworkPlan } from '../host-driver.ts'
import { formatAddress, parseAddress, parseNetwork } from './router-addresses.ts'
import type { RouterDesign } from './router-design.ts'
import type { RouterEnds } from './router-ends.ts'
import { edgeMac, edgeNamespace, edgePortId, endName, interfaceName } from './router-names.ts'
import { type Change, RouterNamespace } from './router-namespace.ts'
import { ROUTER_TABLE } from './router-rules.ts'
import { runTool } from './run-tool.ts'
import { UPLINK_DEVICE, type Uplink } from './uplink.ts'

export interface EdgeParts {
  dataDir: string
  networks: RouterEnds
  uplink: Uplink
  log: Logger
}

export class Edge {
  readonly #parts: EdgeParts
  readonly #networkId: string
  readonly #namespace: RouterNamespace
  /** The plan that was last made so, as JSON. */
  #settled: string | undefined

  constructor(networkId: string, parts: EdgeParts) {
    this.#parts = parts
    this.#networkId = networkId
    this.#namespace = new RouterNamespace(edgeNamespace(parts.dataDir, networkId), parts.networks, parts.log)
  }

  get namespace(): string {
    return this.#namespace.name
  }

  /** Makes it so unless it was asked for just this before; what happened to it since is for `settle`. */
  async ensure(network: NetworkPlan): Promise<void> {
    const wanted = JSON.stringify(network)
    if (this.#settled === wanted) return
    this.#settled = undefined
    await this.settle(network)
    this.#settled = wanted
  }

  /** Looks, and makes it so. @returns what was not so. */
  async settle(network: NetworkPlan): Promise<Change[]> {
    const { uplink } = this.#parts
    if (uplink.kind === 'bridge') {
      // Of a run with another uplink.
      if (this.#settled === undefined) await this.#removeNamespace()
      return (await uplink.ensureBridged(network)) ? ['uplink'] : []
    }
    const design = designEdge(network)
    if (uplink.kind !== 'nat') return await this.#namespace.settle(design, buildEdgeRules(design))
    await this.#namespace.prepare()
    const { via, isChanged } = await uplink.ensureRouted(network, this.namespace)
    design.routes.push({ family: 4, to: 'default', via })
    const changes = await this.#namespace.settle(design, buildEdgeRules(design))
    return isChanged ? ['uplink', ...changes] : changes
  }

  /** Forgets which router had an address: its new one must be asked for. */
  async forgetNeighbours(addresses: readonly string[]): Promise<void> {
    const device = interfaceName(edgePortId(this.#networkId))
    const commands = addresses.map((address) => `neigh del ${address} dev ${device}\n`).join('')
    // There may be no edge, or no such neighbours: with -force all are tried.
    await runTool('ip', ['-n', this.namespace, '-force', '-batch', '-'], commands).catch(() => {})
  }

  /** Everything of it, and its uplink. Accepts that there is nothing. */
  async remove(): Promise<void> {
    await this.#parts.uplink.remove(this.#networkId)
    await this.#removeNamespace()
    await this.#parts.networks.detachRouterEnd(this.#networkId, endName(`uplink-${this.#networkId}`))
  }

  async #removeNamespace(): Promise<void> {
    await this.#namespace.remove()
    await this.#parts.networks.detachRouterEnd(this.#networkId, endName(edgePortId(this.#networkId)))
  }
}

/** The edge as a router with one device; the route to the machine comes with the uplink. */
export function designEdge(network: NetworkPlan): RouterDesign {
  const portId = edgePortId(network.networkId)
  return {
    isUp: network.isUp,
    devices: [
      {
        portId,
        name: interfaceName(portId),
        endName: endName(portId),
        isGateway: false,
        mac: edgeMac(network.networkId),
        mtu: network.mtu,
        addresses: network.subnets.flatMap(({ gatewayIp, cidr }) =>
          gatewayIp === null ? [] : [`${formatAddress(parseAddress(gatewayIp))}/${parseNetwork(cidr).bits}`],
        ),
        network,
      },
    ],
    routes: [],
    gateway: undefined,
    floating: [],
    forwardings: [],
  }
}

/** Between the external network and the uplink everything passes; into the edge itself only pings, and answers. */
export function buildEdgeRules({ devices }: RouterDesign): string {
  const inner = devices.map(({ name }) => `"${name}"`).join(', ')
  return [
    `table ${ROUTER_TABLE}`,
    `delete table ${ROUTER_TABLE}`,
    `table ${ROUTER_TABLE} {`,
    '  chain forward {',
    '    type filter hook forward priority 0; policy drop;',
    `    iifname { ${inner} } oifname "${UPLINK_DEVICE}" accept`,
    `    iifname "${UPLINK_DEVICE}" oifname { ${inner} } accept`,
    '  }',
    '  chain input {',
    '    type filter hook input priority 0; policy drop;',
    '    iifname "lo" accept',
    '    ct state established,related accept',
    '    meta l4proto { icmp, ipv6-icmp } accept',
    '  }',
    '}',
    '',
  ].join('\n')
}
