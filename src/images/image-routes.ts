import type { Cloud } from '../cloud.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import { answerFaultsAsPages } from './image-faults.ts'
import { readImageQuery } from './image-query.ts'
import { ImageAnswer, ImageListAnswer, ImageListQuery, ImagePath } from './image-schema.ts'
import { imageSchemaRoutes } from './image-schema-routes.ts'
import { findImage, listImages } from './image-store.ts'
import { imageListView, imageView } from './image-view.ts'

/** At the root for UOS clients, below `/image` for SDKs. */
const PATHS = ['/v2/images', '/image/v2/images'] as const

/** What servers can be made from, as Glance shows it. */
export function imageRoutes(app: App, cloud: Cloud): void {
  const { read } = cloud.db
  const config = { operation: 'images:read' } as const
  answerFaultsAsPages(app)
  imageSchemaRoutes(app, cloud)

  for (const path of PATHS) {
    app.get(
      path,
      { schema: { querystring: ImageListQuery, response: { 200: ImageListAnswer } }, config },
      async ({ query, caller }) => imageListView(await listImages(read, caller, readImageQuery(query)), query),
    )

    app.get(
      `${path}/:imageId`,
      { schema: { params: ImagePath, response: { 200: ImageAnswer } }, config },
      async ({ params, caller }) => {
        const image = await findImage(read, caller, params.imageId)
        if (!image) throw new ApiError('itemNotFound', `No image found with ID ${params.imageId}`)
        return imageView(image)
      },
    )
  }
}
