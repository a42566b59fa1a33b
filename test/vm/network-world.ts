/** A host's network in a directory of its own, and plans to try it with. */
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import type { MetadataAnswer, MetadataQuestion, PortPlan, RulePlan, SubnetPlan } from '../../src/host/host-driver.ts'
import { groupOf } from '../../src/host/linux-network/example-plans.ts'
import { MENDED } from '../../src/host/linux-network/guest-network.ts'
import { formatIpv6, linkLocalOf, parseIpv6 } from '../../src/host/linux-network/ipv6.ts'
import { LinuxNetwork } from '../../src/host/linux-network/linux-network.ts'
import { namespaceName, namespacePrefix } from '../../src/host/linux-network/names.ts'
import { newId, newMacAddress } from '../../src/lib/ids.ts'

const TAP_USER = { uid: 64_055, gid: 64_055 }

/** Prefixes of the namespaces of every world opened so far. */
const prefixes: string[] = []

export const listNamespaces = (): Promise<string[]> => readdir('/run/netns').catch(() => [])

/** Namespaces that worlds left behind. */
export const listLeftNamespaces = async (): Promise<string[]> =>
  (await listNamespaces()).filter((name) => prefixes.some((prefix) => name.startsWith(prefix)))

/** Whether a process is there and no zombie. */
export const isRunning = async (pid: number): Promise<boolean> =>
  (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')) !== ''

/** As pino numbers it. */
const WARN = 40

/** A host's network in a directory of its own; takes everything away at the end. */
export class NetworkWorld implements AsyncDisposable {
  readonly dataDir: string
  readonly asked: MetadataQuestion[] = []
  /** What was logged as a warning or worse. */
  readonly warned: { msg: string; found?: string[] }[] = []
  /** How often a network was mended. */
  mended = 0
  readonly #log = pino({ level: 'info' }, { write: (line: string) => this.#note(JSON.parse(line)) })
  /** What the metadata service answers; may be replaced. */
  answer: (question: MetadataQuestion) => Promise<MetadataAnswer> = async ({ networkId, ipAddress }) => ({
    status: 200,
    contentType: 'text/plain',
    body: `${networkId} ${ipAddress}`,
  })
  #network: LinuxNetwork
  readonly #ports = new Set<string>()

  private constructor(dataDir: string) {
    this.dataDir = dataDir
    this.#network = this.#create()
    prefixes.push(namespacePrefix(dataDir))
  }

  #note(line: { level: number; msg: string; found?: string[] }): void {
    if (line.level >= WARN) this.warned.push(line)
    if (line.msg === MENDED) this.mended += 1
  }

  static async open(): Promise<NetworkWorld> {
    const dataDir = await mkdtemp(join(tmpdir(), 'novella-network-'))
    await chmod(dataDir, 0o711)
    const world = new NetworkWorld(dataDir)
    await world.network.start()
    return world
  }

  get network(): LinuxNetwork {
    return this.#network
  }

  #create(options: { careEveryMs?: number } = {}): LinuxNetwork {
    const answerMetadata = (question: MetadataQuestion) => {
      this.asked.push(question)
      return this.answer(question)
    }
    return new LinuxNetwork({ dataDir: this.dataDir, tapUser: TAP_USER, answerMetadata, log: this.#log, ...options })
  }

  /** As after a restart of the process: everything that outlives it is found again. */
  async restart(options?: { careEveryMs?: number }): Promise<void> {
    await this.#network[Symbol.asyncDispose]()
    this.#network = this.#create(options)
    await this.#network.start()
  }

  async ensure(...ports: PortPlan[]): Promise<void> {
    for (const { portId } of ports) this.#ports.add(portId)
    await Promise.all(ports.map((port) => this.#network.ensurePort(port)))
  }

  namespaceOf(port: PortPlan): string {
    return namespaceName(this.dataDir, port.network.networkId)
  }

  file(port: PortPlan, name: string): string {
    return join(this.dataDir, 'networks', port.network.networkId, name)
  }

  async dnsmasqPid(port: PortPlan): Promise<number> {
    return Number(await readFile(this.file(port, 'dnsmasq.pid'), 'utf8'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await Promise.all([...this.#ports].map((portId) => this.#network.removePort(portId)))
      await this.#network[Symbol.asyncDispose]()
    } finally {
      await rm(this.dataDir, { recursive: true, force: true })
    }
  }
}

export const anything = (direction: RulePlan['direction']): RulePlan => ({
  direction,
  ethertype: 'IPv4',
  protocol: null,
  portRangeMin: null,
  portRangeMax: null,
  remoteIpPrefix: null,
  remoteGroupId: null,
})
export const allow = (protocol: string, port: number, remoteIpPrefix: string | null = null): RulePlan => ({
  ...anything('ingress'),
  protocol,
  portRangeMin: port,
  portRangeMax: port,
  remoteIpPrefix,
})
export const OUT = anything('egress')

/** Plans of ports on one network, at 10.78.0.11 and on. */
export function newNetwork(networkId = newId()): (change?: Partial<PortPlan>) => PortPlan {
  const subnetId = newId()
  const subnet = {
    subnetId,
    cidr: '10.78.0.0/24',
    ipVersion: 4 as const,
    gatewayIp: '10.78.0.1',
    dhcpAddress: '10.78.0.2',
    dnsNameservers: ['192.0.2.53'],
    hostRoutes: [],
    ipv6Mode: null,
  }
  let count = 0
  return (change = {}) => ({
    portId: newId(),
    serverId: newId(),
    macAddress: newMacAddress(),
    hostName: `guest-${++count}`,
    addresses: [{ subnetId, ipAddress: `10.78.0.${10 + count}` }],
    network: { networkId, mtu: 1450, isUp: true, isExternal: false, subnets: [subnet] },
    isUp: true,
    antiSpoofing: true,
    allowedAddresses: [],
    dhcpOptions: [],
    securityGroups: [groupOf(OUT)],
    ...change,
  })
}

/** The same with a subnet of IPv6 beside, fd78::/64; where guests make their address themselves, it is that of their MAC. */
export function newDualNetwork(
  ipv6Mode: NonNullable<SubnetPlan['ipv6Mode']>,
): (change?: Partial<PortPlan>) => PortPlan {
  const newPort = newNetwork()
  const six: SubnetPlan = {
    subnetId: newId(),
    cidr: 'fd78::/64',
    ipVersion: 6,
    gatewayIp: 'fd78::1',
    dhcpAddress: 'fd78::2',
    dnsNameservers: ['fd00::53'],
    hostRoutes: [],
    ipv6Mode,
  }
  let count = 0
  return (change = {}) => {
    const port = newPort(change)
    const ownId = linkLocalOf(port.macAddress) & ((1n << 64n) - 1n)
    const id = ipv6Mode === 'dhcpv6-stateful' ? BigInt(0x10 + ++count) : ownId
    const address = { subnetId: six.subnetId, ipAddress: formatIpv6(parseIpv6('fd78::') + id) }
    return {
      ...port,
      addresses: [...port.addresses, address],
      network: { ...port.network, subnets: [...port.network.subnets, six] },
    }
  }
}

/** The rule for IPv6. */
export const six = (rule: RulePlan): RulePlan => ({ ...rule, ethertype: 'IPv6' })
