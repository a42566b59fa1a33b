/**
 * One tenant network on this host, in a namespace of its own:
 *
 *   tap ─┐
 *   tap ─┼─ br0 (DHCP address, 169.254.169.254) ── dnsmasq, metadata listener
 *   tap ─┘
 *
 * Each asking looks at the namespace and changes what differs, so that damage done by hand or by a crash is mended
 * on the way. One change of a network at a time.
 */
import type { Logger } from 'pino'
import type { NetworkPlan, PortPlan } from '../host-driver.ts'
import { type DhcpConfig, type DhcpFiles, dhcpFiles, planDhcp } from './dhcp-config.ts'
import { ensureDnsmasq, findDnsmasq, stopDnsmasq } from './dnsmasq.ts'
import { buildFlowLimit } from './flow-limit.ts'
import { type ObservedLink, planLinks, type TapUser } from './link-plan.ts'
import { MetadataListener } from './metadata-listener.ts'
import type { AnswerMetadata } from './metadata-server.ts'
import { tapName } from './names.ts'
import {
  addNamespace,
  applyFilters,
  applySettings,
  changeLinks,
  hasFilters,
  readNamespace,
  removeNamespace,
} from './namespace.ts'
import type { NetworkState } from './network-state.ts'
import { buildNftScript } from './nft-rules.ts'

export interface GuestNetworkParts {
  networkId: string
  namespace: string
  state: NetworkState
  tapUser: TapUser
  dhcpUser: { name: string; group: string }
  answerMetadata: AnswerMetadata
  log: Logger
}

/** What a directory of plans says: plans, and ids of ports without a readable one. */
export interface HeldPorts {
  ports: readonly PortPlan[]
  damaged: readonly string[]
}

/** A namespace as this process last left it; `inode` tells it from a later one of the same name. */
interface Prepared {
  inode: number
  filters?: string
  isLimited?: boolean
  links?: ObservedLink[]
}

interface Design {
  filters: string
  dhcp: DhcpConfig | undefined
  linkChanges: (observed: readonly ObservedLink[]) => string[]
}

export class GuestNetwork implements AsyncDisposable {
  readonly #parts: GuestNetworkParts
  readonly #files: DhcpFiles
  readonly #ports = new Map<string, PortPlan>()
  /** Ports that an earlier run held, but whose plan cannot be read: their taps are left alone, as guests may use them. */
  readonly #damaged: Set<string>
  #plan: NetworkPlan | undefined
  #prepared: Prepared | undefined
  #listener: MetadataListener | undefined
  #last: Promise<unknown> = Promise.resolve()

  /** @param held what earlier runs were asked to hold, the newest at the end, and what cannot be read of it. */
  constructor(parts: GuestNetworkParts, { ports, damaged }: HeldPorts = { ports: [], damaged: [] }) {
    this.#parts = parts
    this.#damaged = new Set(damaged)
    this.#files = dhcpFiles(parts.state.networkDirectory(parts.networkId))
    for (const port of ports) this.#ports.set(port.portId, port)
    this.#plan = ports.at(-1)?.network
  }

  get namespace(): string {
    return this.#parts.namespace
  }

