/**
 * One router on this host: a namespace of its own, joined to each of its networks by a cable.
 *
 *   network A ═ in-… ┐                      ┌ floating IPs, forwardings, SNAT (router-rules.ts)
 *   network B ═ in-… ┼─ the router ─ out-… ═╡ external network ─ edge
 *                    └ advertisements (IPv6)└ rate limits (floating-limits.ts)
 *
 * One change at a time. The plan is the whole truth: what it does not name goes.
 */
import type { Logger } from 'pino'
import type { RouterPlan } from '../host-driver.ts'
import { ensureDnsmasq, findDnsmasq, stopDnsmasq } from './dnsmasq.ts'
import { advertiserPidFile, planAdvertisements } from './router-advertisements.ts'
import { designRouter, type RouterDesign } from './router-design.ts'
import type { RouterEnds } from './router-ends.ts'
import { endName } from './router-names.ts'
import { type Change, RouterNamespace } from './router-namespace.ts'
import { buildRouterRules } from './router-rules.ts'
import type { HeldEnd, HeldRouter, RouterState } from './router-state.ts'

export interface RouterParts {
  routerId: string
  namespace: string
  networks: RouterEnds
  state: RouterState
  dhcpUser: { name: string; group: string }
  /** Whether it is to be there at all: while no card is on this host nobody could use it. */
  isNeeded: () => boolean
  log: Logger
}

export class Router {
  readonly #parts: RouterParts
  readonly #namespace: RouterNamespace
  #held: HeldRouter | undefined
  /** Whether nothing of it is in the kernel, as far as this process knows. */
  #isResting = false
  #last: Promise<unknown> = Promise.resolve()

  /** @param held what an earlier run was asked to hold; undefined for a new router, or when that cannot be read. */
  constructor(parts: RouterParts, held?: HeldRouter) {
    this.#parts = parts
    this.#namespace = new RouterNamespace(parts.namespace, parts.networks, parts.log)
    this.#held = held
  }

  get namespace(): string {
    return this.#parts.namespace
  }

  /** As last asked for; undefined when an earlier run's cannot be read. */
  get plan(): RouterPlan | undefined {
    return this.#held?.plan
  }

  /**
   * @throws Error when the plan carries a value that is none; nothing was changed then.
   */
  ensure(plan: RouterPlan): Promise<Change[]> {
    return this.#alone(async () => {
      const design = designRouter(plan)
      const script = buildRouterRules(design)
      const formerEnds = withoutThoseOf(plan, this.#held ? endsOf(this.#held) : [])
      const held = { plan, formerEnds }
      if (JSON.stringify(held) !== JSON.stringify(this.#held)) await this.#parts.state.write(held)
      this.#held = held
      if (!this.#parts.isNeeded()) return await this.#rest()
      return await this.#settle(design, script, formerEnds, false)
    })
  }

  /** Makes it again what it was last asked to be, or takes it away while it is not needed; nothing when that is not known. */
  mend(): Promise<Change[]> {
    return this.#alone(async () => {
      if (!this.#held) return []
      if (!this.#parts.isNeeded()) return await this.#rest()
      const design = designRouter(this.#held.plan)
      return await this.#settle(design, buildRouterRules(design), this.#held.formerEnds, true)
    })
  }

  /** Tells the outside its addresses anew: another router may just have told otherwise. */
  announce(): Promise<void> {
    return this.#alone(async () => {
      if (this.#isResting) return
      const outer = this.#held && designRouter(this.#held.plan).devices.find(({ isGateway }) => isGateway)
      if (outer) await this.#namespace.announce(outer)
    })
  }

  /** Everything of it. Accepts that there is nothing. */
  remove(): Promise<void> {
    return this.#alone(async () => {
      const { state, routerId } = this.#parts
      await this.#takeAway()
      await state.remove(routerId)
      this.#held = undefined
    })
  }

  /** Keeps what it was asked to be, and nothing of it in the kernel. */
  async #rest(): Promise<Change[]> {
    if (!this.#isResting) await this.#takeAway()
    this.#isResting = true
    if (this.#held && this.#held.formerEnds.length > 0) {
      this.#held = { plan: this.#held.plan, formerEnds: [] }
      await this.#parts.state.write(this.#held)
    }
    return []
  }

  async #takeAway(): Promise<void> {
    await stopDnsmasq(this.#advertiserFiles)
    await this.#namespace.remove()
    for (const { networkId, endName } of this.#held ? endsOf(this.#held) : []) {
      await this.#parts.networks.detachRouterEnd(networkId, endName)
    }
  }

  async #settle(
    design: RouterDesign,
    script: string,
    formerEnds: readonly HeldEnd[],
    isThorough: boolean,
  ): Promise<Change[]> {
    this.#isResting = false
    const changes = await this.#namespace.settle(design, script, isThorough)
    for (const { networkId, endName } of formerEnds) await this.#parts.networks.detachRouterEnd(networkId, endName)
    if (this.#held && formerEnds.length > 0) {
      this.#held = { plan: this.#held.plan, formerEnds: [] }
      await this.#parts.state.write(this.#held)
    }
    if (await this.#advertise(design)) changes.push('advertisements')
    return changes
  }

  /** @returns whether it had ended by itself. */
  async #advertise(design: RouterDesign): Promise<boolean> {
    const { state, routerId, dhcpUser } = this.#parts
    const files = this.#advertiserFiles
    const args = planAdvertisements(design, state.routerDirectory(routerId), dhcpUser)
    if (!args) {
      await stopDnsmasq(files)
      return false
    }
    const hadEnded = (await findDnsmasq(files)) === undefined
    const inode = this.#namespace.inode
    if (inode === undefined) throw new Error('Nothing was settled before')
    const config = { args, hosts: '', options: '', reservations: new Map<string, string>() }
    await ensureDnsmasq({ name: this.namespace, inode }, config, files)
    return hadEnded
  }

  get #advertiserFiles() {
    const directory = this.#parts.state.routerDirectory(this.#parts.routerId)
    return {
      hosts: `${directory}/advertiser-hosts`,
      options: `${directory}/advertiser-options`,
      leases: `${directory}/advertiser-leases`,
      pid: advertiserPidFile(directory),
    }
  }

  #alone<T>(change: () => Promise<T>): Promise<T> {
    const result = this.#last.then(change)
    this.#last = result.catch(() => {})
    return result
  }
}

/** All ends that a held router may have somewhere. */
function endsOf({ plan, formerEnds }: HeldRouter): HeldEnd[] {
  const ports = [...plan.interfaces, ...(plan.gateway ? [plan.gateway] : [])]
  return [
    ...ports.map(({ portId, network }) => ({ networkId: network.networkId, endName: endName(portId) })),
    ...formerEnds,
  ]
}

function withoutThoseOf(plan: RouterPlan, ends: readonly HeldEnd[]): HeldEnd[] {
  const key = ({ networkId, endName: name }: HeldEnd) => `${networkId} ${name}`
  const kept = new Set(endsOf({ plan, formerEnds: [] }).map(key))
  return ends.filter((end) => !kept.has(key(end)))
}
