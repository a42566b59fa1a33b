/** The records that ISO 9660 images are made of, and what Rock Ridge adds to them. Pure. Source: ECMA-119; IEEE P1282. */
import type { NumberedDirectory } from './iso-tree.ts'

export const SECTOR_BYTES = 2_048

/** Numbers stand there twice, in either order of bytes. */
export function both32(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeUInt32LE(value, 0)
  bytes.writeUInt32BE(value, 4)
  return bytes
}

export function both16(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt16LE(value, 0)
  bytes.writeUInt16BE(value, 2)
  return bytes
}

/** Where something lies, in sectors, and how long it is, in bytes. */
export interface Extent {
  sector: number
  bytes: number
}

const IS_DIRECTORY = 2

/** One line of a directory. Its time is in UTC. @param extra what Rock Ridge has to say. */
export function directoryRecord(
  identifier: Buffer,
  { sector, bytes }: Extent,
  { isDirectory, writtenAt, extra }: { isDirectory: boolean; writtenAt: Date; extra: Buffer },
): Buffer {
  const fill = Buffer.alloc(identifier.length % 2 === 0 ? 1 : 0)
  const body = Buffer.concat([
    both32(sector),
    both32(bytes),
    Buffer.from([
      writtenAt.getUTCFullYear() - 1900,
      writtenAt.getUTCMonth() + 1,
      writtenAt.getUTCDate(),
      writtenAt.getUTCHours(),
      writtenAt.getUTCMinutes(),
      writtenAt.getUTCSeconds(),
      0,
    ]),
    // Not interleaved: unit and gap are 0.
    Buffer.from([isDirectory ? IS_DIRECTORY : 0, 0, 0]),
    both16(1),
    Buffer.from([identifier.length]),
    identifier,
    fill,
    extra,
  ])
  // Records begin at even bytes.
  const length = 2 + body.length + (body.length % 2)
  return Buffer.concat([Buffer.from([length, 0]), body], length)
}

/** The records of a directory one after the other: none crosses a sector's end. */
export function packRecords(records: readonly Buffer[]): Buffer {
  const parts: Buffer[] = []
  let length = 0
  for (const record of records) {
    const left = SECTOR_BYTES - (length % SECTOR_BYTES)
    if (record.length > left) {
      parts.push(Buffer.alloc(left))
      length += left
    }
    parts.push(record)
    length += record.length
  }
  return toSectors(Buffer.concat(parts))
}

/** Filled up with zeros to whole sectors. */
export const toSectors = (bytes: Buffer): Buffer =>
  Buffer.concat([bytes], Math.ceil(bytes.length / SECTOR_BYTES) * SECTOR_BYTES)

/** The list of all directories by number, once for each order of bytes. */
export function pathTable(
  directories: readonly NumberedDirectory[],
  sectors: readonly number[],
  isBig: boolean,
): Buffer {
  return Buffer.concat(
    directories.map(({ identifier, parent }, index) => {
      const head = Buffer.alloc(8)
      head.writeUInt8(identifier.length, 0)
      const sector = sectors[index] ?? 0
      if (isBig) {
        head.writeUInt32BE(sector, 2)
        head.writeUInt16BE(parent.number, 6)
      } else {
        head.writeUInt32LE(sector, 2)
        head.writeUInt16LE(parent.number, 6)
      }
      return Buffer.concat([head, identifier, Buffer.alloc(identifier.length % 2)])
    }),
  )
}

const entry = (name: string, version: number, content: Buffer): Buffer =>
  Buffer.concat([Buffer.from(name, 'latin1'), Buffer.from([4 + content.length, version]), content])

/** Rock Ridge: what a file is to a Unix: root's, who alone may read it, since passwords are in there. */
export const posixFile = (isDirectory: boolean, links: number): Buffer =>
  entry('PX', 1, Buffer.concat([both32(isDirectory ? 0o040500 : 0o100400), both32(links), both32(0), both32(0)]))

/** Rock Ridge: its real name. */
export const realName = (name: string): Buffer =>
  entry('NM', 1, Buffer.concat([Buffer.from([0]), Buffer.from(name, 'latin1')]))

/** Says in the root that there is more to records than ISO 9660 knows. */
export const SHARING_BEGINS = entry('SP', 1, Buffer.from([0xbe, 0xef, 0]))

/** The rest of what a record has to say lies elsewhere. */
export const continuedAt = (sector: number, bytes: number): Buffer =>
  entry('CE', 1, Buffer.concat([both32(sector), both32(0), both32(bytes)]))

/** Which extension that is. */
export const ROCK_RIDGE = (() => {
  const texts = [
    'RRIP_1991A',
    'Names, owners and modes as a Unix has them.',
    'Rock Ridge Interchange Protocol, IEEE P1282.',
  ]
  const parts = texts.map((text) => Buffer.from(text, 'latin1'))
  return entry('ER', 1, Buffer.concat([Buffer.from([...parts.map(({ length }) => length), 1]), ...parts]))
})()
