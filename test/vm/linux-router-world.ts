/** Networks, routers and an outside to try routers with, in namespaces of a directory's own. */
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import type { NetworkPlan, PortPlan, RouterPlan, RouterPortPlan, SubnetPlan } from '../../src/host/host-driver.ts'
import { groupOf } from '../../src/host/linux-network/example-plans.ts'
import { LinuxNetwork } from '../../src/host/linux-network/linux-network.ts'
import { namespaceName, namespacePrefix } from '../../src/host/linux-network/names.ts'
import { edgeNamespace } from '../../src/host/linux-network/router-names.ts'
import { runTool } from '../../src/host/linux-network/run-tool.ts'
import { newHexId, newId, newMacAddress } from '../../src/lib/ids.ts'
import { anything } from './network-world.ts'
import { Agent, StandIn } from './stand-in.ts'

/** The external network of these tests; its gateway address is the edge's. */
export const EDGE_ADDRESS = '203.0.113.1'

const subnetPlan = (cidr: string, change: Partial<SubnetPlan> = {}): SubnetPlan => ({
  subnetId: newId(),
  cidr,
  ipVersion: cidr.includes(':') ? 6 : 4,
  gatewayIp: cidr.replace(/(\.0|::)\/.*/, (_, zero: string) => (zero === '::' ? '::1' : '.1')),
  dhcpAddress: cidr.includes(':') ? null : cidr.replace(/\.0\/.*/, '.2'),
  dnsNameservers: [],
  hostRoutes: [],
  ipv6Mode: cidr.includes(':') ? 'slaac' : null,
  ...change,
})

export const networkPlan = (cidrs: string[], change: Partial<NetworkPlan> = {}): NetworkPlan => ({
  networkId: newId(),
  mtu: 1450,
  isUp: true,
  isExternal: false,
  subnets: cidrs.map((cidr) => subnetPlan(cidr)),
  ...change,
})

export const externalPlan = (): NetworkPlan => ({
  ...networkPlan([]),
  isExternal: true,
  subnets: [subnetPlan('203.0.113.0/24', { dhcpAddress: null })],
})

/** Addresses in the network's subnets by version. */
const addressesOn = ({ subnets }: NetworkPlan, ipAddresses: string[]) =>
  ipAddresses.map((ipAddress) => {
    const version = ipAddress.includes(':') ? 6 : 4
    return { subnetId: subnets.find(({ ipVersion }) => ipVersion === version)?.subnetId ?? '', ipAddress }
  })

/** A guest's port that any packet may reach, and that may send any. */
export const guestPort = (network: NetworkPlan, ...ipAddresses: string[]): PortPlan => ({
  portId: newId(),
  serverId: newId(),
  macAddress: newMacAddress(),
  hostName: 'guest',
  addresses: addressesOn(network, ipAddresses),
  network,
  isUp: true,
  antiSpoofing: true,
  allowedAddresses: [],
  dhcpOptions: [],
  securityGroups: [groupOf(...(['IPv4', 'IPv6'] as const).flatMap((ethertype) => bothWays(ethertype)))],
})
const bothWays = (ethertype: 'IPv4' | 'IPv6') =>
  (['ingress', 'egress'] as const).map((direction) => ({ ...anything(direction), ethertype }))

export const routerPort = (network: NetworkPlan, ...ipAddresses: string[]): RouterPortPlan => ({
  portId: newId(),
  macAddress: newMacAddress(),
  addresses: addressesOn(network, ipAddresses),
  network,
})

/** A router with its first address on each network, and a gateway when it has an outside address. */
export function routerPlan(networks: NetworkPlan[], outside?: { network: NetworkPlan; ipAddress: string }): RouterPlan {
  const own = ({ subnets }: NetworkPlan) => subnets.flatMap(({ gatewayIp }) => gatewayIp ?? [])
  return {
    routerId: newId(),
    isUp: true,
    interfaces: networks.map((network) => routerPort(network, ...own(network))),
    gateway: outside ? { ...routerPort(outside.network, outside.ipAddress), hasSnat: true } : null,
    routes: [],
    floatingIps: [],
    portForwardings: [],
  }
}

export const floatingIp = (ipAddress: string, fixedIpAddress: string, rateLimitKbps = 0) => ({
  floatingIpId: newId(),
  ipAddress,
  fixedIpAddress,
  rateLimitKbps,
})

/** Somebody else on an external network: a namespace with one card, put on the bridge past all filters. */
export class Outsider implements AsyncDisposable {
  readonly namespace: string
  readonly agent: Agent
  readonly address: string

  private constructor(namespace: string, agent: Agent, address: string) {
    this.namespace = namespace
    this.agent = agent
    this.address = address
  }

