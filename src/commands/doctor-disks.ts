/**
 * Files below the data directory that belong to nothing the database knows: what a power cut, a restored backup or a
 * deleted database may leave. Novella itself removes nothing that it does not recognise; this is where a person does.
 */
import { existsSync } from 'node:fs'
import { readdir, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Config } from '../config.ts'
import { type Database, openDatabaseAsIs } from '../db/database.ts'
import { readQcow2Header } from '../host/qemu/qcow2-header.ts'
import { findPid, readRecord } from '../host/qemu/run-record.ts'
import { serverFiles } from '../host/qemu/server-files.ts'
import { findOwner, lockDataDirectory } from '../lib/data-directory.ts'
import { isUuidLike } from '../lib/ids.ts'
import { type Finding, ok, warn } from './doctor-report.ts'

/** Something below the data directory that belongs to no row. */
export interface Orphan {
  /** Absolute. */
  path: string
  /** What it was: `server`, `volume`, … */
  what: string
  id: string
  /** Of all files in it, as they fill the disk. */
  sizeBytes: number
  /** Why it must stay for now; null when it can go. */
  keptFor: string | null
}

/** Where things lie, what they are called, and which rows they belong to. */
const PLACES = [
  { folder: 'servers', what: 'server', table: 'servers' },
  { folder: 'volumes', what: 'volume', table: 'volumes' },
  { folder: 'snapshots', what: 'snapshot', table: 'volumeSnapshots' },
  { folder: 'images', what: 'image', table: 'images' },
  { folder: 'uploads', what: 'upload of an image', table: 'images' },
] as const

/** Lists what belongs to no row, a finding each; with `isToRemove` it goes, as far as nothing needs it. */
export async function lookAtDisks(config: Config, isToRemove: boolean): Promise<Finding[]> {
  const [name, fine] = ['files', `everything below ${config.data} belongs to something`]
  const url = config.database || join(config.data, 'novella.db')
  if (!existsSync(config.data) || (config.database === '' && !existsSync(url))) {
    return [ok(name, `nothing is below ${config.data} yet`)]
  }
  if (isToRemove && findOwner(config.data) !== undefined) {
    const advice = `novella down --data ${config.data}; servers go on running`
    return [warn(name, 'nothing is removed while Novella works on them', advice)]
  }
  using _ = isToRemove ? lockDataDirectory(config.data) : undefined
  await using db = await openDatabaseAsIs(url)
  let orphans: Orphan[]
  try {
    orphans = await findOrphans(config.data, db)
  } catch (error) {
    const advice = 'nothing was removed; an older database is brought up to date by a start of this Novella'
    return [warn(name, `it could not be told what belongs to nothing: ${(error as Error).message}`, advice)]
  }
  const findings = orphans.map((orphan) => describe(orphan, isToRemove))
  if (isToRemove) {
    for (const { path, keptFor } of orphans) if (keptFor === null) await rm(path, { recursive: true, force: true })
  }
  return findings.length > 0 ? findings : [ok(name, fine)]
}

function describe({ path, what, id, sizeBytes, keptFor }: Orphan, isToRemove: boolean): Finding {
  const note = `${path} (${what} ${id}, ${mib(sizeBytes)}) belongs to nothing`
  if (keptFor !== null) return warn('files', note, keptFor)
  return isToRemove ? ok('files', `${note}: removed`) : warn('files', note, 'novella doctor --remove removes it')
}

const mib = (bytes: number): string => `${(bytes / 1024 ** 2).toFixed(1)} MiB`

/** What stands on disk and is in no table. Only looks. */
export async function findOrphans(dataDir: string, db: Pick<Database, 'read'>): Promise<Orphan[]> {
  // The disk first: whatever is made from now on is not in the list, and has its row before its files.
  const found = await Promise.all(
    PLACES.map(async (place) => ({ ...place, names: await readdir(join(dataDir, place.folder)).catch(() => []) })),
  )
  const orphans: Orphan[] = []
  for (const { folder, what, table, names } of found) {
    const known = new Set(await readIds(db, table))
    for (const name of names) {
      const id = name.split('.', 1)[0] ?? ''
      if (!isUuidLike(id) || known.has(id)) continue
      const path = join(dataDir, folder, name)
      // It may have gone with its row meanwhile.
      const sizeBytes = await readUsedBytes(path)
      if (sizeBytes !== undefined) orphans.push({ path, what, id, sizeBytes, keptFor: null })
    }
  }
  const open = orphans.length > 0 ? await readOpenFiles() : new Map<string, number>()
  const used = await Promise.all(
    orphans.map(async (orphan) => ({
      ...orphan,
      keptFor: whyUsed(orphan, dataDir, await findUser(orphan.path, open)),
    })),
  )
  const leaning = await readLeaning(dataDir, used)
  return used.map((orphan) => ({ ...orphan, keptFor: orphan.keptFor ?? whyNeeded(orphan, leaning) }))
}

