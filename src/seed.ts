/** What a fresh cloud holds, and what every start brings up to date: flavors, the image, networks, the first people. */
import { renameSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Cloud } from './cloud.ts'
import type { Config } from './config.ts'
import { seedFlavors } from './flavors/flavor-seed.ts'
import { imagesDirectory } from './host/open-host.ts'
import { cloudsYaml, openrc } from './identity/openrc.ts'
import { type IdentitySeed, prepareSeed, seedIdentity } from './identity/seed-identity.ts'
import { placeImage } from './images/image-files.ts'
import { seedTinyImage, TINY_IMAGE_ID, type TinyFacts } from './images/image-store.ts'
import { buildTiny } from './images/tiny/build-tiny.ts'
import { SHARED_NETWORK_ID, seedNetworks } from './networks/seed-networks.ts'
import { seedEdge } from './routers/seed-edge.ts'
import { seedVolumeTypes } from './volumes/volume-type-store.ts'

/** The image of a cloud without guests: an empty file, and true facts about one. */
const NO_IMAGE: TinyFacts = {
  sizeBytes: 0,
  virtualSizeBytes: 0,
  md5: 'd41d8cd98f00b204e9800998ecf8427e',
  sha512:
    'cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e',
}

/** What takes time to make, and must not be made inside a transaction. */
export interface Seeds {
  image: TinyFacts
  /** Undefined when there are people already. */
  people: IdentitySeed | undefined
}

/**
 * Makes what will be seeded, and changes nothing but the files of images.
 * @param options.log2N the cost of password hashes, for tests that make many clouds.
 * @param options.signal ends it while the image is built.
 * @throws TinyBuildError when there is no image and none can be built; the signal's reason.
 */
export async function prepareSeeds(
  cloud: Cloud,
  onProgress: (message: string) => void,
  { log2N, signal }: { log2N?: number; signal?: AbortSignal } = {},
): Promise<Seeds> {
  const [image, people] = await Promise.all([
    cloud.config.driver === 'qemu' ? provideTiny(cloud, onProgress, signal) : NO_IMAGE,
    prepareSeed(cloud.db.read, log2N),
  ])
  signal?.throwIfAborted()
  return { image, people }
}

/**
 * Seeds what is missing; whatever is there stays.
 * @param baseUrl where clients will find the API; it goes into `openrc`.
 * @returns whether this was the first start.
 */
export async function seed(cloud: Cloud, baseUrl: string, { image, people }: Seeds): Promise<boolean> {
  const { config, db, clock } = cloud
  // The passwords are nowhere but in these files, so they are safe on disk before the database knows their hashes.
  if (people) writeAccess(config, baseUrl, people)
  return db.transaction(async (tx) => {
    const now = clock.now()
    await seedFlavors(tx)
    await seedTinyImage(tx, image, now)
    await seedVolumeTypes(tx, now)
    const seeded = people && (await seedIdentity(tx, people, now))
    if (seeded) {
      await seedNetworks(tx, seeded.adminProjectId, now)
      cloud.networkChanges.note(tx, { kind: 'network', id: SHARED_NETWORK_ID })
    }
    await seedEdge(cloud, tx, now)
    return Boolean(seeded)
  })
}

/** `openrc`, `openrc-demo` and `clouds.yaml` in the data directory, for its owner only. */
function writeAccess({ data, region }: Config, baseUrl: string, { adminPassword, demoPassword }: IdentitySeed): void {
  const access = { baseUrl, region, adminPassword, demoPassword }
  const files = {
    openrc: openrc({ ...access, user: 'admin' }),
    'openrc-demo': openrc({ ...access, user: 'demo' }),
    'clouds.yaml': cloudsYaml(access),
  }
  for (const [name, text] of Object.entries(files)) {
    const path = join(data, name)
    writeFileSync(`${path}.new`, text, { mode: 0o600, flush: true })
    renameSync(`${path}.new`, path)
  }
}

/** Builds the image unless the cache holds it, and puts it where the host reads it. */
async function provideTiny(
  cloud: Cloud,
  onProgress: (message: string) => void,
  signal: AbortSignal | undefined,
): Promise<TinyFacts> {
  const { directory } = await buildTiny({ cacheDir: cloud.config.cache, onProgress, ...(signal ? { signal } : {}) })
  await placeImage(imagesDirectory(cloud.config), TINY_IMAGE_ID, directory)
  return JSON.parse(await readFile(join(directory, 'facts.json'), 'utf8'))
}
