/**
 * How external networks meet the world: not at all, by a bridge of the machine, or by the machine's own address.
 *
 *   bridge   machine's bridge ─ nv…  ═══ vr… ─ external network
 *   nat      machine ─ nv… (169.254.x.1) ═══ up0 (169.254.x.2) ─ edge ─ external network
 *            the machine routes the external subnets to the edge, and lets them out by its own address
 *
 * This is all that Novella ever does to the machine's own namespace, and it goes with the external network's last
 * router, or when the setting changes: the device, and with it its routes, and one table of rules of our own. Only the
 * switch `ip_forward`, where it was off, is left on: others may have come to rely on it.
 * The machine's namespace can be another one by name: tests put a stand-in there.
 */
import type { Logger } from 'pino'
import { HostError, type NetworkPlan } from '../host-driver.ts'
import { namespacePrefix } from './names.ts'
import type { RouterEnds } from './router-ends.ts'
import { changeNamespace } from './router-kernel.ts'
import type { RouterLink } from './router-links.ts'
import { endName, uplinkName, uplinkPrefix } from './router-names.ts'
import { runInNamespace, runTool } from './run-tool.ts'
import { buildNatTable, externalNetworks, pickTransit, TRANSIT_BITS, type Transit } from './uplink-plan.ts'
import type { UplinkSetting } from './uplink-setting.ts'

/** The device of the edge that leads to the machine. */
export const UPLINK_DEVICE = 'up0'

export interface UplinkParts {
  dataDir: string
  setting: UplinkSetting
  networks: RouterEnds
  /** The namespace in the machine's place; undefined for the machine itself. */
  outer?: string | undefined
  log: Logger
}

export class Uplink {
  readonly #parts: UplinkParts
  /** Tables as this process made them, and as the kernel tells them, by name. */
  readonly #tables = new Map<string, { script: string; rules: string }>()

  constructor(parts: UplinkParts) {
    this.#parts = parts
  }

  get kind(): UplinkSetting['kind'] {
    return this.#parts.setting.kind
  }

