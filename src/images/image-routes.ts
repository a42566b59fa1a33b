import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import { sendOnce } from '../http/once.ts'
import { changeTag, createImage, patchImage, setDeactivated } from './change-image.ts'
import { acceptDeleteImage } from './delete-image.ts'
import { answerFaultsAsPages } from './image-faults.ts'
import { imageFileRoutes } from './image-file-routes.ts'
import { imageImportRoutes, importMethods } from './image-import-routes.ts'
import { formOf, PATCH_TYPES, readPatch } from './image-patch.ts'
import { readImageQuery } from './image-query.ts'
import {
  CreateImageRequest,
  ImageAnswer,
  ImageListAnswer,
  ImageListQuery,
  ImagePath,
  InspectionAnswer,
  TagPath,
} from './image-schema.ts'
import { imageSchemaRoutes } from './image-schema-routes.ts'
import { getImage, listImages } from './image-store.ts'
import { imageVersionRoutes } from './image-version-routes.ts'
import { imageListView, imageView, inspectionView } from './image-view.ts'
import { memberRoutes } from './member-routes.ts'

/** At the root for UOS clients, below `/image` for SDKs. */
export const IMAGE_PATHS = ['/v2/images', '/image/v2/images'] as const

/** What servers can be made from, as Glance shows it. */
export async function imageRoutes(app: App, cloud: Cloud): Promise<void> {
  answerFaultsAsPages(app)
  imageVersionRoutes(app, cloud)
  imageSchemaRoutes(app, cloud)
  for (const path of IMAGE_PATHS) {
    readRoutes(app, cloud, path)
    writeRoutes(app, cloud, path)
    memberRoutes(app, cloud, path)
    imageImportRoutes(app, cloud, path)
    await app.register(async (scope) => imageFileRoutes(scope as unknown as App, cloud, path))
    patchRoute(app, cloud, path)
  }
}

function readRoutes(app: App, cloud: Cloud, path: string): void {
  const { read } = cloud.db
  const config = { operation: 'images:read' } as const

  app.get(
    path,
    { schema: { querystring: ImageListQuery, response: { 200: ImageListAnswer } }, config },
    async ({ query, caller }) => imageListView(await listImages(read, caller, readImageQuery(query)), query),
  )

  app.get(
    `${path}/:imageId`,
    { schema: { params: ImagePath, response: { 200: ImageAnswer } }, config },
    async ({ params, caller }) => imageView(await getImage(read, caller, params.imageId)),
  )

  app.get(
    `${path}/:imageId/inspection`,
    { schema: { params: ImagePath, response: { 200: InspectionAnswer } }, config },
    async ({ params, caller }) => inspectionView(await getImage(read, caller, params.imageId)),
  )
}

function writeRoutes(app: App, cloud: Cloud, path: string): void {
  const config = { operation: 'images:write' } as const
  const noContent = (reply: FastifyReply) => reply.code(204).send()

  app.post(
    path,
    { schema: { body: CreateImageRequest, response: { 201: ImageAnswer } }, config },
    async (request, reply) => {
      await sendOnce(cloud, request, reply, 201, async (tx) => {
        const image = await createImage(cloud, tx, request.caller, request.body)
        reply.header('location', `${request.links.base}${path}/${image.id}`)
        reply.header('openstack-image-import-methods', importMethods(cloud).join(','))
        return imageView(image)
      })
      return reply
    },
  )

  app.delete(`${path}/:imageId`, { schema: { params: ImagePath }, config }, async ({ params, caller }, reply) => {
    await acceptDeleteImage(cloud, caller, params.imageId)
    return noContent(reply)
  })

  for (const [action, isOff] of [
    ['deactivate', true],
    ['reactivate', false],
  ] as const) {
    app.post(
      `${path}/:imageId/actions/${action}`,
      { schema: { params: ImagePath }, config },
      async ({ params, caller }, reply) => {
        await setDeactivated(cloud, caller, params.imageId, isOff)
        return noContent(reply)
      },
    )
  }

  for (const [method, isWanted] of [
    ['PUT', true],
    ['DELETE', false],
  ] as const) {
    app.route({
      method,
      url: `${path}/:imageId/tags/:tag`,
      schema: { params: TagPath },
      config,
      async handler(request, reply) {
        const { imageId, tag } = request.params as { imageId: string; tag: string }
        await changeTag(cloud, request.caller, imageId, tag, isWanted)
        return noContent(reply)
      },
    })
  }
}

/** Its media types are its own, and nothing else is taken. */
function patchRoute(app: App, cloud: Cloud, path: string): void {
  app.patch(
    `${path}/:imageId`,
    {
      schema: { params: ImagePath, body: Type.Array(Type.Unknown()), response: { 200: ImageAnswer } },
      config: { operation: 'images:write' },
      preParsing: demandPatchType,
    },
    async ({ params, caller, headers, body }) => {
      const changes = readPatch(formOf(headers['content-type']) ?? 'v2.1', body)
      return imageView(await patchImage(cloud, caller, params.imageId, changes))
    },
  )
}

async function demandPatchType({ headers }: FastifyRequest): Promise<void> {
  if (formOf(headers['content-type'])) return
  const types = Object.values(PATCH_TYPES)
  throw new ApiError('badMediaType', `Send the changes as Content-Type: ${types[0]}.`, {
    headers: { 'accept-patch': types.join(', ') },
  })
}
