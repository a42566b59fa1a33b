/**
 * Changes to an image, as JSON patch in the two forms that Glance has had. All changes of one request happen, or none.
 *
 *   application/openstack-images-v2.1-json-patch   [{"op": "replace", "path": "/name", "value": "x"}]   (RFC 6902)
 *   application/openstack-images-v2.0-json-patch   [{"replace": "/name", "value": "x"}]                 (a draft of it)
 */
import { ApiError } from '../http/api-error.ts'
import { demandConsistent, demandWritable, isOwnMember, type WrittenImage, writeMember } from './image-attributes.ts'

export type PatchForm = 'v2.0' | 'v2.1'

/** What a client that sent something else is told in `Accept-Patch`. */
export const PATCH_TYPES: Readonly<Record<PatchForm, string>> = {
  'v2.1': 'application/openstack-images-v2.1-json-patch',
  'v2.0': 'application/openstack-images-v2.0-json-patch',
}

export interface ImageChange {
  op: 'add' | 'replace' | 'remove'
  /** A member or a property. */
  name: string
  value?: unknown
}

const OPS = ['add', 'replace', 'remove'] as const
/** More changes than an image can have members. */
const MOST_CHANGES = 1_000

const bad = (message: string): ApiError => new ApiError('badRequest', message)

/** Which form a media type announces; undefined for another. Parameters are not looked at. */
export function formOf(contentType: string | undefined): PatchForm | undefined {
  const type = contentType?.split(';', 1)[0]?.trim().toLowerCase()
  return (Object.keys(PATCH_TYPES) as PatchForm[]).find((form) => PATCH_TYPES[form] === type)
}

/** @throws ApiError badRequest for what is no patch; forbidden for members that no user may write. */
export function readPatch(form: PatchForm, body: unknown): ImageChange[] {
  if (!Array.isArray(body)) throw bad('The body must be a list of changes.')
  if (body.length > MOST_CHANGES) throw bad(`There must be at most ${MOST_CHANGES} changes at once.`)
  return body.map((one: unknown) => readChange(form, one))
}

function readChange(form: PatchForm, change: unknown): ImageChange {
  if (change === null || typeof change !== 'object' || Array.isArray(change)) {
    throw bad('Each change must be an object with op, path and value.')
  }
  const members = change as Record<string, unknown>
  const { op, path } = form === 'v2.1' ? members : readDraft(members)
  if (typeof op !== 'string' || !OPS.includes(op as (typeof OPS)[number])) {
    throw bad(`'op' must be one of ${OPS.join(', ')}.`)
  }
  const name = readPath(path)
  demandWritable(name)
  if (op === 'remove') return { op, name }
  if (!Object.hasOwn(members, 'value')) throw bad(`The change of '${name}' lacks a value.`)
  return { op: op as 'add' | 'replace', name, value: members.value }
}

function readDraft(members: Record<string, unknown>): { op: unknown; path: unknown } {
  const named = OPS.filter((op) => Object.hasOwn(members, op))
  const [op] = named
  if (op === undefined || named.length > 1) throw bad(`Each change must have one of ${OPS.join(', ')}.`)
  return { op, path: members[op] }
}

/** A JSON pointer (RFC 6901) to one member. */
function readPath(path: unknown): string {
  if (typeof path !== 'string' || !path.startsWith('/')) throw bad("'path' must be a text that begins with '/'.")
  if (/~(?![01])/.test(path)) throw bad(`'${path.slice(0, 60)}' has a '~' that is neither ~0 nor ~1.`)
  const parts = path.slice(1).split('/')
  if (parts.length !== 1) throw bad(`'${path.slice(0, 60)}' points into a member; only whole members are changed.`)
  return (parts[0] ?? '').replaceAll('~1', '/').replaceAll('~0', '~')
}

/**
 * The image with all changes, in their order; the given one stays as it is.
 * @throws ApiError conflictingRequest for a property that is not there; forbidden for a member that must be;
 *   badRequest, overLimit for values that cannot be.
 */
export function applyPatch(image: Readonly<WrittenImage>, changes: readonly ImageChange[]): WrittenImage {
  const changed: WrittenImage = { ...image, tags: [...image.tags], properties: { ...image.properties } }
  for (const { op, name, value } of changes) {
    const isThere = isOwnMember(name) || Object.hasOwn(changed.properties, name)
    if (op !== 'add' && !isThere) {
      throw new ApiError('conflictingRequest', `Property ${name} does not exist.`)
    }
    if (op !== 'remove') writeMember(changed, name, value)
    else if (isOwnMember(name)) throw new ApiError('forbidden', `Property ${name} may not be removed.`)
    else delete changed.properties[name]
  }
  demandConsistent(changed)
  return changed
}
