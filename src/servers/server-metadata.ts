import type { Config } from '../config.ts'
import { ApiError } from '../http/api-error.ts'

/** @throws ApiError forbidden for more items than a server or an image of one may have. */
export function assertMetadataQuota({ config }: { config: Config }, metadata: Record<string, string>): void {
  const items = Object.keys(metadata).length
  if (config.quotaMetadata < 0 || items <= config.quotaMetadata) return
  const message = `Quota exceeded for metadata_items: requested ${items}, the limit is ${config.quotaMetadata}.`
  throw new ApiError('forbidden', message)
}
