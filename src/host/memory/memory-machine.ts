import type {
  CardPlan,
  DiskPlan,
  NetworkPlan,
  PortPlan,
  Power,
  RouterPlan,
  SecurityGroupPlan,
  ServerPlan,
} from '../host-driver.ts'
import type { BlankDiskPlan, ServerDisk } from '../volume-host.ts'
import { type MemoryAgent, newMemoryAgent } from './memory-agents.ts'
import type { MemoryVolume } from './memory-disks.ts'

export interface MemoryServer {
  power: Power
  disk: DiskPlan | undefined
  /** Disks of its own besides, by their ids. */
  blankDisks: Map<string, BlankDiskPlan>
  console: string[]
  /** What the running guest has besides the disk of its image, by id; empty while it is off. */
  disks: Map<string, ServerDisk>
  /** What the running guest has; empty while it is off. */
  cards: Map<string, CardPlan>
  /** What it runs as, or ran last. */
  plan: ServerPlan | undefined
  /** When it started last, epoch milliseconds. */
  startedAt: number
  agent: MemoryAgent
}

/** What is left of a machine when the process that drove it ends: hand it to the next driver to find it again. */
export interface MemoryMachine {
  servers: Map<string, MemoryServer>
  /** As they were last asked for; what changed of a network or a group since is in the maps below. */
  ports: Map<string, PortPlan>
  networks: Map<string, NetworkPlan>
  securityGroups: Map<string, SecurityGroupPlan>
  routers: Map<string, RouterPlan>
  images: Set<string>
  volumes: Map<string, MemoryVolume>
  snapshots: Map<string, { sizeGib: number }>
  /** Ids of images and snapshots that were removed while disks lean on them. */
  removedBases: Set<string>
  bootId: string
}

export const newMemoryMachine = (): MemoryMachine => ({
  servers: new Map(),
  ports: new Map(),
  networks: new Map(),
  securityGroups: new Map(),
  routers: new Map(),
  images: new Set(),
  volumes: new Map(),
  snapshots: new Map(),
  removedBases: new Set(),
  bootId: 'boot-1',
})

/** A server that was never started. */
export const newMemoryServer = (): MemoryServer => ({
  power: 'off',
  disk: undefined,
  blankDisks: new Map(),
  console: [],
  disks: new Map(),
  cards: new Map(),
  plan: undefined,
  startedAt: 0,
  agent: newMemoryAgent(),
})

/** The machine restarts: every guest and every port is gone, the disks are there. */
export function rebootMachine(machine: MemoryMachine): void {
  for (const server of machine.servers.values()) {
    server.cards.clear()
    server.disks.clear()
    if (server.power !== 'off') server.power = 'crashed'
  }
  machine.ports.clear()
  machine.networks.clear()
  machine.securityGroups.clear()
  machine.routers.clear()
  machine.bootId = `boot-${Number(machine.bootId.slice(5)) + 1}`
}
