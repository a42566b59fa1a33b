/**
 * How hosts follow the rows of the network API. Whoever writes to networks, subnets, ports, groups, routers or floating
 * IPs notes what it changed in the same transaction; after the commit a worker reads the rows anew and asks the hosts to
 * make it so. A note carries no data, so many notes of one thing are one piece of work, and a lost one is made good at
 * the next start, when everything is settled.
 *
 * What to note:
 *   networks, subnets      `network`, with the id of the network. The routers on it follow by themselves.
 *   ports                  `port`. Its router, its DHCP service, its floating IPs' routers and the groups whose rules name
 *                          its groups as remote follow by themselves.
 *   groups, rules          `securityGroup`, with the id of the group.
 *   routers, interfaces, gateways, routes, floating IPs, forwardings    `router`, with the id of the router.
 * The rows tell what a thing is linked with now. Before a write that cuts links (a delete; a port that loses groups,
 * addresses, allowed pairs or its device; a deleted group that rules name) call `noteLeaving`, which notes the thing and
 * all that it is linked with while the rows still say so. Ports are deleted with `deletePorts`, which does that.
 *
 * Settling at the start is no different: all things are worked on, and what only the hosts name goes from them.
 */
import type { Logger } from 'pino'
import { isFinal } from '../actions/action.ts'
import type { Database, Tx } from '../db/database.ts'
import type { HostDriver } from '../host/host-driver.ts'
import type { Clock } from '../lib/clock.ts'
import { applyChange, applyFailed, listEverything } from './apply-change.ts'
import { groupsThatName, linksOf } from './network-links.ts'

/** A thing of the network API that hosts must follow. */
export interface NetworkChange {
  kind: 'network' | 'port' | 'securityGroup' | 'router'
  id: string
}

export interface NetworkParts {
  db: Database
  clock: Clock
  log: Logger
  /** The hosts this process reaches, by name. */
  hosts: ReadonlyMap<string, HostDriver>
}

/** Things worked on at once; host calls wait, they do not compute. */
const AT_ONCE = 8
/** Pauses between tries of what fails, in milliseconds: 250, 500, … up to the longest. */
const FIRST_PAUSE_MS = 250
const LONGEST_PAUSE_MS = 30_000
/** So many failures in a row are shown to users; before, it may be an answer that was lost. */
const SHOWN_FAILURES = 3
/** How long an orderly stop waits for host calls under way, in milliseconds. */
const STOP_PATIENCE_MS = 10_000

interface Work {
  change: NetworkChange
  /** Whether what it is linked with must follow; not when everything is settled anyhow. */
  hasLinks: boolean
}

/**
 * The worker: things wait, are worked on one at a time each and AT_ONCE in all, and after a failure pause.
 *
 *   note → waiting → running → (done)
 *              ↑         └→ paused, with growing pauses
 *              └─────────────┘
 */
export class NetworkChanges implements AsyncDisposable {
  readonly #parts: NetworkParts
  readonly #waiting = new Map<string, Work>()
  readonly #running = new Map<string, Promise<void>>()
  /** Cancels the end of the pause. */
  readonly #paused = new Map<string, () => void>()
  readonly #failures = new Map<string, number>()
  #looking: Promise<void> | undefined
  #cancelLook: (() => void) | undefined
  #isOpen = false

  constructor(parts: NetworkParts) {
    this.#parts = parts
  }

