/**
 * All routers of one host, and the edges of the external networks they have gateways on. Routers outlive this process
 * as networks do, and are found again by the plans on disk (router-state.ts).
 *
 * While no card is on the host nobody could use them: they rest, as plans on disk, and so do edges and uplink. A machine
 * without servers has nothing of ours in its kernel.
 */
import type { Logger } from 'pino'
import type { NetworkPlan, RouterPlan } from '../host-driver.ts'
import { Edge } from './edge.ts'
import { namespaceName } from './names.ts'
import { Router } from './router.ts'
import type { RouterEnds } from './router-ends.ts'
import { edgeNamespace } from './router-names.ts'
import { type HeldRouter, RouterState } from './router-state.ts'
import { Uplink } from './uplink.ts'
import { readUplink } from './uplink-setting.ts'

export interface RoutersOptions {
  /** Absolute; holds `routers/`. */
  dataDir: string
  /** The setting of that name. */
  uplink: string
  /** The namespace in the machine's place, for the uplink; undefined for the machine itself. */
  outer?: string | undefined
  networks: RouterEnds
  /** Whether a card is on this host. When that changes, `settle` is called. */
  isNeeded: () => boolean
  log: Logger
}

/** How many routers are found again at once at a start: each takes a few processes for a moment. */
const MENDED_AT_ONCE = 4

export class Routers {
  readonly #options: RoutersOptions
  readonly #state: RouterState
  readonly #uplink: Uplink
  readonly #routers = new Map<string, Router>()
  readonly #edges = new Map<string, Edge>()
  /** External networks as they were last asked for: routers that were asked for before may have them otherwise. */
  readonly #newest = new Map<string, NetworkPlan>()
  #dhcpUser = { name: 'nobody', group: 'nogroup' }
  /** Edges belong to several routers. */
  #lastEdge: Promise<unknown> = Promise.resolve()

  constructor(options: RoutersOptions) {
    const { dataDir, uplink, networks, outer, log } = options
    this.#options = options
    this.#state = new RouterState(dataDir)
    this.#uplink = new Uplink({ dataDir, setting: readUplink(uplink), networks, outer, log })
  }

