/**
 * What this host was asked to hold, on disk:
 *
 *   networks/<network id>/network.json
 *   networks/<network id>/ports/<port id>.json
 *   networks/<network id>/groups/<group id>.json
 *   networks/<network id>/ends/<device>.json
 *
 * Written before a thing is made, removed after it is gone, so that whatever was made by an earlier run is known to the
 * next one.
 */
import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { replaceFile, syncDirectory } from '../durable-file.ts'
import type { NetworkPlan, SecurityGroupPlan } from '../host-driver.ts'
import { type HeldNetwork, NOTHING_HELD, withGroup } from './held-network.ts'
import type { HeldPort } from './held-port.ts'
import { isSafeId, safeId } from './names.ts'

interface Kept {
  id: string
  writtenAt: number
  /** Undefined when it cannot be read. */
  value: unknown
}

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

  /** What an earlier run held. Files whose name is no id are not ours; what cannot be read is left out, but for ports. */
  async read(networkId: string): Promise<HeldNetwork> {
    const directory = this.networkDirectory(networkId)
    const [network] = (await readKept(directory)).filter(({ id }) => id === 'network')
    const ports = await readKept(join(directory, 'ports'))
    const groups = await readKept(join(directory, 'groups'))
    const ends = await readKept(join(directory, 'ends'))
    const held: HeldNetwork = {
      ...NOTHING_HELD,
      network: network?.value as NetworkPlan | undefined,
      ports: new Map(ports.filter(isPort).map(({ id, value }) => [id, value as HeldPort])),
      damaged: new Set(ports.filter((port) => !isPort(port)).map(({ id }) => id)),
      ends: new Set(ends.map(({ id }) => id)),
    }
    return groups
      .filter(({ id, value }) => (value as SecurityGroupPlan | undefined)?.groupId === id)
      .sort((a, b) => a.writtenAt - b.writtenAt) // the newest word about members is the last
      .map(({ value }) => value as SecurityGroupPlan)
      .reduce(withGroup, held)
  }

  /** Writes what `after` holds and `before` does not. */
  async write(networkId: string, before: HeldNetwork, after: HeldNetwork): Promise<void> {
    const directory = this.networkDirectory(networkId)
    if (after.network !== before.network) await this.#put(directory, 'network', after.network)
    for (const [id, group] of after.groups) {
      if (before.groups.get(id) !== group) await this.#put(join(directory, 'groups'), id, group)
    }
    for (const [id, port] of after.ports) {
      if (before.ports.get(id) !== port) await this.#put(join(directory, 'ports'), id, port)
    }
    for (const end of after.ends) {
      if (!before.ends.has(end)) await this.#put(join(directory, 'ends'), end, {})
    }
  }

  /** Removes what `before` held and `after` does not. */
  async remove(networkId: string, before: HeldNetwork, after: HeldNetwork): Promise<void> {
    const directory = this.networkDirectory(networkId)
    const kept = (ids: Iterable<string>, has: (id: string) => boolean) => [...ids].filter((id) => !has(id))
    const isHeld = (id: string) => after.ports.has(id) || after.damaged.has(id)
    await removeKept(join(directory, 'ports'), kept([...before.ports.keys(), ...before.damaged], isHeld))
    await removeKept(
      join(directory, 'groups'),
      kept(before.groups.keys(), (id) => after.groups.has(id)),
    )
    await removeKept(
      join(directory, 'ends'),
      kept(before.ends, (end) => after.ends.has(end)),
    )
  }

  async removeNetwork(networkId: string): Promise<void> {
    await rm(this.networkDirectory(networkId), { recursive: true, force: true })
    await syncDirectory(this.directory)
  }

  async #put(directory: string, id: string, value: unknown): Promise<void> {
    const made = await mkdir(directory, { recursive: true, mode: 0o711 })
    await replaceFile(join(directory, `${safeId(id)}.json`), JSON.stringify(value), 0o600)
    if (made === undefined) return
    for (let path = directory; path !== dirname(this.directory); path = dirname(path)) {
      await syncDirectory(dirname(path))
    }
  }
}

function isPort({ id, value }: Kept): boolean {
  const port = value as Partial<HeldPort> | undefined
  return port?.portId === id && Number.isInteger(port.number)
}

async function readKept(directory: string): Promise<Kept[]> {
  const kept: Kept[] = []
  for (const id of await listIds(directory)) {
    const path = join(directory, `${id}.json`)
    try {
      const writtenAt = (await stat(path)).mtimeMs
      kept.push({ id, writtenAt, value: JSON.parse(await readFile(path, 'utf8')) })
    } catch {
      kept.push({ id, writtenAt: 0, value: undefined })
    }
  }
  return kept
}

async function removeKept(directory: string, ids: string[]): Promise<void> {
  if (ids.length === 0) return
  for (const id of ids) await rm(join(directory, `${safeId(id)}.json`), { force: true })
  await syncDirectory(directory)
}

async function listIds(directory: string): Promise<string[]> {
  try {
    const names = (await readdir(directory)).filter((name) => name.endsWith('.json'))
    return names.map((name) => name.slice(0, -'.json'.length)).filter(isSafeId)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
