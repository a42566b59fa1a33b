/**
 * What a compute host can be asked. The conductor speaks only to this interface; behind it stand QEMU on this
 * machine, the memory host of the tests, and later a host across the wire.
 *
 * Every verb says what must be true afterwards, so it may be asked twice: after a lost answer, after a killed process.
 *   ensure…  makes it so, and does nothing where it is so already
 *   remove…  makes it gone, and accepts that it never was
 *   read…    looks at the world; never at a memory of it
 * A driver runs one verb a server at a time; callers need no lock. It knows neither HTTP nor the database.
 */
import type { Duplex } from 'node:stream'
import type { DiagnosticsHost } from './diagnostics-host.ts'
import type { GuestAgentHost } from './guest-agent-host.ts'
import type { ServerDisk, VolumeHost } from './volume-host.ts'

/**
 * `on` runs; `paused` is stopped by the host (a full disk, a debugger), and one that a full disk stopped runs on by
 * itself when there is space again; `off` was shut down or never started;
 * `crashed` ended without the guest asking for it; `absent` means the host has no trace of the server.
 */
export type Power = 'on' | 'paused' | 'off' | 'crashed' | 'absent'

export interface HostFacts {
  vcpus: number
  ramMib: number
  diskGib: number
  /** Changes when the machine itself was restarted, and so lost every guest. */
  bootId: string
  /** How guests run: `tcg`, `kvm`, `memory`. */
  accelerator: string
}

/** A disk of a server: an overlay on a cached image. */
export interface DiskPlan {
  serverId: string
  imageId: string
  sizeGib: number
}

export interface SubnetPlan {
  subnetId: string
  cidr: string
  ipVersion: 4 | 6
  gatewayIp: string | null
  /** The address the DHCP and metadata service answers from; null when DHCP is off. */
  dhcpAddress: string | null
  dnsNameservers: string[]
  hostRoutes: Route[]
  /** IPv6 only: how guests learn their addresses; null: not from the network. */
  ipv6Mode: 'slaac' | 'dhcpv6-stateless' | 'dhcpv6-stateful' | null
}

export interface Route {
  destination: string
  nexthop: string
}

export interface NetworkPlan {
  networkId: string
  /** Bytes. */
  mtu: number
  /** A network that is not up passes nothing. */
  isUp: boolean
  /** Leads out of the cloud: routers have gateways and floating IPs on it, and guests are never on it. */
  isExternal: boolean
  subnets: SubnetPlan[]
}

/** One rule of a security group, allowing what it describes; null means any. */
export interface RulePlan {
  direction: 'ingress' | 'egress'
  ethertype: 'IPv4' | 'IPv6'
  /** `tcp`, `udp`, `icmp`, a protocol number as text, or null. */
  protocol: string | null
  /** For ICMP the type. */
  portRangeMin: number | null
  /** For ICMP the code. */
  portRangeMax: number | null
  remoteIpPrefix: string | null
  /** Instead of a prefix: the members of this group, whose addresses the plan of the rule's own group lists. */
  remoteGroupId: string | null
}

export interface SecurityGroupPlan {
  groupId: string
  rules: RulePlan[]
  /** For each group that a rule names as remote: the addresses its members may send from, prefixes too, in no order. */
  members: { groupId: string; addresses: string[] }[]
}

/** A network card of a server and all that its network must know to serve it. */
export interface PortPlan {
  portId: string
  serverId: string
  macAddress: string
  /** The guest's host name as its DHCP server knows it. */
  hostName: string
  addresses: { subnetId: string; ipAddress: string }[]
  network: NetworkPlan
  /** A port that is not up passes nothing. */
  isUp: boolean
  /** Whether source addresses other than its own, and the allowed ones, are dropped. */
  antiSpoofing: boolean
  /** What it may send from besides its own addresses; `ipAddress` may be a prefix. */
  allowedAddresses: { ipAddress: string; macAddress: string }[]
  /** What its DHCP answers carry besides: dnsmasq's name or the number of the option. */
  dhcpOptions: { name: string; value: string; ipVersion: 4 | 6 }[]
  /** Its groups; without any it can only answer DHCP. Null: it is not filtered at all. */
  securityGroups: SecurityGroupPlan[] | null
}

