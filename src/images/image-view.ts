import type { Static } from 'typebox'
import type { Row } from '../db/schema.ts'
import { timestampA } from '../http/timestamps.ts'
import type { Verdict } from './formats/verdict.ts'
import type { RawQuery } from './image-query.ts'
import type { ImageAnswer, ImageListAnswer, InspectionAnswer, MemberAnswer } from './image-schema.ts'
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
    os_hidden: image.isHidden === 1,
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
    ...refusalOf(image),
  }
}

/** Why there are no bytes, where some were refused; the whole inspection has a path of its own. */
function refusalOf({ status, verdict }: Image): { novella_refusal?: string } {
  if (verdict === null || (status !== 'queued' && status !== 'killed')) return {}
  const { refusal } = JSON.parse(verdict) as Verdict
  return refusal ? { novella_refusal: refusal.message } : {}
}

/** What the inspection of an image's bytes looked at, and where it ended. */
export function inspectionView({ id, verdict }: Image): Static<typeof InspectionAnswer> {
  const found = verdict === null ? null : (JSON.parse(verdict) as Verdict)
  return {
    image_id: id,
    outcome: found === null ? 'none' : found.refusal ? 'refused' : 'passed',
    format: found?.format ?? null,
    virtual_size: found?.virtualSizeBytes ?? null,
    checks: found?.checks ?? [],
    refusal: found?.refusal ?? null,
  }
}

/** A project that an image is shared with. */
export function memberView(member: Row<'imageMembers'>): Static<typeof MemberAnswer> {
  return {
    image_id: member.imageId,
    member_id: member.memberId,
    status: member.status,
    created_at: timestampA(member.createdAt),
    updated_at: timestampA(member.updatedAt),
    schema: '/v2/schemas/member',
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
