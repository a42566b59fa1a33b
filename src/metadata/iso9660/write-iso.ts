/**
 * An ISO 9660 image in memory: the file system of a config drive. Names are told in three ways: Rock Ridge, which Unix
 * reads; Joliet, which Windows reads; and in capitals for whoever knows neither.
 *
 *   0–15 nothing │ 16 descriptor, 17 Joliet's, 18 end │ path tables │ Rock Ridge's word │ directories │ Joliet's │ files
 *
 * Not for what is large: everything is built in one buffer. No boot record, no links, no file above 4 GiB.
 * Source: ECMA-119 (ISO 9660), 4th edition; Joliet Specification, 1995; IEEE P1282 (Rock Ridge).
 */
import {
  both16,
  both32,
  continuedAt,
  directoryRecord,
  type Extent,
  packRecords,
  pathTable,
  posixFile,
  ROCK_RIDGE,
  realName,
  SECTOR_BYTES,
  SHARING_BEGINS,
  toSectors,
} from './iso-records.ts'
import {
  type IsoFile,
  JOLIET,
  type Naming,
  type NumberedDirectory,
  numberDirectories,
  PLAIN,
  readTree,
} from './iso-tree.ts'

const FIRST_DESCRIPTOR = 16
/** After the three descriptors. */
const FIRST_TABLE = FIRST_DESCRIPTOR + 3

const SELF = Buffer.from([0])
const PARENT = Buffer.from([1])

/** One of the two sets of directories over the same files. */
interface Hierarchy {
  directories: NumberedDirectory[]
  /** Where each of them lies, in their order. */
  extents: Extent[]
  /** The bytes of each path table, and the sectors of the two. */
  tableBytes: number
  tables: { little: number; big: number }
  isJoliet: boolean
}

/**
 * The image with these files, and the directories they lie in.
 * @param label its name, 16 letters at most; as it is, also in small letters, which ISO 9660 does not know.
 * @param writtenAt epoch milliseconds.
 * @throws Error for a label or a path that does not fit.
 */
export function writeIso(label: string, files: readonly IsoFile[], writtenAt: number): Buffer {
  if (!/^[\w-]{1,16}$/.test(label)) throw new Error(`${JSON.stringify(label)} cannot be the name of an image.`)
  const tree = readTree(files)
  let next = FIRST_TABLE
  const take = (bytes: number): number => {
    const sector = next
    next += Math.ceil(bytes / SECTOR_BYTES)
    return sector
  }
  const begun = [PLAIN, JOLIET].map((naming) => beginHierarchy(numberDirectories(tree, naming), naming, take))
  const extension = take(ROCK_RIDGE.length)
  const write = new RecordWriter(new Date(writtenAt), extension)
  const hierarchies = begun.map((hierarchy) => ({
    ...hierarchy,
    // How long directories are does not depend on where anything lies.
    extents: hierarchy.directories.map((directory) => {
      const bytes = write.directory(directory, hierarchy.isJoliet, nowhere, nowhere).length
      return { sector: take(bytes), bytes }
    }),
  }))
  const contents = new Map(
    files.map((file) => [
      file,
      { sector: file.content.length === 0 ? 0 : take(file.content.length), bytes: file.content.length },
    ]),
  )

  const image = Buffer.alloc(next * SECTOR_BYTES)
  const put = (sector: number, bytes: Buffer) => void bytes.copy(image, sector * SECTOR_BYTES)
  for (const [index, hierarchy] of hierarchies.entries()) {
    const { directories, extents, tables, isJoliet } = hierarchy
    const sectors = extents.map(({ sector }) => sector)
    put(FIRST_DESCRIPTOR + index, descriptor(label, hierarchy, next, write))
    put(tables.little, pathTable(directories, sectors, false))
    put(tables.big, pathTable(directories, sectors, true))
    const placeOf = (directory: NumberedDirectory) => extents[directory.number - 1] ?? NOWHERE
    for (const [at, directory] of directories.entries()) {
      put(
        sectors[at] ?? 0,
        write.directory(directory, isJoliet, placeOf, (file) => contents.get(file) ?? NOWHERE),
      )
    }
  }
  put(FIRST_DESCRIPTOR + 2, Buffer.from('\xffCD001\x01', 'latin1'))
  put(extension, toSectors(ROCK_RIDGE))
  for (const [{ content }, { sector }] of contents) put(sector, content)
  return image
}

const NOWHERE: Extent = { sector: 0, bytes: 0 }
const nowhere = (): Extent => NOWHERE