/** One end of a router: on a network of a tenant, or its gateway on an external one. */
export interface RouterPortPlan {
  portId: string
  macAddress: string
  addresses: { subnetId: string; ipAddress: string }[]
  network: NetworkPlan
}

/** A router: the only way between networks, and out of the cloud. */
export interface RouterPlan {
  routerId: string
  /** A router that is not up passes nothing. */
  isUp: boolean
  interfaces: RouterPortPlan[]
  gateway: (RouterPortPlan & { hasSnat: boolean }) | null
  /** Besides the networks of its interfaces and the gateway's default route. */
  routes: Route[]
  /** 1:1, in both directions; `rateLimitKbps` holds for each direction, 0: no limit. */
  floatingIps: { floatingIpId: string; ipAddress: string; fixedIpAddress: string; rateLimitKbps: number }[]
  /** From an address of the outside (the gateway's own when null) to one inside. */
  portForwardings: {
    outsideAddress: string | null
    outsidePort: number
    insideAddress: string
    insidePort: number
    protocol: 'tcp' | 'udp'
  }[]
}

/** A server as the host must run it. The disk is asked for before, with `ensureDisk`. */
export interface ServerPlan {
  serverId: string
  vcpus: number
  ramMib: number
  /** Whose overlay it boots from; null when it boots from a volume. */
  imageId: string | null
  ports: CardPlan[]
  /** Besides the one of the image, in the order of their devices. */
  disks: ServerDisk[]
  hardware: HardwarePlan
  /** The image of its config drive, in ISO 9660, as it is to find it when it starts now; it cannot write to it. */
  configDrive?: Buffer | undefined
}

/** What the image says about the machine it wants; the defaults suit Linux. Source: Glance's `hw_*` properties. */
export interface HardwarePlan {
  firmware: 'bios' | 'uefi'
  machine: 'q35' | 'pc'
  diskBus: 'virtio' | 'scsi' | 'sata' | 'ide'
  cardModel: 'virtio' | 'e1000' | 'e1000e' | 'rtl8139'
  hasRandom: boolean
  /** A port for the guest agent; without it nothing inside can be asked. */
  hasAgent: boolean
  /** Booted without a boot loader: images of a kernel, perhaps of an initial RAM disk, and the kernel's command line. */
  kernel: { kernelImageId: string; ramdiskImageId: string | null; cmdline: string } | null
}

export const DEFAULT_HARDWARE: HardwarePlan = {
  firmware: 'bios',
  machine: 'q35',
  diskBus: 'virtio',
  cardModel: 'virtio',
  hasRandom: true,
  hasAgent: true,
  kernel: null,
}

/** Network cards a server has at most: machines must keep places for disks, and get no more while they run. */
export const MOST_CARDS = 7

/** A network card as the guest sees it. */
export interface CardPlan {
  portId: string
  networkId: string
  macAddress: string
  /** Bytes. */
  mtu: number
}

/** A card and whose it is. */
export interface ServerCard extends CardPlan {
  serverId: string
}

export interface HostServer {
  serverId: string
  power: Power
}

/** A question a guest asked at 169.254.169.254; the network and the address come from the socket, not from a header. */
export interface MetadataQuestion {
  networkId: string
  ipAddress: string
  method: string
  /** With its query, as sent. */
  path: string
  headers: Record<string, string | string[] | undefined>
  /** At most 4 KiB; empty for none. */
  body: Buffer
}

export interface MetadataAnswer {
  status: number
  contentType: string
  body: string | Buffer
  headers?: Record<string, string>
}

export interface HostDriver extends VolumeHost, GuestAgentHost, DiagnosticsHost, AsyncDisposable {
  readonly hostName: string
  /**
   * Finds again what earlier runs left, and opens its listeners. Guests that run are not touched.
   * @throws HostError `missing` naming the packages or rights this machine lacks.
   */
  start(): Promise<void>

  readFacts(): Promise<HostFacts>
  /** Every server this host has a trace of, in no order. */
  readServers(): Promise<HostServer[]>
  readPower(serverId: string): Promise<Power>

