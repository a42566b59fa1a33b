import type { Static } from 'typebox'
import type { Links } from '../http/links.ts'
import type { BriefFlavor, FullFlavor } from './flavor-schema.ts'
import type { Flavor } from './flavor-store.ts'

/** A flavor in the brief list. */
export function briefFlavorView(flavor: Flavor, links: Links): Static<typeof BriefFlavor> {
  return { id: flavor.id, name: flavor.name, links: links.both('flavors', flavor.id) }
}

/** A flavor in full. No swap is `""`, not 0: clients of this API compare it as a text. */
export function fullFlavorView(flavor: Flavor, links: Links): Static<typeof FullFlavor> {
  return {
    ...briefFlavorView(flavor, links),
    ram: flavor.ramMib,
    vcpus: flavor.vcpus,
    disk: flavor.diskGib,
    swap: flavor.swapMib === 0 ? '' : flavor.swapMib,
    'OS-FLV-EXT-DATA:ephemeral': flavor.ephemeralGib,
    'OS-FLV-DISABLED:disabled': flavor.isDisabled === 1,
    'os-flavor-access:is_public': flavor.isPublic === 1,
    rxtx_factor: flavor.rxtxFactor,
  }
}
