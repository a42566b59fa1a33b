import type { Cloud } from '../cloud.ts'
import type { App } from '../http/app.ts'
import { ImageAnswer, ImageListAnswer } from './image-schema.ts'

/** What an answer looks like, in the words of Glance: JSON schema with a name, and links that are templates. */
const IMAGE = {
  name: 'image',
  properties: ImageAnswer.properties,
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

/**
 * The schemas that answers point to. glanceclient asks for them before anything else and shows only what they name.
 * They are made from what our own answers are checked by, so they cannot say otherwise.
 */
export function imageSchemaRoutes(app: App, _cloud: Cloud): void {
  for (const path of ['/v2/schemas', '/image/v2/schemas']) {
    for (const schema of [IMAGE, IMAGES]) {
      app.get(`${path}/${schema.name}`, { config: { operation: 'images:read' } }, async () => schema)
    }
  }
}