  /**
   * An overlay of the image, `sizeGib` large or as large as the image, whichever is more. Never touches a disk that exists.
   * @throws HostError `noSpace`, `noImage`.
   */
  ensureDisk(disk: DiskPlan): Promise<void>
  /**
   * Removes all files of the server, console log included.
   * @throws HostError `running` unless the server is off.
   */
  removeDisks(serverId: string): Promise<void>

  /** The network, its services, the port's filter and its tap. Applies changed addresses and rules too. */
  ensurePort(port: PortPlan): Promise<void>
  /** The tap and the filter; with the last port of a network on this host, its namespace and services too. */
  removePort(portId: string): Promise<void>
  /** Applies what changed of a network (subnets, MTU, up or not); does nothing when no port or router here is on it. */
  ensureNetwork(network: NetworkPlan): Promise<void>
  /**
   * Applies the rules and members of a group to all ports here that are in it, in one change for each network; ports of
   * other groups are not touched. Does nothing when no port is.
   */
  ensureSecurityGroup(group: SecurityGroupPlan): Promise<void>
  /** The router with all its ends, routes, floating IPs and forwardings; what the plan does not name goes. */
  ensureRouter(router: RouterPlan): Promise<void>
  removeRouter(routerId: string): Promise<void>
  /** Ids of all ports and routers this host has a trace of, in no order. */
  readNetworking(): Promise<{ portIds: string[]; routerIds: string[] }>

  /**
   * Starts the guest unless it runs; one that is paused runs on. `queued` means: too many guests are booting, ask again; each asking keeps
   * the place in the queue, and `onNudge` fires when a turn comes.
   * @throws HostError `noMemory`, `noDisk`, `startFailed` with what QEMU said; `notPlugged` when a port of the plan is
   * not there: the machine was restarted since; `unreachable` when it runs and does not answer.
   */
  ensureOn(plan: ServerPlan): Promise<'on' | 'queued'>
  /** Cuts the power; resolves when the guest is gone. A server that had crashed is `off` from then on. */
  ensureOff(serverId: string): Promise<void>
  /**
   * Plugs a card into a guest that runs; does nothing when it has it, or does not run.
   * @throws HostError `notPlugged` when its port is not there; `startFailed` when the machine takes no more cards.
   */
  ensureCard(serverId: string, card: CardPlan): Promise<void>
  /**
   * Takes a card out of a guest that runs; does nothing when it has none such.
   * @throws HostError `unreachable` when the guest does not let go of it, while it boots for instance.
   */
  removeCard(serverId: string, portId: string): Promise<void>

  /** Asks the guest through ACPI to shut down; does nothing when it does not run. Does not wait. */
  pressPowerButton(serverId: string): Promise<void>

  /** The tail of the serial console, newest last; all that is kept when `lines` is undefined; empty when there is none. */
  readConsole(serverId: string, lines?: number): Promise<string>
  /**
   * A stream to the guest's screen that speaks RFB (VNC).
   * @throws HostError `notRunning`.
   */
  openVnc(serverId: string): Promise<Duplex>
  /**
   * A stream to the guest's serial console. It begins with what was said last, and ends when the guest does; a reader
   * that is slow misses some of it and is told so. Several may be open at once: all see the same.
   * @throws HostError `notRunning`; `notPlugged` for a guest that has none until it is started again, or that as many
   * look at as may.
   */
  openSerial(serverId: string): Promise<Duplex>

  /** Calls `listener` whenever something may have changed by itself. It carries no data: whoever wakes up reads. */
  onNudge(listener: () => void): () => void
}

export type HostFailure =
  | 'missing'
  | 'noSpace'
  | 'noMemory'
  | 'noImage'
  | 'badImage'
  | 'noDisk'
  | 'startFailed'
  | 'notPlugged'
  | 'notRunning'
  | 'running'
  | 'noAgent'
  | 'agentRefused'
  | 'unreachable'

/**
 * A failure of a host, with a message fit for the owner of the server; details that name files or processes
 * belong into `cause`. All but `unreachable` are final: asking again without a change would fail again.
 */
export class HostError extends Error {
  override readonly name = 'HostError'
  readonly failure: HostFailure

  constructor(failure: HostFailure, message: string, options?: ErrorOptions) {
    super(message, options)
    this.failure = failure
  }

  get isFinal(): boolean {
    return this.failure !== 'unreachable'
  }
}
