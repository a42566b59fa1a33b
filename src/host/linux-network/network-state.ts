/**
 * What this host was asked to hold, on disk: the plan of each port as
 * `networks/<network id>/ports/<port id>.json`. Written before the port is made, removed after it is gone, so that
 * whatever was made by an earlier run is known to the next one.
 */
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
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

  /** Plans of the network's ports, the one written last at the end; files that cannot be read are left out. */
  async readPorts(networkId: string): Promise<{ ports: PortPlan[]; damaged: string[] }> {
    const directory = this.#portsDirectory(networkId)
    const found: { writtenAt: number; plan: PortPlan }[] = []
    const damaged: string[] = []
    for (const name of await readdirOrEmpty(directory)) {
      const path = join(directory, name)
      try {
        const plan = JSON.parse(await readFile(path, 'utf8')) as PortPlan
        if (`${plan.portId}.json` !== name) throw new Error('not the port of its name')
        found.push({ writtenAt: (await stat(path)).mtimeMs, plan })
      } catch {
        damaged.push(path)
      }
    }
    return { ports: found.sort((a, b) => a.writtenAt - b.writtenAt).map(({ plan }) => plan), damaged }
  }

  async writePort(plan: PortPlan): Promise<void> {
    const directory = this.#portsDirectory(plan.network.networkId)
    await mkdir(directory, { recursive: true, mode: 0o711 })
    const path = join(directory, `${safeId(plan.portId)}.json`)
    await writeFile(`${path}.new`, JSON.stringify(plan), { mode: 0o600 })
    await rename(`${path}.new`, path)
  }

  async removePort(networkId: string, portId: string): Promise<void> {
    await rm(join(this.#portsDirectory(networkId), `${safeId(portId)}.json`), { force: true })
  }

  async removeNetwork(networkId: string): Promise<void> {
    await rm(this.networkDirectory(networkId), { recursive: true, force: true })
  }

  #portsDirectory(networkId: string): string {
    return join(this.networkDirectory(networkId), 'ports')
  }
}

async function readdirOrEmpty(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).filter((name) => name.endsWith('.json'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
