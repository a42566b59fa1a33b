import { createHash } from 'node:crypto'
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'

/** What one guest may use at most. */
export interface Limits {
  vcpus: number
  memoryMib: number
}

/**
 * Where guests' limits can be set: on cgroup v2 one tree, on v1 one for each controller; `none` when nowhere. `owner`
 * begins the names of our groups: several data directories may have guests on one machine.
 */
export type CgroupTree =
  | { kind: 'v2'; owner: string; directory: string }
  | { kind: 'v1'; owner: string; cpu: string | undefined; memory: string | undefined }
  | { kind: 'none' }

const PERIOD_US = 100_000
/** What QEMU's own threads get besides the vcpus: without it they slowed the boot of a guest by 4 %. */
const OWN_THREADS_US = 25_000
const MIB = 1024 * 1024

/** The mounted cgroup file systems by what they control, `v2` being the unified one. Pure. Source: proc(5), mounts. */
export function cgroupMounts(mounts: string): { v2?: string; cpu?: string; memory?: string } {
  const found: { v2?: string; cpu?: string; memory?: string } = {}
  for (const line of mounts.split('\n')) {
    const [, directory = '', type, options = ''] = line.split(' ')
    if (type === 'cgroup2') found.v2 ??= directory
    if (type !== 'cgroup') continue
    if (options.split(',').includes('cpu')) found.cpu ??= directory
    if (options.split(',').includes('memory')) found.memory ??= directory
  }
  return found
}

/**
 * What of it this machine lets us use: v2 when it has both controllers, else v1, else nothing.
 * @param dataDir absolute and without symbolic links.
 */
export function detectCgroups(dataDir: string): CgroupTree {
  const owner = createHash('sha256').update(dataDir).digest('hex').slice(0, 12)
  const { v2, cpu, memory } = cgroupMounts(readFileSync('/proc/mounts', 'utf8'))
  if (v2 !== undefined && enablesBoth(v2)) return { kind: 'v2', owner, directory: join(v2, PARENT) }
  const usable = [cpu, memory].map((mount) =>
    mount !== undefined && isWritable(mount) ? join(mount, PARENT) : undefined,
  )
  if (usable.some((directory) => directory !== undefined))
    return { kind: 'v1', owner, cpu: usable[0], memory: usable[1] }
  return { kind: 'none' }
}

/** The directory all guests' groups are in, in each tree. */
const PARENT = 'novella'

/** Whether the unified tree hands cpu and memory down to us; asks it to when it could. */
function enablesBoth(v2: string): boolean {
  try {
    const parent = join(v2, PARENT)
    for (const directory of [v2, parent]) {
      mkdirSync(directory, { recursive: true })
      const handed = readFileSync(join(directory, 'cgroup.subtree_control'), 'utf8').trim().split(' ')
      if (handed.includes('cpu') && handed.includes('memory')) continue
      writeFileSync(join(directory, 'cgroup.subtree_control'), '+cpu +memory')
    }
    return true
  } catch {
    removeQuietly(join(v2, PARENT))
    return false
  }
}

function isWritable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** The files to write for a guest, as [path, value], in order; the process itself comes last. Pure. */
export function cgroupWrites(tree: CgroupTree, serverId: string, limits: Limits, pid: number): [string, string][] {
  const quota = String(limits.vcpus * PERIOD_US + OWN_THREADS_US)
  const bytes = String(limits.memoryMib * MIB)
  if (tree.kind === 'none') return []
  const name = groupName(tree, serverId)
  if (tree.kind === 'v2') {
    const group = join(tree.directory, name)
    return [
      // Each time: the parent goes with its last guest, and one made anew hands nothing down.
      [join(tree.directory, 'cgroup.subtree_control'), '+cpu +memory'],
      [join(group, 'cpu.max'), `${quota} ${PERIOD_US}`],
      [join(group, 'memory.max'), bytes],
      [join(group, 'cgroup.procs'), String(pid)],
    ]
  }
  const writes: [string, string][] = []
  if (tree.cpu !== undefined) {
    writes.push([join(tree.cpu, name, 'cpu.cfs_period_us'), String(PERIOD_US)])
    writes.push([join(tree.cpu, name, 'cpu.cfs_quota_us'), quota])
    writes.push([join(tree.cpu, name, 'cgroup.procs'), String(pid)])
  }
  if (tree.memory !== undefined) {
    writes.push([join(tree.memory, name, 'memory.limit_in_bytes'), bytes])
    writes.push([join(tree.memory, name, 'cgroup.procs'), String(pid)])
  }
  return writes
}

/** The directories a guest's limits are in. */
export function cgroupDirectories(tree: CgroupTree, serverId: string): string[] {
  return parentDirectories(tree).map((parent) => join(parent, tree.kind === 'none' ? '' : groupName(tree, serverId)))
}

const groupName = ({ owner }: { owner: string }, serverId: string): string => `${owner}-${serverId}`

function parentDirectories(tree: CgroupTree): string[] {
  if (tree.kind === 'none') return []
  const parents = tree.kind === 'v2' ? [tree.directory] : [tree.cpu, tree.memory]
  return parents.filter((parent) => parent !== undefined)
}

/**
 * Puts a process, and all it will become, under limits.
 * @throws Error when the kernel refuses.
 */
export function limitProcess(tree: CgroupTree, serverId: string, limits: Limits, pid: number): void {
  for (const directory of cgroupDirectories(tree, serverId)) mkdirSync(directory, { recursive: true })
  for (const [path, value] of cgroupWrites(tree, serverId, limits, pid)) writeFileSync(path, value)
}

/** Removes a guest's groups, and the parent with the last of them. False while a process is still in one. */
export function removeCgroups(tree: CgroupTree, serverId: string): boolean {
  const areGone = cgroupDirectories(tree, serverId).map(removeQuietly)
  for (const directory of parentDirectories(tree)) removeQuietly(directory)
  return !areGone.includes(false)
}

/** Removes the groups of all our guests that ended while nobody looked; the kernel keeps those with a process in them. */
export function removeEmptyCgroups(tree: CgroupTree): void {
  if (tree.kind === 'none') return
  for (const parent of parentDirectories(tree)) {
    const names = existsSync(parent) ? readdirSync(parent) : []
    for (const name of names) if (name.startsWith(groupName(tree, ''))) removeQuietly(join(parent, name))
    removeQuietly(parent)
  }
}

function removeQuietly(directory: string): boolean {
  try {
    rmdirSync(directory)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT'
  }
}
