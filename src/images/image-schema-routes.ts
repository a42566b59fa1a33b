import type { Cloud } from '../cloud.ts'
import type { App } from '../http/app.ts'
import { CONTAINER_FORMATS, DISK_FORMATS } from './image-formats.ts'
import { ImageAnswer, ImageListAnswer, MemberAnswer, MemberListAnswer } from './image-schema.ts'

/** What clients learn besides the type: what they may write there. */
const HINTS: Readonly<Record<string, object>> = {
  id: { pattern: '^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$' },
  name: { maxLength: 255 },
  visibility: { enum: ['community', 'public', 'private', 'shared'] },
  disk_format: { enum: [null, ...DISK_FORMATS] },
  container_format: { enum: [null, ...CONTAINER_FORMATS] },
  status: { enum: ['queued', 'saving', 'active', 'killed', 'deleted', 'uploading', 'importing', 'deactivated'] },
}
const READ_ONLY = [
  ...['status', 'checksum', 'os_hash_algo', 'os_hash_value', 'size', 'virtual_size', 'created_at', 'updated_at'],
  ...['self', 'file', 'schema'],
]

/** Glance writes `{"type": ["null", "string"]}` where we have two alternatives; glanceclient reads nothing else. */
function plainType(schema: object): object {
  const { anyOf, ...rest } = schema as { anyOf?: { type: string }[] }
  return anyOf ? { ...rest, type: anyOf.map(({ type }) => type) } : schema
}

const imageProperties = Object.fromEntries(
  Object.entries(ImageAnswer.properties).map(([name, schema]) => [
    name,
    { ...plainType(schema), ...HINTS[name], ...(READ_ONLY.includes(name) ? { readOnly: true } : {}) },
  ]),
)

/** What an answer looks like, in the words of Glance: JSON schema with a name, and links that are templates. */
const IMAGE = {
  name: 'image',
  properties: imageProperties,
  additionalProperties: { type: 'string' },
  links: [
    { rel: 'self', href: '{self}' },
    { rel: 'enclosure', href: '{file}' },
    { rel: 'describedby', href: '{schema}' },
  ],
}
const IMAGES = {
  name: 'images',
  properties: { ...ImageListAnswer.properties, images: { type: 'array', items: IMAGE } },
  links: [
    { rel: 'first', href: '{first}' },
    { rel: 'next', href: '{next}' },
    { rel: 'describedby', href: '{schema}' },
  ],
}
const MEMBER = {
  name: 'member',
  properties: { ...MemberAnswer.properties, status: { type: 'string', enum: ['pending', 'accepted', 'rejected'] } },
}
const MEMBERS = {
  name: 'members',
  properties: { ...MemberListAnswer.properties, members: { type: 'array', items: MEMBER } },
  links: [{ rel: 'describedby', href: '{schema}' }],
}

/**
 * The schemas that answers point to. glanceclient asks for them before anything else and shows only what they name.
 * They are made from what our own answers are checked by, so they cannot say otherwise.
 */
export function imageSchemaRoutes(app: App, _cloud: Cloud): void {
  for (const path of ['/v2/schemas', '/image/v2/schemas']) {
    for (const schema of [IMAGE, IMAGES, MEMBER, MEMBERS]) {
      app.get(`${path}/${schema.name}`, { config: { operation: 'images:read' } }, async () => schema)
    }
  }
}