  /** Hosts follow what `change` names once the transaction is committed. */
  note(tx: Tx, change: NetworkChange): void {
    tx.onCommit(() => this.#add({ change, hasLinks: true }))
  }

  /** Notes it and all it is linked with as the transaction sees it: for before a write that cuts links. */
  async noteLeaving(tx: Tx, change: NetworkChange): Promise<void> {
    const links = await linksOf(tx, change)
    tx.onCommit(() => {
      this.#add({ change, hasLinks: false })
      for (const link of links) this.#add({ change: link, hasLinks: false })
    })
  }

  /**
   * Notes what these ports are linked with and not the ports themselves: for somebody who asks the host about them, a
   * server's action. Call it before they lose groups, addresses or their row; after they got them.
   */
  async noteNeighbours(tx: Tx, portIds: readonly string[]): Promise<void> {
    for (const id of portIds) {
      const links = await linksOf(tx, { kind: 'port', id })
      tx.onCommit(() => {
        for (const change of links) this.#add({ change, hasLinks: false })
      })
    }
  }

  /** Notes the groups whose rules name one of these as remote: for new ports in them, which no host has yet. */
  async noteMembers(tx: Tx, groupIds: readonly string[]): Promise<void> {
    const links = await groupsThatName(tx, groupIds)
    tx.onCommit(() => {
      for (const id of links) this.#add({ change: { kind: 'securityGroup', id }, hasLinks: false })
    })
  }

  /** Begins to work, with everything: what rows name is made so, what hosts have and no row names goes. Does not wait. */
  start(): void {
    this.#isOpen = true
    this.#pump()
    this.#look(0)
  }

  /** Resolves when nothing is under way or waiting; what pauses after a failure is not. */
  async settled(): Promise<void> {
    while (this.#isOpen && (this.#looking || this.#running.size > 0)) {
      await Promise.all([this.#looking, ...this.#running.values()])
    }
  }

  #look(failures: number): void {
    const { clock, log } = this.#parts
    this.#looking = listEverything(this.#parts)
      .then((changes) => {
        for (const change of changes) this.#add({ change, hasLinks: false })
      })
      .catch((error) => {
        if (!this.#isOpen) return
        log.error({ err: error }, 'the networks of the hosts could not be compared with the rows')
        this.#cancelLook = clock.after(pauseMs(failures), () => this.#look(failures + 1))
      })
      .finally(() => {
        this.#looking = undefined
      })
  }

  #add(work: Work): void {
    const key = keyOf(work.change)
    this.#paused.get(key)?.()
    this.#paused.delete(key)
    const hasLinks = work.hasLinks || (this.#waiting.get(key)?.hasLinks ?? false)
    this.#waiting.set(key, { change: work.change, hasLinks })
    this.#pump()
  }

  #pump(): void {
    if (!this.#isOpen) return
    for (const [key, work] of this.#waiting) {
      if (this.#running.size >= AT_ONCE) return
      if (this.#running.has(key)) continue
      this.#waiting.delete(key)
      const run = this.#run(key, work).finally(() => {
        this.#running.delete(key)
        this.#pump()
      })
      this.#running.set(key, run)
    }
  }

  async #run(key: string, work: Work): Promise<void> {
    const { db, clock, log } = this.#parts
    // What names a group as remote asks for its members, which a change of its rules leaves as they are.
    let hasLinks = work.hasLinks && work.change.kind !== 'securityGroup'
    try {
      if (hasLinks) for (const change of await linksOf(db.read, work.change)) this.#add({ change, hasLinks: false })
      hasLinks = false
      await applyChange(this.#parts, work.change)
      this.#failures.delete(key)
    } catch (error) {
      if (!this.#isOpen) return
      const failures = this.#failures.get(key) ?? 0
      this.#failures.set(key, failures + 1)
      log.error({ err: error, ...work.change, failures: failures + 1 }, 'a host could not follow the network')
      // Noted again meanwhile, it is tried at once.
      if (!this.#waiting.has(key)) {
        this.#paused.set(
          key,
          clock.after(pauseMs(failures), () => this.#add({ ...work, hasLinks })),
        )
      }
      if (failures + 1 < SHOWN_FAILURES && !isFinal(error)) return
      await applyFailed(this.#parts, work.change).catch((failure) =>
        log.error({ err: failure, ...work.change }, 'that a host could not follow could not be written down'),
      )
    }
  }

  /** Lets host calls under way end, and starts no more; what is not done is done at the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    const running = [this.#looking, ...this.#running.values()]
    this.#isOpen = false
    this.#cancelLook?.()
    for (const cancel of this.#paused.values()) cancel()
    const patience = Promise.withResolvers<void>()
    const timer = setTimeout(patience.resolve, STOP_PATIENCE_MS)
    await Promise.race([Promise.allSettled(running), patience.promise])
    clearTimeout(timer)
  }
}

const keyOf = ({ kind, id }: NetworkChange): string => `${kind} ${id}`

const pauseMs = (failures: number): number => Math.min(FIRST_PAUSE_MS * 2 ** failures, LONGEST_PAUSE_MS)