function beginHierarchy(
  directories: NumberedDirectory[],
  naming: Naming,
  take: (bytes: number) => number,
): Omit<Hierarchy, 'extents'> {
  const tableBytes = pathTable(directories, [], false).length
  return {
    ...{ directories, tableBytes, isJoliet: naming === JOLIET },
    tables: { little: take(tableBytes), big: take(tableBytes) },
  }
}

class RecordWriter {
  readonly writtenAt: Date
  readonly #extension: number

  constructor(writtenAt: Date, extension: number) {
    this.writtenAt = writtenAt
    this.#extension = extension
  }

  /** All of a directory: itself, its parent, its members. Rock Ridge is in the plain hierarchy alone. */
  directory(
    directory: NumberedDirectory,
    isJoliet: boolean,
    placeOf: (directory: NumberedDirectory) => Extent,
    contentOf: (file: IsoFile) => Extent,
  ): Buffer {
    const { parent, members } = directory
    const record = (identifier: Buffer, extent: Extent, isDirectory: boolean, extra: Buffer[]) => {
      const { writtenAt } = this
      return directoryRecord(identifier, extent, {
        isDirectory,
        writtenAt,
        extra: Buffer.concat(isJoliet ? [] : extra),
      })
    }
    const isRoot = parent === directory
    const begins = isRoot ? [SHARING_BEGINS, continuedAt(this.#extension, ROCK_RIDGE.length)] : []
    return packRecords([
      record(SELF, placeOf(directory), true, [...begins, posixFile(true, linksOf(directory))]),
      record(PARENT, placeOf(parent), true, [posixFile(true, linksOf(parent))]),
      ...members.map(({ identifier, name, directory: child, file }) =>
        child
          ? record(identifier, placeOf(child), true, [posixFile(true, linksOf(child)), realName(name)])
          : record(identifier, file ? contentOf(file) : NOWHERE, false, [posixFile(false, 1), realName(name)]),
      ),
    ])
  }

  /** How the root is told in a descriptor. */
  root(extent: Extent): Buffer {
    return directoryRecord(SELF, extent, { isDirectory: true, writtenAt: this.writtenAt, extra: Buffer.alloc(0) })
  }
}

/** Its own `.`, its name, and the `..` of each directory in it. */
const linksOf = ({ members }: NumberedDirectory): number => 2 + members.filter(({ directory }) => directory).length

/** The sector that says what the image is and where a hierarchy begins. Source: ECMA-119, 8.4 and 8.5. */
function descriptor(label: string, hierarchy: Hierarchy, sectors: number, write: RecordWriter): Buffer {
  const { isJoliet, extents, tableBytes, tables } = hierarchy
  const bytes = Buffer.alloc(SECTOR_BYTES)
  const blank = isJoliet ? Buffer.from([0, 0x20]) : ' '
  const text = (value: string, from: number, length: number) => {
    bytes.fill(blank, from, from + length - (isJoliet ? length % 2 : 0))
    bytes.set(isJoliet ? Buffer.from(value, 'utf16le').swap16() : Buffer.from(value, 'latin1'), from)
  }
  bytes.set(Buffer.from(`${isJoliet ? '\x02' : '\x01'}CD001\x01`, 'latin1'))
  text('LINUX', 8, 32)
  text(label, 40, 32)
  bytes.set(both32(sectors), 80)
  // Which letters Joliet writes in: UTF-16 of level 3.
  if (isJoliet) bytes.set(Buffer.from('%/E', 'latin1'), 88)
  bytes.set(both16(1), 120)
  bytes.set(both16(1), 124)
  bytes.set(both16(SECTOR_BYTES), 128)
  bytes.set(both32(tableBytes), 132)
  bytes.writeUInt32LE(tables.little, 140)
  bytes.writeUInt32BE(tables.big, 148)
  bytes.set(write.root(extents[0] ?? NOWHERE), 156)
  text('', 190, 128 * 4)
  text('NOVELLA', 574, 128)
  text('', 702, 37 * 3)
  const written = `${write.writtenAt.toISOString().replace(/\D/g, '').slice(0, 16)}\0`
  for (const [from, date] of [
    [813, written],
    [830, written],
    [847, `${'0'.repeat(16)}\0`],
    [864, `${'0'.repeat(16)}\0`],
  ] as const) {
    bytes.set(Buffer.from(date, 'latin1'), from)
  }
  bytes[881] = 1
  return bytes
}
