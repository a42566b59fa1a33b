/**
 * What this host was asked to hold, on disk: the plan of each port as
 * `networks/<network id>/ports/<port id>.json`. Written before the port is made, removed after it is gone, so that
 * whatever was made by an earlier run is known to the next one.
 */
import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { replaceFile, syncDirectory } from '../durable-file.ts'
import type { PortPlan } from '../host-driver.ts'
import { isSafeId, safeId } from './names.ts'

export class NetworkState {
  /** `networks` in the data directory, absolute. */
  readonly directory: string

  constructor(dataDir: string) {
    this.directory = join(dataDir, 'networks')
  }

  networkDirectory(networkId: string): string {
    return join(this.directory, safeId(networkId))
  }

  async listNetworks(): Promise<string[]> {
    await mkdir(this.directory, { recursive: true, mode: 0o711 })
    return (await readdir(this.directory)).filter(isSafeId)
  }

  /**
   * Plans of the network's ports, the one written last at the end, and the ids of those whose plan cannot be read.
   * Files whose name is no id are not ours.
   */
  async readPorts(networkId: string): Promise<{ ports: PortPlan[]; damaged: string[] }> {
    const directory = this.#portsDirectory(networkId)
    const found: { writtenAt: number; plan: PortPlan }[] = []
    const damaged: string[] = []
    for (const portId of await listPortIds(directory)) {
      const path = join(directory, `${portId}.json`)
      try {
        const plan = JSON.parse(await readFile(path, 'utf8')) as PortPlan
        if (plan.portId !== portId) throw new Error('not the port of its name')
        found.push({ writtenAt: (await stat(path)).mtimeMs, plan })
      } catch {
        damaged.push(portId)
      }
    }
    return { ports: found.sort((a, b) => a.writtenAt - b.writtenAt).map(({ plan }) => plan), damaged }
  }

  async writePort(plan: PortPlan): Promise<void> {
    const directory = this.#portsDirectory(plan.network.networkId)
    const made = await mkdir(directory, { recursive: true, mode: 0o711 })
    await replaceFile(join(directory, `${safeId(plan.portId)}.json`), JSON.stringify(plan), 0o600)
    if (made === undefined) return
    for (let path = directory; path !== dirname(this.directory); path = dirname(path)) {
      await syncDirectory(dirname(path))
    }
  }

  async removePort(networkId: string, portId: string): Promise<void> {
    const directory = this.#portsDirectory(networkId)
    await rm(join(directory, `${safeId(portId)}.json`), { force: true })
    await syncDirectory(directory)
  }

  async removeNetwork(networkId: string): Promise<void> {
    await rm(this.networkDirectory(networkId), { recursive: true, force: true })
    await syncDirectory(this.directory)
  }

  #portsDirectory(networkId: string): string {
    return join(this.networkDirectory(networkId), 'ports')
  }
}

async function listPortIds(directory: string): Promise<string[]> {
  try {
    const names = (await readdir(directory)).filter((name) => name.endsWith('.json'))
    return names.map((name) => name.slice(0, -'.json'.length)).filter(isSafeId)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