  ensurePort(port: PortPlan): Promise<void> {
    return this.#alone(async () => {
      const known = this.#ports.get(port.portId)
      const wanted = this.#design(port.network, [...new Map(this.#ports).set(port.portId, port).values()])
      if (JSON.stringify(known) !== JSON.stringify(port)) await this.#parts.state.writePort(port)
      this.#damaged.delete(port.portId)
      this.#ports.set(port.portId, port)
      this.#plan = port.network
      await this.#settle(wanted)
    })
  }

  /** With the last port everything of the network goes: its services, its namespace, its directory. */
  removePort(portId: string): Promise<void> {
    return this.#alone(async () => {
      const { state, networkId } = this.#parts
      const others = [...this.#ports.values()].filter((port) => port.portId !== portId)
      this.#damaged.delete(portId)
      if (others.length + this.#damaged.size === 0) await this.#tearDown()
      else {
        if (this.#plan && (await this.#isThere())) await this.#settle(this.#design(this.#plan, others))
        await state.removePort(networkId, portId)
      }
      this.#ports.delete(portId)
    })
  }

  /**
   * After a start of this process: opens the listener and mends DHCP where the namespace still stands, finishes a
   * removal that was broken off, and leaves the rest to the next `ensurePort`.
   */
  resume(): Promise<void> {
    return this.#alone(async () => {
      if (this.#ports.size + this.#damaged.size === 0) return await this.#tearDown()
      if (this.#plan && (await this.#isThere())) {
        await this.#settle(this.#design(this.#plan, [...this.#ports.values()]))
      }
    })
  }

  /** Starts the DHCP server anew when it died by itself. Costs reading two files when it did not. */
  care(): Promise<void> {
    return this.#alone(async () => {
      if (!this.#plan || (await findDnsmasq(this.#files)) || !(await this.#isThere())) return
      const wanted = this.#design(this.#plan, [...this.#ports.values()])
      if (!wanted.dhcp) return
      const { networkId, namespace, log } = this.#parts
      log.warn({ networkId, namespace }, 'The DHCP server of a network had ended; starting it anew')
      await this.#settle(wanted)
    })
  }

  /** Whether the tap of a port is there. */
  async hasTap(portId: string): Promise<boolean> {
    if (!(await this.#isThere())) return false
    const links = await changeLinks(this.namespace, [])
    return links.some(({ ifname }) => ifname === tapName(portId))
  }

  /** Closes the listener; everything else goes on without us. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#alone(() => this.#closeListener())
  }

  /**
   * Everything the network should be, worked out before anything is written or touched.
   * @throws Error when a plan carries a value that is none.
   */
  #design(plan: NetworkPlan, ports: PortPlan[]): Design {
    const { tapUser, dhcpUser } = this.#parts
    return {
      filters: buildNftScript(plan, ports),
      dhcp: planDhcp(plan, ports, this.#files, dhcpUser),
      linkChanges: (observed) => {
        const unread = new Set([...this.#damaged].map(tapName))
        return planLinks(
          plan,
          ports,
          observed.filter(({ ifname }) => !unread.has(ifname)),
          tapUser,
        )
      },
    }
  }

  async #settle({ filters, dhcp, linkChanges }: Design): Promise<void> {
    const { networkId, namespace, answerMetadata, log } = this.#parts
    const prepared = await this.#prepare()
    // Before there are filters a tap would pass everything; once there are, one they do not know passes nothing.
    await this.#applyFilters(prepared, filters)
    await this.#changeLinks(prepared, linkChanges)
    await Promise.all([
      dhcp ? ensureDnsmasq({ name: namespace, inode: prepared.inode }, dhcp, this.#files) : stopDnsmasq(this.#files),
      this.#openListener(() => MetadataListener.open(namespace, networkId, answerMetadata, log)),
    ])
  }

  async #isThere(): Promise<boolean> {
    return (await readNamespace(this.namespace)) !== undefined
  }

  /** The namespace, made if it is gone; what was known of one before it is forgotten. */
  async #prepare(): Promise<Prepared> {
    const { namespace, networkId, log } = this.#parts
    let inode = await readNamespace(namespace)
    if (inode !== undefined && inode === this.#prepared?.inode) return this.#prepared
    await this.#closeListener()
    if (inode === undefined) {
      await addNamespace(namespace)
      log.info({ networkId, namespace }, 'Made the namespace of a network')
      inode = await readNamespace(namespace)
    }
    if (inode === undefined) throw new Error(`The namespace ${namespace} vanished`)
    await applySettings(namespace)
    this.#prepared = { inode }
    return this.#prepared
  }

  /**
   * Makes the devices as they should be. Goes by what was last seen, which saves looking first, and looks at once what
   * came of it: when the namespace was changed by hand meanwhile, that goes wrong or leaves something to do, and the
   * second round knows better.
   */
  async #changeLinks(prepared: Prepared, plan: Design['linkChanges']): Promise<void> {
    const { namespace } = this.#parts
    const expected = prepared.links ? plan(prepared.links) : []
    delete prepared.links
    const seen = await changeLinks(namespace, expected).catch(() => changeLinks(namespace, []))
    const missing = plan(seen)
    prepared.links = missing.length > 0 ? await changeLinks(namespace, missing) : seen
  }

  async #applyFilters(prepared: Prepared, filters: string): Promise<void> {
    const { namespace } = this.#parts
    // Whoever reloads the machine's own rules inside a namespace flushes ours with them.
    if (prepared.filters === filters && (await hasFilters(namespace))) return
    if (prepared.filters === filters) delete prepared.isLimited
    delete prepared.filters
    await applyFilters(namespace, filters)
    prepared.filters = filters
    await this.#limitFlows(prepared)
  }

  /** A kernel that cannot count connections (nft_connlimit) serves networks without a limit. */
  async #limitFlows(prepared: Prepared): Promise<void> {
    const { networkId, namespace, log } = this.#parts
    if (prepared.isLimited) return
    await applyFilters(namespace, buildFlowLimit()).catch((error: unknown) => {
      log.warn({ err: error, networkId }, 'One guest may use up the connection tracking of its network')
    })
    prepared.isLimited = true
  }

  async #openListener(open: () => Promise<MetadataListener>): Promise<void> {
    this.#listener ??= await open()
  }

  async #closeListener(): Promise<void> {
    await this.#listener?.[Symbol.asyncDispose]()
    this.#listener = undefined
  }

  async #tearDown(): Promise<void> {
    const { networkId, namespace, state, log } = this.#parts
    await Promise.all([stopDnsmasq(this.#files), this.#closeListener()])
    await removeNamespace(namespace)
    this.#prepared = undefined
    await state.removeNetwork(networkId)
    log.info({ networkId, namespace }, 'Removed a network with its last port')
  }

  #alone<T>(change: () => Promise<T>): Promise<T> {
    const result = this.#last.then(change)
    this.#last = result.catch(() => {})
    return result
  }
}
