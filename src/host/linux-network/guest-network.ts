/**
 * One tenant network on this host, in a namespace of its own:
 *
 *   tap ─┐
 *   tap ─┼─ br0 (DHCP addresses, 169.254.169.254) ── dnsmasq, metadata listener
 *   vr… ─┘
 *
 * Each asking looks at the namespace and changes what differs, so that damage done by hand or by a crash is mended
 * on the way. One change of a network at a time. An external network is a bridge and nothing else.
 */
import type { Logger } from 'pino'
import type { NetworkPlan, PortPlan, SecurityGroupPlan, ServerCard } from '../host-driver.ts'
import { type DhcpFiles, dhcpFiles } from './dhcp-config.ts'
import { ensureDnsmasq, findDnsmasq, stopDnsmasq } from './dnsmasq.ts'
import { findFilterDrift, hasFilters, hasFlowLimit, readFilters } from './filters.ts'
import { buildFlowLimit } from './flow-limit.ts'
import {
  type HeldNetwork,
  hasGroup,
  isEmpty,
  NOTHING_HELD,
  withEnd,
  withGroup,
  withNetwork,
  withoutEnd,
  withoutPort,
  withPort,
} from './held-network.ts'
import type { ObservedLink, TapUser } from './link-plan.ts'
import { MadeTaps } from './made-taps.ts'
import { MetadataListener } from './metadata-listener.ts'
import type { AnswerMetadata } from './metadata-server.ts'
import { tapName } from './names.ts'
import { applyFilters, applySettings, changeLinks, findSettingDrift, setBridgeIpv6 } from './namespace.ts'
import { NamespaceHold } from './namespace-hold.ts'
import { bridgeOf, designNetwork, type NetworkDesign, type Prepared } from './network-design.ts'
import type { NetworkState } from './network-state.ts'
import { speaksIpv6 } from './nft-rules.ts'
import { changeScript, type Ruleset, replaceScript } from './ruleset.ts'

export interface GuestNetworkParts {
  networkId: string
  namespace: string
  state: NetworkState
  tapUser: TapUser
  dhcpUser: { name: string; group: string }
  answerMetadata: AnswerMetadata
  /** Called with a card whose tap had gone and was made anew: a guest that runs holds the old one, which is dead. */
  onTapRemade: (card: ServerCard) => void
  log: Logger
}

/** What is logged once a network that was found wrong is mended. */
export const MENDED = 'The network is as it should be again'
/** What is found where the namespace has lost its name. */
const GONE = 'namespace gone'

export class GuestNetwork implements AsyncDisposable {
  readonly #parts: GuestNetworkParts
  readonly #files: DhcpFiles
  readonly #hold: NamespaceHold
  #held: HeldNetwork
  #prepared: Prepared | undefined
  #listener: MetadataListener | undefined
  readonly #madeTaps = new MadeTaps()
  #last: Promise<unknown> = Promise.resolve()

  /** @param held what earlier runs were asked to hold. */
  constructor(parts: GuestNetworkParts, held: HeldNetwork = NOTHING_HELD) {
    this.#parts = parts
    this.#held = held
    this.#files = dhcpFiles(parts.state.networkDirectory(parts.networkId))
    this.#hold = new NamespaceHold(parts.namespace)
  }

  get namespace(): string {
    return this.#parts.namespace
  }

