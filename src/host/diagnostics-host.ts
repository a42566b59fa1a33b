/** What a server used and did since its machine was started, as its host counts it: the guest is not asked. */
export interface ServerDiagnostics {
  power: 'on' | 'paused'
  /** Since its machine was started, whole seconds. */
  uptimeS: number
  /** Processor time of each, nanoseconds; null where the host does not run it as a thread of its own. */
  vcpus: { id: number; timeNs: number | null }[]
  /** What it is given, and what of the host's memory it takes now, its machine's own needs among it. */
  memory: { totalMib: number; usedMib: number }
  disks: DiskFigures[]
  cards: CardFigures[]
}

export interface DiskFigures {
  readBytes: number
  readRequests: number
  writeBytes: number
  writeRequests: number
  /** Reads, writes and flushes that failed. */
  errors: number
}

/** A network card, as the guest sees it: received is what came to the guest. */
export interface CardFigures {
  portId: string
  macAddress: string
  received: LinkFigures
  sent: LinkFigures
}

export interface LinkFigures {
  bytes: number
  packets: number
  errors: number
  dropped: number
}

/** Part of `HostDriver`. */
export interface DiagnosticsHost {
  /** @throws HostError `notRunning`, `unreachable`. */
  readDiagnostics(serverId: string): Promise<ServerDiagnostics>
}
