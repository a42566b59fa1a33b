/**
 * A namespace that is joined to networks and passes packets between them: of a router, or of the edge. Each asking
 * looks at what is there and changes what differs, so that damage done by hand or by a crash is mended on the way.
 */
import type { Logger } from 'pino'
import { planQueues } from './floating-limits.ts'
import { addNamespace, readNamespace, removeNamespace } from './namespace.ts'
import { forgetStale } from './router-connections.ts'
import type { RouterDesign, RouterDevice } from './router-design.ts'
import type { RouterEnds } from './router-ends.ts'
import {
  announce,
  applyRouterSettings,
  changeNamespace,
  changeQueues,
  observeQueues,
  observeRouter,
  readRules,
  replaceRules,
} from './router-kernel.ts'
import { type Ends, type ObservedRouter, planRouterLinks, planRouterRoutes } from './router-links.ts'

/** What `settle` had to change. */
export type Change = 'namespace' | 'rules' | 'devices' | 'routes' | 'queues' | 'advertisements' | 'uplink'

/** What this process last made of it; `inode` tells the namespace from a later one of the same name. */
interface Made {
  inode: number
  script?: string
  /** The script as the kernel tells it. */
  rules?: string
}

export class RouterNamespace {
  readonly name: string
  readonly #networks: RouterEnds
  readonly #log: Logger
  #made: Made | undefined
  /** Ends that were seen on their networks, with the plan of each as JSON. */
  readonly #joined = new Map<string, { network: string; end: { namespace: string; isThere: boolean } }>()

  constructor(name: string, networks: RouterEnds, log: Logger) {
    this.name = name
    this.#log = log
    this.#networks = networks
  }

  /** The kernel's number of the namespace as it last was; undefined before the first `settle`. */
  get inode(): number | undefined {
    return this.#made?.inode
  }

  /**
   * Makes everything so: rules first, since without them a new device would pass everything.
   * @param script the rules, see router-rules.ts.
   * @param isThorough asks the networks for each end; else only for those that this process has not seen joined, or whose
   * device is gone.
   * @returns what was not so, in no order. Rules are always among it when this process had not made them.
   */
  async settle(design: RouterDesign, script: string, isThorough = true): Promise<Change[]> {
    const changes = new Set<Change>()
    if ((await readNamespace(this.name)) === undefined) changes.add('namespace')
    const made = await this.prepare()
    const isAsMade = async () => made.script === script && made.rules === (await readRules(this.name))
    const [areRulesRight, observed] = await Promise.all([isAsMade(), observeRouter(this.name)])
    if (!areRulesRight) {
      delete made.script
      made.rules = await replaceRules(this.name, script)
      made.script = script
      changes.add('rules')
      await this.#forget(design)
    }
    if (isThorough) this.#joined.clear()
    const ends = await this.#join(design.devices, observed)
    const deviceChanges = planRouterLinks(design, observed, ends)
    if (deviceChanges.length > 0) {
      await this.#changeDevices(design, observed, ends, deviceChanges)
      changes.add('devices')
    }
    // A single address takes no route with it.
    const isAsObserved = deviceChanges.every((command) => /^addr (add|del) \S+\/32 /.test(command))
    const { routes, shaped } = isAsObserved ? observed : await observeRouter(this.name)
    const routeChanges = planRouterRoutes(design, { routes })
    await changeNamespace(this.name, routeChanges)
    if (routeChanges.length > 0) changes.add('routes')
    const queueChanges = planQueues(design, await observeQueues(this.name, shaped))
    await changeQueues(this.name, queueChanges)
    if (queueChanges.length > 0) changes.add('queues')
    return [...changes]
  }

  /** Tells the neighbours of a device its addresses, when it is there. */
  async announce({ name, mac }: RouterDevice): Promise<void> {
    await announce(this.name, [{ name, mac }])
  }

  async remove(): Promise<void> {
    this.#made = undefined
    this.#joined.clear()
    await removeNamespace(this.name)
  }

  /** Makes the namespace alone, for whoever must put something in before. */
  async prepare(): Promise<Made> {
    const there = await readNamespace(this.name)
    if (there !== undefined && there === this.#made?.inode) return this.#made
    if (there === undefined) await addNamespace(this.name)
    await applyRouterSettings(this.name)
    const inode = there ?? (await readNamespace(this.name))
    if (inode === undefined) throw new Error(`The namespace ${this.name} vanished`)
    this.#made = { inode }
    return this.#made
  }

  /** What the rules already stop. A machine without perl, or whose kernel does not tell, waits until it is forgotten. */
  async #forget(design: RouterDesign): Promise<void> {
    await forgetStale(this.name, design).catch((error: unknown) => {
      this.#log.warn(
        { err: error, namespace: this.name },
        'Connections by addresses that were taken away go on, stopped',
      )
    })
  }

  async #changeDevices(design: RouterDesign, observed: ObservedRouter, ends: Ends, commands: string[]): Promise<void> {
    await removeOrphans(design.devices, observed, ends)
    await changeNamespace(this.name, commands)
    const made = design.devices.filter(({ name }) =>
      commands.some((command) => command.startsWith(`link add ${name} `)),
    )
    for (const { network, endName } of made) await this.#networks.attachRouterEnd(network, endName)
    // New addresses only now: before, the other end may have been on no bridge.
    const renewed = design.devices.filter(({ name }) =>
      commands.some((command) => command.startsWith('addr add') && command.split(' ').includes(name)),
    )
    await announce(this.name, renewed)
  }

  /** Where each end is; joins it to its network when that is not known. */
  async #join(devices: readonly RouterDevice[], { links }: ObservedRouter): Promise<Ends> {
    const present = new Set(links.map(({ ifname }) => ifname))
    const answers = devices.map(async ({ name, network, endName }) => {
      const wanted = JSON.stringify(network)
      const known = this.#joined.get(endName)
      if (known?.network === wanted && present.has(name)) return [endName, known.end] as const
      const end = await this.#networks.attachRouterEnd(network, endName)
      if (end.isThere) this.#joined.set(endName, { network: wanted, end })
      return [endName, end] as const
    })
    return new Map(await Promise.all(answers))
  }
}

/** Ends whose other side is not here: of a namespace before this one, which a process keeps alive. Their names are needed. */
async function removeOrphans(devices: readonly RouterDevice[], { links }: ObservedRouter, ends: Ends): Promise<void> {
  for (const { name, endName } of devices) {
    const end = ends.get(endName)
    if (end?.isThere && !links.some(({ ifname }) => ifname === name)) {
      await changeNamespace(end.namespace, [`link delete ${endName}`])
    }
  }
}