  /** Whether anything is held here, also what cannot be read. */
  get isHeld(): boolean {
    return !isEmpty(this.#held)
  }

  ensurePort(port: PortPlan): Promise<void> {
    return this.#alone(() => this.#make(withPort(this.#held, port)))
  }

  /** With the last port and the last router's end everything goes: services, namespace, directory. */
  removePort(portId: string): Promise<void> {
    return this.#alone(() => this.#unmake(withoutPort(this.#held, portId)))
  }

  ensureNetwork(network: NetworkPlan): Promise<void> {
    return this.#alone(async () => {
      if (this.isHeld) await this.#make(withNetwork(this.#held, network))
    })
  }

  ensureSecurityGroup(group: SecurityGroupPlan): Promise<void> {
    return this.#alone(async () => {
      if (!hasGroup(this.#held, group.groupId)) return
      await this.#make(withGroup(this.#held, group), (wanted) => this.#settleFilters(wanted))
    })
  }

  /** Answers whether the end's device is there, and so on the bridge. */
  attachRouterEnd(network: NetworkPlan, endName: string): Promise<boolean> {
    return this.#alone(async () => {
      await this.#make(withEnd(this.#held, network, endName))
      return this.#hasLink(endName)
    })
  }

  detachRouterEnd(endName: string): Promise<void> {
    return this.#alone(() => this.#unmake(withoutEnd(this.#held, endName)))
  }

  /**
   * After a start of this process: opens the listener and mends what differs where the namespace still stands,
   * finishes a removal that was broken off, and leaves the rest to the next verb, or to the care.
   */
  resume(): Promise<void> {
    return this.#alone(async () => {
      if (!this.isHeld) return await this.#tearDown()
      if (this.#held.network && (await this.#hold.read()) !== undefined) {
        await this.#settle(this.#design(this.#held.network, this.#held))
        this.#reportRemade(this.#held)
      }
    })
  }

  /** Looks whether the world is still as it should be, and mends it. Answers what was found, in a few words each. */
  care(): Promise<string[]> {
    return this.#alone(async () => {
      const { network } = this.#held
      if (!network || !this.isHeld) return []
      const wanted = this.#design(network, this.#held)
      const found = await this.#look(wanted)
      if (found.length === 0) return []
      const { networkId, namespace, log } = this.#parts
      log.warn({ networkId, namespace, found }, 'A network was not as it should be; mending it')
      // Nothing that was remembered of it counts; the listener stays, if the namespace does.
      if (this.#prepared) this.#prepared = { inode: this.#prepared.inode }
      await this.#settle(wanted)
      await applySettings(namespace)
      this.#reportRemade(this.#held)
      log.info({ networkId, namespace }, MENDED)
      return found
    })
  }

  /** Whether the tap of a port is there. */
  async hasTap(portId: string): Promise<boolean> {
    if ((await this.#hold.read()) === undefined) return false
    return await this.#hasLink(tapName(portId))
  }

  /** Closes the listener; everything else goes on without us. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#alone(async () => {
      await this.#closeListener()
      await this.#hold[Symbol.asyncDispose]()
    })
  }

  /** What comes is on disk before it is made. */
  async #make(next: HeldNetwork, settle = (wanted: NetworkDesign) => this.#settle(wanted)): Promise<void> {
    const { state, networkId } = this.#parts
    if (!next.network) throw new Error(`Nothing is known of network ${networkId}`)
    const before = this.#held
    const wanted = this.#design(next.network, next)
    await state.write(networkId, before, next)
    this.#held = next
    await settle(wanted)
    this.#reportRemade(before)
    await state.remove(networkId, before, next)
  }

  /** Tells of taps that were made though their ports were held before. */
  #reportRemade({ ports, network }: HeldNetwork): void {
    const { networkId, onTapRemade } = this.#parts
    for (const { portId, serverId, macAddress } of this.#madeTaps.takeOf(ports.values())) {
      if (network) onTapRemade({ portId, serverId, macAddress, networkId, mtu: network.mtu })
    }
  }

  /** What goes stays on disk until it is gone. */
  async #unmake(next: HeldNetwork): Promise<void> {
    const { state, networkId } = this.#parts
    if (isEmpty(next)) await this.#tearDown()
    else {
      const { network } = next
      if (network && (await this.#hold.read()) !== undefined) await this.#settle(this.#design(network, next))
      await state.remove(networkId, this.#held, next)
    }
    this.#held = isEmpty(next) ? NOTHING_HELD : next
  }

  #design(network: NetworkPlan, held: HeldNetwork): NetworkDesign {
    return designNetwork(network, held, { ...this.#parts, files: this.#files })
  }

  async #settle({ network, filters, dhcp, linkChanges }: NetworkDesign): Promise<void> {
    const { networkId, namespace, answerMetadata, log } = this.#parts
    const prepared = await this.#prepare()
    // Before there are filters a tap would pass everything; once there are, one they do not know passes nothing.
    await this.#applyFilters(prepared, filters)
    await this.#changeLinks(prepared, linkChanges)
    await this.#settleIpv6(prepared, network, linkChanges)
    await Promise.all([
      dhcp ? ensureDnsmasq({ name: namespace, inode: prepared.inode }, dhcp, this.#files) : stopDnsmasq(this.#files),
      network.isExternal
        ? this.#closeListener()
        : this.#openListener(() => MetadataListener.open(namespace, networkId, answerMetadata, log)),
    ])
  }

  /** The filters alone, where everything else was made by this process already. */
  async #settleFilters(wanted: NetworkDesign): Promise<void> {
    const prepared = this.#prepared
    if (!prepared?.links || prepared.inode !== (await this.#hold.read())) return await this.#settle(wanted)
    await this.#applyFilters(prepared, wanted.filters)
  }

  /** The namespace, made if it is gone; what was known of one before it is forgotten. */
  async #prepare(): Promise<Prepared> {
    const { namespace, networkId, log } = this.#parts
    const known = this.#prepared
    const { inode, came } = await this.#hold.ensure((args) => this.#isOurs(args))
    if (came !== 'stood') log.info({ networkId, namespace }, `The namespace of a network was ${came}`)
    if (inode === known?.inode) return known
    await this.#closeListener()
    await applySettings(namespace)
    this.#prepared = { inode }
    return this.#prepared
  }

  /** Whether a process with these arguments serves this network: its DHCP server, or a guest on one of its taps. */
  #isOurs(args: string[]): boolean {
    if (args.includes(`--pid-file=${this.#files.pid}`)) return true
    const taps = [...this.#held.ports.keys(), ...this.#held.damaged].map(tapName)
    return args.some((arg) => taps.some((tap) => arg.includes(tap)))
  }

  /**
   * Makes the devices as they should be. Goes by what was last seen, which saves looking first, and looks at once what
   * came of it: when the namespace was changed by hand meanwhile, that goes wrong or leaves something to do, and the
   * second round knows better.
   */
  async #changeLinks(prepared: Prepared, plan: NetworkDesign['linkChanges']): Promise<void> {
    const { namespace } = this.#parts
    const expected = prepared.links ? plan(prepared.links, prepared) : []
    delete prepared.links
    const seen = await this.#runLinks(expected).catch(() => changeLinks(namespace, []))
    const missing = plan(seen, prepared)
    prepared.links = missing.length > 0 ? await this.#runLinks(missing) : seen
  }

  async #runLinks(commands: readonly string[]): Promise<ObservedLink[]> {
    const seen = await changeLinks(this.#parts.namespace, commands)
    this.#madeTaps.note(commands)
    return seen
  }

  /** A setting of the kernel lies between making the bridge and giving it IPv6 addresses. */
  async #settleIpv6(prepared: Prepared, network: NetworkPlan, plan: NetworkDesign['linkChanges']): Promise<void> {
    const speaks = speaksIpv6(network) && !network.isExternal
    const ifindex = bridgeOf(prepared.links ?? [])?.ifindex
    if (prepared.ipv6 ? prepared.ipv6.ifindex === ifindex && prepared.ipv6.speaks === speaks : !speaks) return
    await setBridgeIpv6(this.namespace, speaks)
    prepared.ipv6 = { ifindex, speaks }
    delete prepared.links
    await this.#changeLinks(prepared, plan)
  }

  async #applyFilters(prepared: Prepared, filters: Ruleset): Promise<void> {
    const { namespace } = this.#parts
    const known = prepared.filters
    delete prepared.filters
    if (!(known && (await this.#changeFilters(known, filters)))) {
      if (filters.size > 0 || known) await applyFilters(namespace, replaceScript(filters))
      if (known) delete prepared.isLimited // what took our tables away took that one too
    }
    prepared.filters = filters
    if (filters.size > 0) await this.#limitFlows(prepared)
  }

  /** False when the namespace does not have the filters it should have had before. */
  async #changeFilters(known: Ruleset, filters: Ruleset): Promise<boolean> {
    const script = changeScript(known, filters)
    // Whoever reloads the machine's own rules inside a namespace flushes ours with them.
    if (script === '') return filters.size === 0 || (await hasFilters(this.namespace))
    return applyFilters(this.namespace, script).then(
      () => true,
      () => false,
    )
  }

  /** A kernel that cannot count connections (nft_connlimit) serves networks without a limit. */
  async #limitFlows(prepared: Prepared): Promise<void> {
    const { networkId, namespace, log } = this.#parts
    if (prepared.isLimited !== undefined) return
    prepared.isLimited = await applyFilters(namespace, buildFlowLimit()).then(
      () => true,
      (error: unknown) => {
        log.warn({ err: error, networkId }, 'One guest may use up the connection tracking of its network')
        return false
      },
    )
  }

  /** What of the world is not as designed; empty when all is. */
  /** What differs. While the namespace loses its name its parts are missed one by one: then that alone is told. */
  async #look(wanted: NetworkDesign): Promise<string[]> {
    const found = await this.#findDrift(wanted).catch((error: unknown) => ({ error }))
    if (Array.isArray(found) && found.length === 0) return []
    if ((await this.#hold.read()) === undefined) return [GONE]
    if (Array.isArray(found)) return found
    throw found.error
  }

  async #findDrift({ filters, dhcp, linkChanges }: NetworkDesign): Promise<string[]> {
    const { namespace } = this.#parts
    const inode = await this.#hold.read()
    if (inode === undefined) return [GONE]
    if (inode !== this.#prepared?.inode) return ['namespace replaced']
    const links = await changeLinks(namespace, [])
    const running = await findDnsmasq(this.#files)
    const isDhcpRight = dhcp ? running?.args.join('\0') === dhcp.args.join('\0') : running === undefined
    return [
      ...linkChanges(links, this.#prepared),
      ...(await findSettingDrift(namespace)),
      ...(await this.#findFilterDrift(this.#prepared, filters)),
      ...(isDhcpRight ? [] : ['DHCP server']),
    ]
  }

  async #findFilterDrift(prepared: Prepared, filters: Ruleset): Promise<string[]> {
    const text = await readFilters(this.namespace)
    const limit = prepared.isLimited && !(await hasFlowLimit(this.namespace)) ? ['limit of connections'] : []
    if (text !== undefined && text === prepared.seenFilters && prepared.filters === filters) return limit
    const drift = await findFilterDrift(text, filters)
    if (drift.length > 0 || text === undefined) return [...drift, ...limit]
    prepared.seenFilters = text
    prepared.filters = filters
    return limit
  }

  async #hasLink(name: string): Promise<boolean> {
    return (await changeLinks(this.namespace, [])).some(({ ifname }) => ifname === name)
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
    await this.#hold.remove()
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
