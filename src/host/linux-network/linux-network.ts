/**
 * The networks of one host, made of the kernel's own parts: a namespace a network (guest-network.ts), filters by nft
 * (nft-rules.ts), DHCP by dnsmasq (dhcp-config.ts) and metadata by this process (metadata-listener.ts).
 *
 * Namespaces, taps and dnsmasq outlive this process. Only what carries the prefix of our data directory is touched,
 * and the machine's own namespace never.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { NetworkPlan, PortPlan, RouterPlan, SecurityGroupPlan, ServerCard } from '../host-driver.ts'
import type { HostNetwork } from '../qemu/host-network.ts'
import { pickDnsmasqUser, readArguments } from './dnsmasq.ts'
import { GuestNetwork } from './guest-network.ts'
import type { HeldNetwork } from './held-network.ts'
import type { TapUser } from './link-plan.ts'
import { checkMachine } from './machine-check.ts'
import type { AnswerMetadata } from './metadata-server.ts'
import { namespaceName, namespacePrefix, tapName } from './names.ts'
import { listNamespaces, readProcesses, removeNamespace } from './namespace.ts'
import { NetworkState } from './network-state.ts'
import type { RouterEnds } from './router-ends.ts'
import { Routers } from './routers.ts'

export interface LinuxNetworkOptions {
  /** Absolute; holds `networks/`. */
  dataDir: string
  /** As whom QEMU runs: the owner of the taps. */
  tapUser: TapUser
  /** Answers the questions of guests; a rejection becomes a 500 that says nothing. */
  answerMetadata: AnswerMetadata
  /** The setting of that name; `none` when left out. */
  uplink?: string
  /** The namespace in the machine's place, for the uplink; the machine itself when left out. */
  outer?: string
  log: Logger
  /** How often each network is looked at, in milliseconds; 30 seconds when left out. */
  careEveryMs?: number
}

const CARE_EVERY_MS = 30_000

/** How many networks are found again at once at a start: each takes a few processes for a moment. */
const RESUMED_AT_ONCE = 4

export class LinuxNetwork implements HostNetwork, RouterEnds {
  readonly #options: LinuxNetworkOptions
  readonly #state: NetworkState
  readonly #networks = new Map<string, GuestNetwork>()
  /** In which network each port is: port → network id. */
  readonly #placed = new Map<string, string>()
  readonly #routers: Routers
  readonly #listeners = new Set<(card: ServerCard) => void>()
  readonly #closing = new AbortController()
  #care: Promise<void> | undefined
  #dhcpUser = { name: 'nobody', group: 'nogroup' }

  constructor(options: LinuxNetworkOptions) {
    this.#options = options
    this.#state = new NetworkState(options.dataDir)
    const isNeeded = () => this.#placed.size > 0
    this.#routers = new Routers({ uplink: 'none', ...options, networks: this, isNeeded })
  }

  async start(): Promise<void> {
    await checkMachine()
    const networkIds = await this.#state.listNetworks()
    this.#dhcpUser = await pickDnsmasqUser(this.#state.directory)
    if (this.#dhcpUser.name === 'root') {
      this.#options.log.warn(
        { directory: this.#state.directory },
        'DHCP runs as root: other users cannot reach its files (chmod a+x each directory above them)',
      )
    }
    const waiting = networkIds.values() // shared by the workers below
    const resumeWaiting = async () => {
      for (const networkId of waiting) await this.#resume(networkId)
    }
    await Promise.all(Array.from({ length: RESUMED_AT_ONCE }, resumeWaiting))
    await this.#routers.start(this.#dhcpUser)
    await this.#removeStrays()
    this.#care = this.#careForNetworks()
  }

  async ensurePort(port: PortPlan): Promise<void> {
    const { networkId } = port.network
    const placed = this.#placed.get(port.portId)
    if (placed !== undefined && placed !== networkId) await this.removePort(port.portId)
    const isFirst = this.#placed.size === 0
    this.#placed.set(port.portId, networkId)
    await this.#network(networkId).ensurePort(port)
    if (isFirst) await this.#routers.settle()
  }

