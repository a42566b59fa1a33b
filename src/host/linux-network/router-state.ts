/**
 * The routers this host was asked to hold, on disk: `routers/<router id>/plan.json`. Written before a router is made,
 * removed after it is gone, so that whatever was made by an earlier run is known to the next one.
 */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { replaceFile, syncDirectory } from '../durable-file.ts'
import type { RouterPlan } from '../host-driver.ts'
import { isSafeId, safeId } from './names.ts'

/** An end of a cable that was, or is to be, on a network. */
export interface HeldEnd {
  networkId: string
  endName: string
}

/** A plan and, besides the ends it names, those of the plan before that may still be there. */
export interface HeldRouter {
  plan: RouterPlan
  formerEnds: HeldEnd[]
}

export class RouterState {
  /** `routers` in the data directory, absolute. */
  readonly directory: string

  constructor(dataDir: string) {
    this.directory = join(dataDir, 'routers')
  }

  routerDirectory(routerId: string): string {
    return join(this.directory, safeId(routerId))
  }

  /** Ids of all routers, those whose plan cannot be read too, in no order. */
  async list(): Promise<string[]> {
    try {
      return (await readdir(this.directory)).filter(isSafeId)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw error
    }
  }

  /** @throws Error when the plan cannot be read, or is of another router. */
  async read(routerId: string): Promise<HeldRouter> {
    const held = JSON.parse(await readFile(join(this.routerDirectory(routerId), 'plan.json'), 'utf8')) as HeldRouter
    if (held.plan.routerId !== routerId) throw new Error('not the router of its name')
    return held
  }

  async write(held: HeldRouter): Promise<void> {
    const directory = this.routerDirectory(held.plan.routerId)
    const made = await mkdir(directory, { recursive: true, mode: 0o711 })
    await replaceFile(join(directory, 'plan.json'), JSON.stringify(held), 0o600)
    if (made === undefined) return
    await syncDirectory(this.directory)
    await syncDirectory(join(this.directory, '..'))
  }

  async remove(routerId: string): Promise<void> {
    await rm(this.routerDirectory(routerId), { recursive: true, force: true })
    await syncDirectory(this.directory).catch(() => {}) // there is none before the first router
  }
}
