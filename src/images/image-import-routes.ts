import { acceptAction } from '../actions/journal.ts'
import type { Cloud } from '../cloud.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import type { Caller } from '../http/policy.ts'
import { timestampB } from '../http/timestamps.ts'
import { ImagePath, ImportRequest } from './image-schema.ts'
import { getImage, lockOwnImage, mayChange } from './image-store.ts'
import { isBeingMade } from './image-writer.ts'
import type { ImportInput } from './import-image.ts'
import { beingMade } from './upload-image.ts'
import { readDownloadUrl, WebDownloadError } from './web-download.ts'

/** Ways an image's bytes may come besides an upload. */
export const importMethods = ({ config }: Pick<Cloud, 'config'>): string[] => [
  'glance-direct',
  ...(config.webDownload ? ['web-download'] : []),
]

/** Importing, in Glance's words. Its records of imports are the journal of actions. */
export function imageImportRoutes(app: App, cloud: Cloud, path: string): void {
  const prefix = path.replace(/\/images$/, '')
  const read = { operation: 'images:read' } as const

  app.get(`${prefix}/info/import`, { config: read }, async () => ({
    'import-methods': { description: 'Import methods available.', type: 'array', value: importMethods(cloud) },
  }))
  app.get(`${prefix}/tasks`, { config: read }, async () => ({
    tasks: [],
    first: '/v2/tasks',
    schema: '/v2/schemas/tasks',
  }))

  app.post(
    `${path}/:imageId/import`,
    { schema: { params: ImagePath, body: ImportRequest }, config: { operation: 'images:write' } },
    async ({ params, body, caller }, reply) => {
      await acceptImport(cloud, caller, params.imageId, readMethod(cloud, body.method))
      return reply.code(202).send()
    },
  )

  app.get(`${path}/:imageId/tasks`, { schema: { params: ImagePath }, config: read }, async ({ params, caller }) => {
    const image = await getImage(cloud.db.read, caller, params.imageId)
    // Where it was downloaded from may hold a password of its owner.
    return { tasks: mayChange(caller, image) ? await listImports(cloud, image.id) : [] }
  })
}

function readMethod(cloud: Cloud, { name, uri }: { name: string; uri?: string }): ImportInput {
  const methods = importMethods(cloud)
  if (!methods.includes(name)) {
    throw new ApiError('badRequest', `Import method '${name}' is not available; ${methods.join(' and ')} can be used.`)
  }
  if (name === 'glance-direct') return { name }
  if (uri === undefined) throw new ApiError('badRequest', 'web-download needs a uri.')
  try {
    return { name: 'web-download', uri: readDownloadUrl(uri).href }
  } catch (error) {
    if (error instanceof WebDownloadError) throw new ApiError('badRequest', error.message, { cause: error })
    throw error
  }
}

/**
 * Begins an import: of what was staged, or of a queued image by download.
 * @throws ApiError itemNotFound, forbidden; conflictingRequest in another state; badRequest without formats.
 */
async function acceptImport(cloud: Cloud, caller: Caller, imageId: string, input: ImportInput): Promise<void> {
  await cloud.db.transaction(async (tx) => {
    const image = await lockOwnImage(tx, caller, imageId)
    const isReady =
      input.name === 'web-download'
        ? image.status === 'queued'
        : // Its hashes are written when all of it is here.
          image.status === 'uploading' && image.checksum !== null
    if (await isBeingMade(tx, imageId)) throw beingMade(imageId)
    if (!isReady) {
      const need = input.name === 'web-download' ? 'must be queued' : 'must have its data staged'
      throw new ApiError('conflictingRequest', `The image ${need} before it is imported; it is ${image.status}.`)
    }
    if (image.diskFormat === null || image.containerFormat === null) {
      throw new ApiError('badRequest', 'disk_format and container_format must be set before an image is imported.')
    }
    const now = cloud.clock.now()
    await tx
      .updateTable('images')
      .set({ status: 'importing', verdict: null, updatedAt: now })
      .where('id', '=', imageId)
      .execute()
    await acceptAction(tx, cloud.actions.importImage, imageId, input, caller, now)
    tx.onCommit(() => cloud.runner.nudge())
  })
}

/** As Glance's tasks; the newest first. */
async function listImports({ db }: Cloud, imageId: string) {
  const rows = await db.read
    .selectFrom('actions')
    .selectAll()
    .where('resourceId', '=', imageId)
    .where('name', '=', 'importImage')
    .orderBy('id', 'desc')
    .execute()
  return rows.map((row) => {
    const input = JSON.parse(row.input) as ImportInput
    return {
      id: `${imageId.slice(0, 24)}${String(row.id).padStart(12, '0')}`,
      image_id: imageId,
      'request-id': row.requestId,
      user: row.userId,
      owner: row.projectId,
      type: 'api_image_import',
      status: row.isOpen === 1 ? 'processing' : row.result === 'Success' ? 'success' : 'failure',
      input: { image_id: imageId, import_req: { method: input } },
      result: null,
      message: row.failure ?? '',
      created_at: timestampB(row.acceptedAt),
      updated_at: timestampB(row.finishedAt ?? row.stepEnteredAt),
      expires_at: null,
      deleted_at: null,
      deleted: false,
    }
  })
}
