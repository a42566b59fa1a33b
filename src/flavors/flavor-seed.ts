import type { Tx } from '../db/database.ts'

type Offer = readonly [id: string, name: string, vcpus: number, ramMib: number, diskGib: number]

/**
 * What every installation offers. The ids are the same everywhere, so that a template written for one Novella runs
 * on the next: an id in this table never changes and is never given to another size.
 * Source: shared/spec/uos-volume-image.md; the ids of micro-1, micro-2 and standard-1 are those of the seed's S22.
 */
const OFFERS: readonly Offer[] = [
  ['ad4f47dd-a543-4734-b151-d5f543331e4a', 'tiny', 1, 128, 1],
  ['215ea357-2d56-4387-9991-0c083806e3f8', 'micro-1', 1, 512, 20],
  ['3332c026-533a-43d0-b415-abd3fdab09bf', 'micro-2', 1, 1024, 20],
  ['7f05780f-caf6-43bd-af55-b183cec6a758', 'standard-1', 1, 2048, 20],
  ['dfc13f7f-b565-44c9-9d19-837bd5925bb5', 'standard-2', 2, 4096, 20],
  ['dd0539b8-566c-4c08-910e-8102b624709b', 'standard-4', 4, 8192, 20],
  ['28814403-8fd9-4870-8e09-2f2caa9c4137', 'standard-8', 8, 16_384, 20],
  ['8ce8425d-3e7f-4159-bb4e-d15374814261', 'standard-12', 12, 24_576, 20],
  ['dae81659-4fe3-45fd-84f4-a0a4b45bae75', 'standard-16', 16, 32_768, 20],
  ['72423786-321d-443b-9beb-e64454d192ce', 'memory-1', 1, 4096, 20],
  ['db65aed4-f756-4f3c-8126-9cd5cb0d3472', 'memory-2', 2, 8192, 20],
  ['f9acbfa6-e1c1-4a55-a635-56a364697e7b', 'memory-4', 4, 16_384, 20],
  ['1cb08815-019a-4d5a-9732-594d3f05ae99', 'memory-8', 8, 32_768, 20],
  ['921287b4-ff8a-4f3f-a256-77b230316117', 'memory-12', 12, 49_152, 20],
  ['5ba262da-2ee3-485b-a58a-ac1b3ea52850', 'memory-16', 16, 65_536, 20],
  ['4eb4c11e-51d0-40a3-b437-12c5692f31ff', 'compute-2', 2, 2048, 20],
  ['3c2010ce-29c2-4eec-a102-fd27dbc7b46a', 'compute-4', 4, 4096, 20],
  ['535a6b13-22af-4cb9-af89-c37489ca83e4', 'compute-8', 8, 8192, 20],
  ['e5bf528f-ed73-42f2-9cad-3dab4f9b5d9e', 'compute-12', 12, 12_288, 20],
]

/** The flavor made for the built-in image: 1 vCPU, 128 MiB, 1 GiB. */
export const TINY_FLAVOR_ID = 'ad4f47dd-a543-4734-b151-d5f543331e4a'

/** Adds the flavors that every installation offers. One that is there stays as it is, whatever became of it. */
export async function seedFlavors(tx: Tx): Promise<void> {
  await tx
    .insertInto('flavors')
    .values(
      OFFERS.map(([id, name, vcpus, ramMib, diskGib]) => ({
        id,
        name,
        vcpus,
        ramMib,
        diskGib,
        ephemeralGib: 0,
        swapMib: 0,
        rxtxFactor: 1,
        isPublic: 1,
        isDisabled: 0,
      })),
    )
    // By whichever key: an operator may have made another flavor of the same name.
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}
