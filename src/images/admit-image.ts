/** From bytes that arrived to an image that hosts can use: the inspection, and then the hosts' own copies. */
import type { Cloud } from '../cloud.ts'
import type { Row } from '../db/schema.ts'
import { HostError } from '../host/host-driver.ts'
import type { Accepted, Verdict } from './formats/verdict.ts'
import { NoRoomError } from './receive-image.ts'
import { type UploadStage, uploadFile } from './upload-files.ts'

const GIB = 1024 ** 3

/** The bytes are not what the image was declared to be. The message is for its owner. */
export class RefusedImageError extends Error {
  override readonly name = 'RefusedImageError'
  readonly isFinal = true
  readonly verdict: Verdict

  constructor(verdict: Verdict & { refusal: object }, options?: ErrorOptions) {
    super(verdict.refusal.message, options)
    this.verdict = verdict
  }
}

/**
 * Looks at the bytes of an image and has every host make its own copy of them. May be done again.
 * @throws RefusedImageError; NoRoomError; HostError when a host cannot be reached.
 */
export async function admitImage(
  cloud: Pick<Cloud, 'config' | 'hosts'>,
  image: Pick<Row<'images'>, 'id' | 'diskFormat'>,
  stage: UploadStage,
): Promise<Accepted> {
  const verdict = await inspectUpload(cloud, image, stage)
  await placeOnHosts(cloud, image, stage, verdict)
  return verdict
}

/** @throws RefusedImageError */
export async function inspectUpload(
  { config }: Pick<Cloud, 'config'>,
  { id, diskFormat }: Pick<Row<'images'>, 'id' | 'diskFormat'>,
  stage: UploadStage,
): Promise<Accepted> {
  // Two dozen files that a start without uploads need not wait for.
  const [{ openFileSource }, { inspectImage }] = await Promise.all([
    import('./formats/file-source.ts'),
    import('./formats/inspect-image.ts'),
  ])
  await using source = await openFileSource(uploadFile(config, id, stage))
  const verdict = await inspectImage(source, diskFormat ?? '', { maxVirtualBytes: config.largestImageGib * GIB })
  if (verdict.refusal) throw new RefusedImageError(verdict)
  return verdict
}

/** @throws RefusedImageError when conversion finds what the inspection could not see; NoRoomError; HostError. */
export async function placeOnHosts(
  { config, hosts }: Pick<Cloud, 'config' | 'hosts'>,
  { id: imageId, diskFormat }: Pick<Row<'images'>, 'id' | 'diskFormat'>,
  stage: UploadStage,
  verdict: Accepted,
): Promise<void> {
  const file = uploadFile(config, imageId, stage)
  const plan = { imageId, file, diskFormat: diskFormat ?? '', virtualBytes: verdict.virtualSizeBytes }
  try {
    for (const host of hosts.values()) await host.ensureImage(plan)
  } catch (error) {
    if (!(error instanceof HostError)) throw error
    if (error.failure === 'noSpace') throw new NoRoomError(error.message, { cause: error })
    if (error.failure !== 'badImage') throw error
    const refusal = { check: 'conversion' as const, message: error.message }
    const { format, checks } = verdict
    const failed = { name: refusal.check, outcome: 'refused' as const, note: refusal.message }
    throw new RefusedImageError({ format, checks: [...checks, failed], refusal }, { cause: error })
  }
}