  async removePort(portId: string): Promise<void> {
    const networkId = this.#placed.get(portId)
    if (networkId === undefined) return
    await this.#network(networkId).removePort(portId)
    this.#placed.delete(portId)
    if (this.#placed.size === 0) await this.#routers.settle()
  }

  async ensureNetwork(network: NetworkPlan): Promise<void> {
    await this.#networks.get(network.networkId)?.ensureNetwork(network)
    await this.#routers.ensureNetwork(network)
  }

  async ensureSecurityGroup(group: SecurityGroupPlan): Promise<void> {
    await Promise.all([...this.#networks.values()].map((network) => network.ensureSecurityGroup(group)))
  }

  async attachRouterEnd(network: NetworkPlan, endName: string): Promise<{ namespace: string; isThere: boolean }> {
    const guests = this.#network(network.networkId)
    const isThere = await guests.attachRouterEnd(network, endName)
    return { namespace: guests.namespace, isThere }
  }

  async detachRouterEnd(networkId: string, endName: string): Promise<void> {
    await this.#networks.get(networkId)?.detachRouterEnd(endName)
  }

  async ensureRouter(router: RouterPlan): Promise<void> {
    await this.#routers.ensure(router)
  }

  async removeRouter(routerId: string): Promise<void> {
    await this.#routers.remove(routerId)
  }

  async readNetworking(): Promise<{ portIds: string[]; routerIds: string[] }> {
    return { portIds: [...this.#placed.keys()], routerIds: this.#routers.routerIds }
  }

  onTapRemade(listener: (card: ServerCard) => void): void {
    this.#listeners.add(listener)
  }

  async findTap(portId: string): Promise<{ namespace: string; tapName: string } | undefined> {
    const networkId = this.#placed.get(portId)
    if (networkId === undefined) return undefined
    const network = this.#network(networkId)
    return (await network.hasTap(portId)) ? { namespace: network.namespace, tapName: tapName(portId) } : undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    await this.#care
    await Promise.all([...this.#networks.values()].map((network) => network[Symbol.asyncDispose]()))
  }

  #network(networkId: string, held?: HeldNetwork): GuestNetwork {
    const known = this.#networks.get(networkId)
    if (known) return known
    const { dataDir, tapUser, answerMetadata, log } = this.#options
    const onTapRemade = (card: ServerCard) => {
      for (const listener of this.#listeners) listener(card)
    }
    const served = { tapUser, dhcpUser: this.#dhcpUser, answerMetadata, onTapRemade }
    const parts = { networkId, state: this.#state, ...served, log }
    const network = new GuestNetwork({ ...parts, namespace: namespaceName(dataDir, networkId) }, held)
    this.#networks.set(networkId, network)
    return network
  }

  /** One network that cannot be resumed must not keep the others, and the host, from starting. */
  async #resume(networkId: string): Promise<void> {
    const { log } = this.#options
    try {
      const held = await this.#state.read(networkId)
      const damaged = [...held.damaged]
      if (damaged.length > 0) log.warn({ networkId, damaged }, 'Port plans that cannot be read were left out')
      for (const portId of [...held.ports.keys(), ...damaged]) this.#placed.set(portId, networkId)
      await this.#network(networkId, held).resume()
    } catch (error) {
      log.error({ err: error, networkId }, 'A network could not be resumed; the next port asked for mends it')
    }
  }

  /** Until we are disposed, looks now and then after what may die between two verbs. */
  async #careForNetworks(): Promise<void> {
    const { log, careEveryMs = CARE_EVERY_MS } = this.#options
    const { signal } = this.#closing
    while (await delay(careEveryMs, true, { signal, ref: false }).catch(() => false)) {
      for (const [networkId, network] of this.#networks) {
        if (signal.aborted) return
        await network.care().catch((error: unknown) => {
          log.error({ err: error, networkId }, 'A network could not be looked after')
        })
      }
      await this.#routers.care(signal)
    }
  }

  /** Namespaces of ours that no directory names. One with a foreign process in it, a guest perhaps, is left alone. */
  async #removeStrays(): Promise<void> {
    const { dataDir, log } = this.#options
    const networks = (await this.#state.listNetworks()).map((networkId) => namespaceName(dataDir, networkId))
    const known = new Set([...networks, ...this.#routers.namespaces])
    for (const name of await listNamespaces(namespacePrefix(dataDir))) {
      if (known.has(name)) continue
      const processes = await Promise.all(
        (await readProcesses(name)).map(async (pid) => ({ pid, isOurs: await this.#isOurDnsmasq(pid) })),
      )
      if (processes.some(({ isOurs }) => !isOurs)) {
        log.warn(
          { namespace: name, processes },
          'A namespace that no network or router names is in use and was left alone',
        )
        continue
      }
      for (const { pid } of processes) process.kill(pid, 'SIGTERM')
      await removeNamespace(name)
      log.info({ namespace: name }, 'Removed a namespace that no network or router names')
    }
  }

  async #isOurDnsmasq(pid: number): Promise<boolean> {
    const args = (await readArguments(pid)) ?? []
    return (
      args.some((arg) => arg.startsWith(`--pid-file=${this.#state.directory}/`)) || this.#routers.isOurDnsmasq(args)
    )
  }
}
