/**
 * What users may write of an image: its own members, and free properties beside them. The same rules hold for what is
 * created and what is changed. Pure: values in, values out.
 * Source: Glance's glance/api/v2/images.py and shared/spec/neighbours.md, section 3.
 */
import type { ImageVisibility } from '../db/volume-schema.ts'
import { ApiError } from '../http/api-error.ts'
import { complainOfHardware } from './hardware-of.ts'
import { CONTAINER_FORMATS, complainOfFormats, DISK_FORMATS } from './image-formats.ts'

/** The part of an image that users write. */
export interface WrittenImage {
  name: string | null
  visibility: ImageVisibility
  diskFormat: string | null
  containerFormat: string | null
  minDiskGib: number
  minRamMib: number
  isProtected: boolean
  isHidden: boolean
  owner: string | null
  /** In the order they came, each once. */
  tags: string[]
  properties: Record<string, string>
}

/** Most items of each kind; Glance's own. */
export const MOST_TAGS = 128
export const MOST_PROPERTIES = 128
const LONGEST_NAME = 255
/** As Glance's database holds it. */
const LONGEST_VALUE = 65_535
const LARGEST_INTEGER = 2 ** 31 - 1

/** Members that the service alone writes. */
const READ_ONLY = new Set([
  ...['id', 'status', 'checksum', 'os_hash_algo', 'os_hash_value', 'size', 'virtual_size', 'created_at', 'updated_at'],
  ...['self', 'file', 'schema', 'direct_url', 'locations', 'stores'],
])
/** Members that Glance keeps for itself; they are none of an image. */
const RESERVED = new Set(['deleted', 'deleted_at', 'is_public', 'location', 'members', 'first', 'next'])
/** Names of properties that tell what a service found. */
const RESERVED_PREFIX = /^(os_glance_|novella_)/
/** Of these clients write null for none. */
const NULLABLE_PROPERTIES = ['kernel_id', 'ramdisk_id']

const bad = (message: string): ApiError => new ApiError('badRequest', message)
const forbidden = (message: string): ApiError => new ApiError('forbidden', message)

type Setter = (image: WrittenImage, value: unknown) => void

const SETTERS: Readonly<Record<string, Setter>> = {
  name: (image, value) => {
    image.name = value === null ? null : readText('name', value, LONGEST_NAME)
  },
  visibility: (image, value) => {
    image.visibility = readWord('visibility', value, VISIBILITIES) as ImageVisibility
  },
  disk_format: (image, value) => {
    image.diskFormat = value === null ? null : readWord('disk_format', value, DISK_FORMATS)
  },
  container_format: (image, value) => {
    image.containerFormat = value === null ? null : readWord('container_format', value, CONTAINER_FORMATS)
  },
  min_disk: (image, value) => {
    image.minDiskGib = readCount('min_disk', value)
  },
  min_ram: (image, value) => {
    image.minRamMib = readCount('min_ram', value)
  },
  protected: (image, value) => {
    image.isProtected = readFlag('protected', value)
  },
  os_hidden: (image, value) => {
    image.isHidden = readFlag('os_hidden', value)
  },
  owner: (image, value) => {
    image.owner = readText('owner', value, LONGEST_NAME)
  },
  tags: (image, value) => {
    image.tags = readTags(value)
  },
}

const VISIBILITIES: readonly string[] = ['public', 'private', 'shared', 'community']

/** Whether a name is one of the image's own members, which always have a value. */
export const isOwnMember = (name: string): boolean => Object.hasOwn(SETTERS, name)

/**
 * Refuses names that no user may write.
 * @throws ApiError forbidden; badRequest for a name that no property can have.
 */
export function demandWritable(name: string): void {
  if (READ_ONLY.has(name)) throw forbidden(`Attribute '${name}' is read-only.`)
  if (RESERVED.has(name) || RESERVED_PREFIX.test(name)) throw forbidden(`Attribute '${name}' is reserved.`)
  if (name === '' || name.length > LONGEST_NAME) throw bad(`A property has a name of 1 to ${LONGEST_NAME} characters.`)
  // It would change what objects inherit.
  if (name === '__proto__') throw bad(`No property can be named '${name}'.`)
}

/**
 * Writes one member or property.
 * @throws ApiError badRequest when the value cannot be; forbidden when the name must not be written.
 */
export function writeMember(image: WrittenImage, name: string, value: unknown): void {
  demandWritable(name)
  const setter = Object.hasOwn(SETTERS, name) ? SETTERS[name] : undefined
  if (setter) setter(image, value)
  else if (value === null && NULLABLE_PROPERTIES.includes(name)) delete image.properties[name]
  else image.properties[name] = readText(name, value, LONGEST_VALUE)
}

/**
 * What the members of an image must be together, after all of them were written.
 * @throws ApiError overLimit for too many; badRequest for what does not fit.
 */
export function demandConsistent(image: WrittenImage): void {
  if (image.tags.length > MOST_TAGS) throw new ApiError('overLimit', `An image has at most ${MOST_TAGS} tags.`)
  if (Object.keys(image.properties).length > MOST_PROPERTIES) {
    throw new ApiError('overLimit', `An image has at most ${MOST_PROPERTIES} properties.`)
  }
  const complaint = complainOfFormats(image.diskFormat, image.containerFormat) ?? complainOfHardware(image.properties)
  if (complaint !== undefined) throw bad(complaint)
}

/** An image as it is when its creator says nothing. Glance: `shared`, which without members is private. */
export const newWrittenImage = (owner: string): WrittenImage => ({
  name: null,
  visibility: 'shared',
  diskFormat: null,
  containerFormat: null,
  minDiskGib: 0,
  minRamMib: 0,
  isProtected: false,
  isHidden: false,
  owner,
  tags: [],
  properties: {},
})

/** A tag as it may be. @throws ApiError badRequest */
export function readTag(value: unknown): string {
  return readText('tags', value, LONGEST_NAME)
}

function readTags(value: unknown): string[] {
  if (!Array.isArray(value)) throw bad("'tags' must be a list of words.")
  return [...new Set(value.map(readTag))]
}

function readText(name: string, value: unknown, longest: number): string {
  if (typeof value !== 'string') throw bad(`'${name}' must be a text.`)
  if (value.length > longest) throw bad(`'${name}' must have at most ${longest} characters.`)
  return value
}

function readWord(name: string, value: unknown, words: readonly string[]): string {
  if (typeof value !== 'string' || !words.includes(value)) {
    throw bad(`'${name}' must be one of ${words.join(', ')}, not ${JSON.stringify(value)?.slice(0, 60)}.`)
  }
  return value
}

function readCount(name: string, value: unknown): number {
  if (!Number.isInteger(value) || Number(value) < 0 || Number(value) > LARGEST_INTEGER) {
    throw bad(`'${name}' must be a whole number from 0 to ${LARGEST_INTEGER}.`)
  }
  return Number(value)
}

function readFlag(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw bad(`'${name}' must be true or false.`)
  return value
}