  static async stand(bridgeNamespace: string, address: string, bridge = 'br0'): Promise<Outsider> {
    const id = newHexId().slice(0, 8)
    const namespace = `outsider-${id}`
    await runTool('ip', ['netns', 'add', namespace])
    try {
      await runTool('ip', [
        '-n',
        namespace,
        'link',
        'add',
        'eth0',
        'mtu',
        '1450',
        'type',
        'veth',
        'peer',
        'name',
        `vo${id}`,
        'netns',
        bridgeNamespace,
      ])
      await runTool('ip', ['-n', bridgeNamespace, 'link', 'set', `vo${id}`, 'mtu', '1450', 'master', bridge, 'up'])
      const lines = ['link set lo up', 'link set eth0 up', `addr add ${address}/24 dev eth0`]
      await runTool('ip', ['-n', namespace, '-batch', '-'], lines.map((line) => `${line}\n`).join(''))
      return new Outsider(namespace, await Agent.start(namespace), address)
    } catch (error) {
      await runTool('ip', ['netns', 'delete', namespace])
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent[Symbol.asyncDispose]()
    await runTool('ip', ['netns', 'delete', this.namespace])
  }
}

/** A host's networks and routers in a directory of its own; takes everything away at the end. */
export class RouterWorld implements AsyncDisposable {
  readonly dataDir: string
  /** What was logged as a warning or worse. */
  readonly complaints: { msg: string; [field: string]: unknown }[] = []
  #network: LinuxNetwork
  readonly #options: RouterWorldOptions
  readonly #ports = new Set<string>()

  private constructor(dataDir: string, options: RouterWorldOptions) {
    this.dataDir = dataDir
    this.#options = options
    this.#network = this.#create(options)
    prefixes.push(namespacePrefix(dataDir))
  }

  static async open(options: RouterWorldOptions = {}): Promise<RouterWorld> {
    const dataDir = await mkdtemp(join(tmpdir(), 'novella-routers-'))
    await chmod(dataDir, 0o711)
    const world = new RouterWorld(dataDir, options)
    try {
      await world.network.start()
    } catch (error) {
      await world[Symbol.asyncDispose]()
      throw error
    }
    return world
  }

  get network(): LinuxNetwork {
    return this.#network
  }

  #create(options: RouterWorldOptions): LinuxNetwork {
    const answerMetadata = async () => ({ status: 404, contentType: 'text/plain', body: '' })
    const log = pino({ level: 'warn' }, { write: (line: string) => void this.complaints.push(JSON.parse(line)) })
    return new LinuxNetwork({ dataDir: this.dataDir, tapUser: TAP_USER, answerMetadata, log, ...options })
  }

  /** As after a restart of the process, perhaps with other settings. */
  async restart(options: RouterWorldOptions = {}): Promise<void> {
    await this.#network[Symbol.asyncDispose]()
    this.#network = this.#create({ ...this.#options, ...options })
    await this.#network.start()
  }

  async ensureRouter(...plans: RouterPlan[]): Promise<void> {
    for (const plan of plans) await this.network.ensureRouter(plan)
  }

  /** For a port that the test itself asks for. */
  willRemove(portId: string): void {
    this.#ports.add(portId)
  }

  /** A stand-in for a guest that sends what is not near to its network's gateway. */
  async plugGuest(network: NetworkPlan, ...ipAddresses: string[]): Promise<StandIn> {
    const port = guestPort(network, ...ipAddresses)
    this.#ports.add(port.portId)
    await this.network.ensurePort(port)
    const guest = await StandIn.plug(this.network, port)
    const gateways = network.subnets.flatMap(({ gatewayIp, ipVersion }) =>
      gatewayIp && ipVersion === 4 ? [gatewayIp] : [],
    )
    await guest.change(...gateways.map((gateway) => `route add default via ${gateway}`))
    return guest
  }

  /** Somebody else on an external network that a router has a gateway on. */
  standOutside(network: NetworkPlan, address: string): Promise<Outsider> {
    return Outsider.stand(this.namespaceOf(network.networkId), address)
  }

  /** Of a network or of a router. */
  namespaceOf(id: string): string {
    return namespaceName(this.dataDir, id)
  }

  edgeOf({ networkId }: NetworkPlan): string {
    return edgeNamespace(this.dataDir, networkId)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      const { routerIds } = await this.network.readNetworking()
      for (const routerId of routerIds) await this.network.removeRouter(routerId)
      await Promise.all([...this.#ports].map((portId) => this.network.removePort(portId)))
      await this.#network[Symbol.asyncDispose]()
    } finally {
      await rm(this.dataDir, { recursive: true, force: true })
    }
  }
}

export interface RouterWorldOptions {
  uplink?: string
  /** The namespace in the machine's place. */
  outer?: string
  careEveryMs?: number
}

const TAP_USER = { uid: 64_055, gid: 64_055 }

/** Prefixes of the namespaces of every world opened so far. */
const prefixes: string[] = []

/** Namespaces that worlds and outsiders left behind. */
export async function listLeftNamespaces(): Promise<string[]> {
  const names = await readdir('/run/netns').catch(() => [])
  return names.filter((name) => prefixes.some((prefix) => name.startsWith(prefix)))
}