async function readIds(db: Pick<Database, 'read'>, table: (typeof PLACES)[number]['table']): Promise<string[]> {
  if (table === 'servers') {
    const rows = await db.read.selectFrom('servers').select('id').where('deletedAt', 'is', null).execute()
    return rows.map(({ id }) => id)
  }
  return (await db.read.selectFrom(table).select('id').execute()).map(({ id }) => id)
}

/** Why it must stay when a process has it. @param user one that has a file of it open. */
function whyUsed({ what, id }: Orphan, dataDir: string, user: number | undefined): string | null {
  if (what === 'server') {
    const files = serverFiles(join(dataDir, 'servers'), id)
    const record = readRecord(files)
    const pid = record && findPid(files, record)
    if (pid !== undefined) return `its guest runs (process ${pid}); end that first: kill ${pid}`
  }
  return user === undefined ? null : `process ${user} has it open; end that first`
}

const whyNeeded = ({ path }: Orphan, leaning: ReadonlySet<string>): string | null =>
  leaning.has(nameOfBase(path)) ? 'it stays while disks are made of it' : null

/** Every file that a process has open, by its place on the disk, with the process. Needs root to see those of others. */
async function readOpenFiles(): Promise<Map<string, number>> {
  const open = new Map<string, number>()
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const file = await stat(`/proc/${pid}/fd/${fd}`).catch(() => undefined)
      if (file?.isFile()) open.set(placeOf(file), Number(pid))
    }
  }
  return open
}

const placeOf = ({ dev, ino }: { dev: number; ino: number }): string => `${dev}:${ino}`

/** A process that has a file at or below this path open. */
async function findUser(path: string, open: ReadonlyMap<string, number>): Promise<number | undefined> {
  const own = await stat(path).catch(() => undefined)
  if (!own?.isDirectory()) return own && open.get(placeOf(own))
  for (const name of await readdir(path)) {
    const user = await findUser(join(path, name), open)
    if (user !== undefined) return user
  }
  return undefined
}

/** A base by its shelf and its own name: what headers say of directories above may be from before a move. */
const nameOfBase = (directory: string): string => `${basename(dirname(directory))}/${basename(directory)}`

/**
 * The bases that disks lean on, of those that belong to something.
 * @throws Error for a disk whose header cannot be read: what it leans on is not known then.
 */
async function readLeaning(dataDir: string, orphans: readonly Orphan[]): Promise<Set<string>> {
  const going = orphans.filter(({ what, keptFor }) => keptFor === null && (what === 'server' || what === 'volume'))
  const gone = new Set(going.map(({ path }) => path))
  const bases = new Set<string>()
  for (const folder of ['servers', 'volumes']) {
    for (const name of await readdir(join(dataDir, folder)).catch(() => [])) {
      const directory = join(dataDir, folder, name)
      const disks = gone.has(directory) ? [] : await readdir(directory).catch(() => [])
      for (const disk of disks.filter((one) => one.endsWith('.qcow2'))) {
        const { backingFile } = await readQcow2Header(join(directory, disk))
        if (backingFile !== undefined) bases.add(nameOfBase(dirname(backingFile)))
      }
    }
  }
  return bases
}

/** What a file or directory takes on the disk, in bytes; undefined when it is not there. */
async function readUsedBytes(path: string): Promise<number | undefined> {
  const own = await stat(path).catch(() => undefined)
  if (!own) return undefined
  if (!own.isDirectory()) return own.blocks * 512
  const parts = await Promise.all((await readdir(path)).map((name) => readUsedBytes(join(path, name))))
  return parts.reduce<number>((sum, bytes) => sum + (bytes ?? 0), own.blocks * 512)
}
