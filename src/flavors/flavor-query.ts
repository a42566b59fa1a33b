import type { Static } from 'typebox'
import { ApiError } from '../http/api-error.ts'
import { readLimit } from '../http/paging.ts'
import type { FlavorListQuery } from './flavor-schema.ts'
import type { Flavor, FlavorQuery } from './flavor-store.ts'

/** Names of the columns, as Nova's database has them and its clients send them. */
const SORT_KEYS: Readonly<Record<string, keyof Flavor>> = {
  id: 'id',
  flavorid: 'id',
  name: 'name',
  memory_mb: 'ramMib',
  vcpus: 'vcpus',
  root_gb: 'diskGib',
  ephemeral_gb: 'ephemeralGib',
  swap: 'swapMib',
  rxtx_factor: 'rxtxFactor',
  is_public: 'isPublic',
  disabled: 'isDisabled',
}

/**
 * What a list of flavors is asked for. Who is no admin sees public and enabled ones, whatever `is_public` says.
 * @throws ApiError badRequest naming the parameter that makes no sense.
 * Source: shared/spec/faults.md, section 5.
 */
export function readFlavorQuery(query: Static<typeof FlavorListQuery>, caller: { isAdmin: boolean }): FlavorQuery {
  const isPublic = readIsPublic(query.is_public)
  const sortKey = query.sort_key ?? 'flavorid'
  const sortBy = Object.hasOwn(SORT_KEYS, sortKey) ? SORT_KEYS[sortKey] : undefined
  if (sortBy === undefined) {
    throw new ApiError('badRequest', `sort_key must be one of ${Object.keys(SORT_KEYS).join(', ')}, not '${sortKey}'.`)
  }
  const direction = query.sort_dir ?? 'asc'
  if (direction !== 'asc' && direction !== 'desc') {
    throw new ApiError('badRequest', `sort_dir must be asc or desc, not '${direction}'.`)
  }
  return {
    isPublic: caller.isAdmin ? isPublic : true,
    withDisabled: caller.isAdmin,
    minRamMib: readLeast('minRam', query.minRam),
    minDiskGib: readLeast('minDisk', query.minDisk),
    sortBy,
    isDescending: direction === 'desc',
    limit: readLimit(query.limit),
    marker: query.marker,
  }
}

function readLeast(name: string, value: string | undefined): number {
  if (value === undefined) return 0
  if (!/^\d{1,9}$/.test(value))
    throw new ApiError('badRequest', `${name} must be a whole number from 0, not '${value}'.`)
  return Number(value)
}

/** `None` asks for all, which is null here. */
function readIsPublic(value = 'true'): boolean | null {
  if (/^(1|t|true|on|y|yes)$/i.test(value)) return true
  if (/^(0|f|false|off|n|no)$/i.test(value)) return false
  if (/^none$/i.test(value)) return null
  throw new ApiError('badRequest', `is_public must be true, false or None, not '${value}'.`)
}