  /**
   * Looks whether the machine has what the setting names.
   * @throws HostError `missing` saying what to do.
   */
  async check(): Promise<void> {
    const { setting } = this.#parts
    if (setting.kind !== 'bridge') return
    const bridges: RouterLink[] = JSON.parse((await this.#ip('-json', 'link', 'show', 'type', 'bridge')) || '[]')
    if (bridges.some(({ ifname }) => ifname === setting.bridge)) return
    throw new HostError(
      'missing',
      `The setting uplink is bridge=${setting.bridge}, and this machine has no bridge ${setting.bridge}. ` +
        `Make it (ip link add ${setting.bridge} type bridge), or set uplink to none or nat.`,
    )
  }

  /**
   * Joins an external network to the machine's bridge.
   * @returns whether it was not so.
   */
  async ensureBridged(network: NetworkPlan): Promise<boolean> {
    const { dataDir, setting, networks } = this.#parts
    if (setting.kind !== 'bridge') return false
    await this.check()
    const [device, end] = [uplinkName(dataDir, network.networkId), uplinkEnd(network.networkId)]
    const { namespace, isThere } = await networks.attachRouterEnd(network, end)
    const link = (await this.#links()).find(({ ifname }) => ifname === device)
    const isWhole = link !== undefined && isThere
    if (!isWhole) {
      if (link) await this.#change([`link delete ${device}`])
      if (isThere) await changeNamespace(namespace, [`link delete ${end}`])
      await this.#make(device, network.mtu, `peer name ${end} mtu ${network.mtu}`, namespace)
      await networks.attachRouterEnd(network, end)
    }
    if (isWhole && link.master === setting.bridge && link.mtu === network.mtu && link.flags.includes('UP')) return false
    await this.#change([`link set ${device} mtu ${network.mtu} master ${setting.bridge} up`])
    return true
  }

  /**
   * Joins the edge of an external network to the machine, which then routes and translates for it.
   * @returns the next hop of the edge's default route, and whether something was not so.
   * @throws HostError `startFailed` when the machine leads one of its subnets elsewhere.
   */
  async ensureRouted(network: NetworkPlan, edge: string): Promise<{ via: string; isChanged: boolean }> {
    const { dataDir } = this.#parts
    const device = uplinkName(dataDir, network.networkId)
    const links = await this.#links()
    const found = links.find(({ ifname }) => ifname === device)
    const transit = pickTransit(device, links)
    const isWhole = found?.mtu === network.mtu && (await hasDevice(edge, UPLINK_DEVICE))
    if (!isWhole) {
      if (found) await this.#change([`link delete ${device}`])
      await this.#make(device, network.mtu, `peer name ${UPLINK_DEVICE} mtu ${network.mtu}`, edge)
    }
    await this.#change([`addr replace ${transit.machine}/${TRANSIT_BITS} dev ${device}`, `link set ${device} up`])
    await changeNamespace(edge, [
      `addr replace ${transit.edge}/${TRANSIT_BITS} dev ${UPLINK_DEVICE}`,
      `link set ${UPLINK_DEVICE} up`,
    ])
    const changes = [
      !isWhole,
      await this.#route(network, device, transit),
      await this.#translate(network, device),
      await this.#allowForwarding(),
    ]
    return { via: transit.machine, isChanged: changes.includes(true) }
  }

  /** Takes away what joins an external network to the machine. Accepts that nothing does. */
  async remove(networkId: string): Promise<void> {
    const device = uplinkName(this.#parts.dataDir, networkId)
    if ((await this.#links()).some(({ ifname }) => ifname === device)) await this.#change([`link delete ${device}`])
    await this.#removeTable(this.#table(networkId))
  }

  /** Takes away what joins external networks other than these: of a setting before, or of a run that was killed. */
  async removeOthers(networkIds: readonly string[]): Promise<void> {
    const { dataDir, setting } = this.#parts
    const kept = setting.kind === 'none' ? [] : networkIds
    const devices = new Set(kept.map((networkId) => uplinkName(dataDir, networkId)))
    const tables = new Set(setting.kind === 'nat' ? kept.map((networkId) => this.#table(networkId)) : [])
    for (const { ifname } of await this.#links()) {
      if (ifname.startsWith(uplinkPrefix(dataDir)) && !devices.has(ifname))
        await this.#change([`link delete ${ifname}`])
    }
    const list = await this.#run(['nft', 'list', 'tables', 'ip']).catch(() => '')
    for (const [, name = ''] of list.matchAll(/^table ip (\S+)$/gm)) {
      if (name.startsWith(this.#tablePrefix) && !tables.has(name)) await this.#removeTable(name)
    }
  }

  get #tablePrefix(): string {
    return `novella_${namespacePrefix(this.#parts.dataDir).slice(3, 9)}_`
  }

  #table(networkId: string): string {
    return this.#tablePrefix + uplinkName(this.#parts.dataDir, networkId).slice(-7)
  }

  async #removeTable(name: string): Promise<void> {
    await this.#run(['nft', '-f', '-'], `table ip ${name}\ndelete table ip ${name}\n`)
  }

  /** Routes of the external subnets to the edge; those of subnets that are no more go. */
  async #route(network: NetworkPlan, device: string, transit: Transit): Promise<boolean> {
    const wanted = externalNetworks(network)
    const routes: { dst: string; dev?: string; gateway?: string }[] = JSON.parse(
      (await this.#ip('-json', '-4', 'route', 'show')) || '[]',
    )
    const elsewhere = routes.find(({ dst, dev }) => wanted.includes(dst) && dev !== device)
    if (elsewhere) {
      throw new HostError(
        'startFailed',
        `This machine leads ${elsewhere.dst} to ${elsewhere.dev ?? 'nowhere'}, so the external network of that subnet ` +
          'cannot have uplink = nat. Give the external network another subnet, or set uplink to none.',
      )
    }
    const present = routes.filter(({ dev, gateway }) => dev === device && gateway !== undefined).map(({ dst }) => dst)
    const changes = [
      ...present.filter((dst) => !wanted.includes(dst)).map((dst) => `route del ${dst} dev ${device}`),
      ...wanted
        .filter((dst) => !present.includes(dst))
        .map((dst) => `route add ${dst} via ${transit.edge} dev ${device} proto static`),
    ]
    await this.#change(changes)
    return changes.length > 0
  }

  async #translate(network: NetworkPlan, device: string): Promise<boolean> {
    const table = this.#table(network.networkId)
    const script = buildNatTable(table, network, device)
    const read = () => this.#run(['nft', '-s', 'list', 'table', 'ip', table]).catch(() => '')
    const made = this.#tables.get(table)
    if (made?.script === script && made.rules === (await read())) return false
    await this.#run(['nft', '-f', '-'], script)
    this.#tables.set(table, { script, rules: await read() })
    return true
  }

  async #allowForwarding(): Promise<boolean> {
    const path = '/proc/sys/net/ipv4/ip_forward'
    if ((await this.#run(['cat', path])).trim() === '1') return false
    await this.#run(['/bin/sh', '-c', `echo 1 > ${path}`])
    this.#parts.log.warn('Turned on ip_forward of this machine, for the setting uplink = nat')
    return true
  }

  /** A cable from the machine into a namespace; refuses by itself where the name is taken. */
  async #make(device: string, mtu: number, peer: string, namespace: string): Promise<void> {
    await this.#change([`link add ${device} mtu ${mtu} type veth ${peer} netns ${namespace}`])
  }

  async #links(): Promise<OuterLink[]> {
    return JSON.parse((await this.#ip('-json', 'addr', 'show')) || '[]')
  }

  #ip(...args: string[]): Promise<string> {
    const { outer } = this.#parts
    return runTool('ip', outer === undefined ? args : ['-n', outer, ...args])
  }

  async #change(commands: readonly string[]): Promise<void> {
    const { outer } = this.#parts
    const input = commands.map((command) => `${command}\n`).join('')
    if (input !== '') await runTool('ip', [...(outer === undefined ? [] : ['-n', outer]), '-batch', '-'], input)
  }

  #run([program = '', ...args]: readonly string[], input?: string): Promise<string> {
    const { outer } = this.#parts
    return outer === undefined ? runTool(program, args, input) : runInNamespace(outer, [program, ...args], input)
  }
}

type OuterLink = RouterLink & { master?: string }

const uplinkEnd = (networkId: string): string => endName(`uplink-${networkId}`)

async function hasDevice(namespace: string, name: string): Promise<boolean> {
  const links: RouterLink[] = JSON.parse((await runTool('ip', ['-n', namespace, '-json', 'link', 'show'])) || '[]')
  return links.some(({ ifname }) => ifname === name)
}
