import { deleteImage } from './delete-image.ts'
import { type ImageActionParts, importImage } from './import-image.ts'

/** All durable actions of images, by a name of their own. */
export function imageActions(parts: ImageActionParts) {
  return { importImage: importImage(parts), deleteImage: deleteImage(parts) }
}
export type ImageActions = ReturnType<typeof imageActions>
