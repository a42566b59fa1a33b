import type { Static } from 'typebox'
import { timestampA } from '../http/timestamps.ts'
import type { RawQuery } from './image-query.ts'
import type { ImageAnswer, ImageListAnswer } from './image-schema.ts'
import type { Image } from './image-store.ts'

/** An image as Glance shows it. A property cannot take the place of a member that Glance itself has. */
export function imageView(image: Image): Static<typeof ImageAnswer> {
  const properties: Record<string, string> = JSON.parse(image.properties)
  return {
    ...properties,
    id: image.id,
    name: image.name,
    status: image.status,
    visibility: image.visibility,
    owner: image.projectId,
    protected: image.isProtected === 1,
    os_hidden: false,
    tags: JSON.parse(image.tags),
    size: image.sizeBytes,
    virtual_size: image.virtualSizeBytes,
    checksum: image.checksum,
    os_hash_algo: image.hashAlgorithm,
    os_hash_value: image.hashValue,
    disk_format: image.diskFormat,
    container_format: image.containerFormat,
    min_disk: image.minDiskGib,
    min_ram: image.minRamMib,
    created_at: timestampA(image.createdAt),
    updated_at: timestampA(image.updatedAt),
    self: `/v2/images/${image.id}`,
    file: `/v2/images/${image.id}/file`,
    schema: '/v2/schemas/image',
  }
}

/** A page of images; `next` is there when more follow. */
export function imageListView(
  page: { images: readonly Image[]; hasMore: boolean },
  query: RawQuery,
): Static<typeof ImageListAnswer> {
  const last = page.images.at(-1)
  return {
    images: page.images.map(imageView),
    first: listPath(query),
    ...(page.hasMore && last ? { next: listPath(query, last.id) } : {}),
    schema: '/v2/schemas/images',
  }
}

/** The list with the same query, from the beginning or behind `marker`. */
function listPath(query: RawQuery, marker?: string): string {
  const members = new URLSearchParams()
  for (const [name, values] of Object.entries(query)) {
    if (name !== 'marker') for (const value of [values].flat()) members.append(name, value)
  }
  if (marker !== undefined) members.append('marker', marker)
  return members.size === 0 ? '/v2/images' : `/v2/images?${members}`
}
