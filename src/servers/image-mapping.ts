/**
 * The disks that an image brings: images of servers that boot from a volume have no bytes, but say which snapshots the
 * disks of a server are made from. Anybody can write such properties, so nothing in them is believed.
 */
import { Ajv, type ValidateFunction } from 'ajv'
import { type Static, Type } from 'typebox'
import { ApiError } from '../http/api-error.ts'
import { IMAGE_MAPPING } from '../images/image-store.ts'
import { MappingItem } from './mapping-schema.ts'

let validate: ValidateFunction | undefined

/**
 * The items of an image's mapping, in the form that creates have.
 * @throws ApiError badRequest for anything that is none, and for volumes: those are whoever's they are, not the image's.
 */
export function readImageMapping(
  imageId: string,
  properties: Readonly<Record<string, string>>,
): Static<typeof MappingItem>[] {
  const invalid = (reason: string) =>
    new ApiError('badRequest', `The disks that image ${imageId} brings cannot be made: ${reason}`)
  if (!/^(true|1)$/i.test(properties.bdm_v2 ?? '')) throw invalid('its bdm_v2 is not True.')
  let items: unknown
  try {
    items = JSON.parse(properties[IMAGE_MAPPING] ?? '')
  } catch (cause) {
    throw new ApiError('badRequest', invalid('its block_device_mapping is no JSON.').message, { cause })
  }
  validate ??= new Ajv({ validateSchema: false, strict: false }).compile(Type.Array(MappingItem, { maxItems: 16 }))
  if (!validate(items)) {
    const [error] = validate.errors ?? []
    const place = `block_device_mapping${(error?.instancePath ?? '').replaceAll('/', '.')}`
    throw invalid(`${place} ${error?.message ?? 'is not valid'}.`)
  }
  const all = items as Static<typeof MappingItem>[]
  if (all.some(({ source_type: source }) => source === 'volume')) throw invalid('it names a volume.')
  return all
}