  /**
   * Finds again what earlier runs left and mends it; one router that cannot be mended does not keep the others from it.
   * Networks must have been found again before.
   * @param dhcpUser as whom dnsmasq runs.
   * @throws HostError `missing` when the machine lacks what the uplink needs.
   */
  async start(dhcpUser: { name: string; group: string }): Promise<void> {
    const { log } = this.#options
    this.#dhcpUser = dhcpUser
    await this.#uplink.check()
    for (const routerId of await this.#state.list()) {
      const held = await this.#state.read(routerId).catch((error: unknown) => {
        log.warn({ err: error, routerId }, 'The plan of a router cannot be read; the next asking writes it again')
        return undefined
      })
      this.#router(routerId, held)
    }
    await this.#uplink.removeOthers([...this.#externals().keys()])
    // Known, the edges of an earlier run go if they are not needed any more.
    for (const networkId of this.#allExternals().keys()) this.#edge(networkId)
    await this.settle()
  }

  /** Brings all routers and edges up, or lets all of them rest. */
  async settle(): Promise<void> {
    const { log } = this.#options
    const waiting = this.#routers.entries() // shared by the workers below
    const mendWaiting = async () => {
      for (const [routerId, router] of waiting) {
        await router.mend().catch((error: unknown) => {
          log.error({ err: error, routerId }, 'A router could not be resumed; the next asking for it mends it')
        })
      }
    }
    await Promise.all(Array.from({ length: MENDED_AT_ONCE }, mendWaiting))
    await this.#alone(() => this.#settleEdges()).catch((error: unknown) => {
      log.error({ err: error }, 'The edge could not be resumed; the next asking for a router mends it')
    })
  }

  /** Ids of all routers, in no order. */
  get routerIds(): string[] {
    return [...this.#routers.keys()]
  }

  /** Names of all namespaces that are ours. */
  get namespaces(): string[] {
    return [...this.#routers.values(), ...this.#edges.values()].map(({ namespace }) => namespace)
  }

  /** Whether a dnsmasq of these arguments is a router's. */
  isOurDnsmasq(args: readonly string[]): boolean {
    return args.some((arg) => arg.startsWith(`--pid-file=${this.#state.directory}/`))
  }

  async ensure(plan: RouterPlan): Promise<void> {
    const router = this.#router(plan.routerId)
    const before = outsideAddresses(router.plan)
    if (plan.gateway) this.#newest.set(plan.gateway.network.networkId, plan.gateway.network)
    await router.ensure(plan)
    const after = outsideAddresses(plan)
    await this.#alone(() => this.#settleEdges())
    await this.#passOn(
      plan.routerId,
      before.filter((address) => !after.includes(address)),
    )
  }

  async remove(routerId: string): Promise<void> {
    const router = this.#router(routerId)
    const before = outsideAddresses(router.plan)
    await router.remove()
    if (!router.plan) this.#routers.delete(routerId) // else asked for anew meanwhile
    await this.#alone(() => this.#settleEdges())
    await this.#passOn(routerId, before)
  }

  /** What changed of an external network that a router has a gateway on; others come with their routers' plans. */
  async ensureNetwork(network: NetworkPlan): Promise<void> {
    for (const router of this.#routers.values()) {
      const plan = router.plan && withNetwork(router.plan, network)
      if (plan) await router.ensure(plan)
    }
    if (!this.#allExternals().has(network.networkId)) return
    this.#newest.set(network.networkId, network)
    await this.#alone(() => this.#settleEdges())
  }

  /**
   * Puts right what was changed by hand, with one line in the log for each.
   * @param signal ends it between two routers.
   */
  async care(signal: AbortSignal): Promise<void> {
    const { log } = this.#options
    for (const [routerId, router] of this.#routers) {
      if (signal.aborted) return
      const { namespace } = router
      try {
        const changes = await router.mend()
        if (changes.length > 0)
          log.warn({ routerId, namespace, changes }, 'A router had been changed by hand; mended it')
      } catch (error) {
        log.error({ err: error, routerId }, 'A router could not be looked after')
      }
    }
    await this.#alone(async () => {
      for (const [networkId, network] of this.#externals()) {
        const changes = await this.#edge(networkId).settle(network)
        if (changes.length > 0) log.warn({ networkId, changes }, 'An edge had been changed by hand; mended it')
      }
    }).catch((error: unknown) => log.error({ err: error }, 'An edge could not be looked after'))
  }

  /** Somebody else may have an address now that a router gave up: neighbours are told, and the edge forgets. */
  async #passOn(routerId: string, addresses: readonly string[]): Promise<void> {
    if (addresses.length === 0) return
    for (const edge of this.#edges.values()) await edge.forgetNeighbours(addresses)
    for (const [otherId, other] of this.#routers) {
      if (otherId !== routerId && outsideAddresses(other.plan).some((one) => addresses.includes(one))) {
        await other.announce()
      }
    }
  }

  /** Makes the edges that routers have gateways on, and takes away the others. */
  async #settleEdges(): Promise<void> {
    const externals = this.#externals()
    for (const [networkId, network] of externals) await this.#edge(networkId).ensure(network)
    for (const [networkId, edge] of this.#edges) {
      if (externals.has(networkId)) continue
      await edge.remove()
      this.#edges.delete(networkId)
    }
  }

  /** The external networks that must have an edge now. */
  #externals(): Map<string, NetworkPlan> {
    return this.#options.isNeeded() ? this.#allExternals() : new Map()
  }

  /** The external networks that routers have gateways on. */
  #allExternals(): Map<string, NetworkPlan> {
    const networks = [...this.#routers.values()].flatMap(({ plan }) => (plan?.gateway ? [plan.gateway.network] : []))
    return new Map(networks.map((network) => [network.networkId, this.#newest.get(network.networkId) ?? network]))
  }

  #edge(networkId: string): Edge {
    const known = this.#edges.get(networkId)
    if (known) return known
    const { dataDir, networks, log } = this.#options
    const edge = new Edge(networkId, { dataDir, networks, uplink: this.#uplink, log })
    this.#edges.set(networkId, edge)
    return edge
  }

  #router(routerId: string, held?: HeldRouter): Router {
    const known = this.#routers.get(routerId)
    if (known) return known
    const { dataDir, networks, isNeeded, log } = this.#options
    const namespace = namespaceName(dataDir, routerId)
    const parts = { routerId, namespace, networks, state: this.#state, dhcpUser: this.#dhcpUser, isNeeded, log }
    const router = new Router(parts, held)
    this.#routers.set(routerId, router)
    return router
  }

  #alone<T>(change: () => Promise<T>): Promise<T> {
    const result = this.#lastEdge.then(change)
    this.#lastEdge = result.catch(() => {})
    return result
  }
}

/** Addresses by which the outside knows a router; as in the plan. */
function outsideAddresses(plan: RouterPlan | undefined): string[] {
  if (!plan?.gateway) return []
  return [
    ...plan.gateway.addresses.map(({ ipAddress }) => ipAddress),
    ...plan.floatingIps.map(({ ipAddress }) => ipAddress),
    ...plan.portForwardings.flatMap(({ outsideAddress }) => outsideAddress ?? []),
  ]
}

/** The plan with a network as it is now; undefined when it is on none such, or nothing differs. */
function withNetwork(plan: RouterPlan, network: NetworkPlan): RouterPlan | undefined {
  const renew = <Port extends { network: NetworkPlan }>(port: Port): Port =>
    port.network.networkId === network.networkId ? { ...port, network } : port
  const renewed = { ...plan, interfaces: plan.interfaces.map(renew), gateway: plan.gateway && renew(plan.gateway) }
  return JSON.stringify(renewed) === JSON.stringify(plan) ? undefined : renewed
}

/** Namespaces of all edges that stand for the external networks of these routers. */
export async function readEdges(dataDir: string): Promise<{ networkId: string; namespace: string }[]> {
  const state = new RouterState(dataDir)
  const found = new Map<string, string>()
  for (const routerId of await state.list()) {
    const held = await state.read(routerId).catch(() => undefined)
    const networkId = held?.plan.gateway?.network.networkId
    if (networkId !== undefined) found.set(networkId, edgeNamespace(dataDir, networkId))
  }
  return [...found].map(([networkId, namespace]) => ({ networkId, namespace }))
}
