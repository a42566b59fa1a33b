import type { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Cloud } from '../cloud.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import { letArriveSlowly, lingerNoLonger } from '../http/arrival.ts'
import { readContentRange } from './content-range.ts'
import { sendImageFile } from './download-image.ts'
import { ImagePath } from './image-schema.ts'
import { acceptUpload, rangeHeader, type UploadWish } from './upload-image.ts'

const OCTETS = /^application\/octet-stream\s*(;|$)/i

/** The bytes of images, which are neither held in memory nor in a hurry. */
export function imageFileRoutes(app: App, cloud: Cloud, path: string): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (request, payload, done) => {
    const type = request.headers['content-type'] ?? ''
    if (OCTETS.test(type)) return done(null, payload)
    return done(new ApiError('badMediaType', 'Send the data as Content-Type: application/octet-stream.'))
  })

  app.get(
    `${path}/:imageId/file`,
    { schema: { params: ImagePath }, config: { operation: 'images:read' }, exposeHeadRoute: false },
    async ({ params, caller, headers }, reply) => sendImageFile(cloud, caller, params.imageId, headers.range, reply),
  )

  for (const [part, to] of [
    ['file', 'active'],
    ['stage', 'staged'],
  ] as const) {
    app.put(
      `${path}/:imageId/${part}`,
      {
        schema: { params: ImagePath },
        config: { operation: 'images:write' },
        // Before the body is looked at, and only for those who may send one.
        preParsing: async ({ raw }) => letArriveSlowly(raw),
        onResponse: async ({ raw }) => lingerNoLonger(raw),
      },
      async (request, reply) => upload(cloud, request, reply, to),
    )
  }
}

async function upload(
  cloud: Cloud,
  request: FastifyRequest,
  reply: FastifyReply,
  to: UploadWish['to'],
): Promise<FastifyReply> {
  const { imageId } = request.params as { imageId: string }
  const { headers, body } = request
  const type = headers['content-type'] ?? ''
  // Without a body no parser looked at it.
  if (!OCTETS.test(type)) throw new ApiError('badMediaType', 'Send the data as Content-Type: application/octet-stream.')
  const length = headers['content-length']
  const range = readSentRange(headers['content-range'], length)
  const outcome = await acceptUpload(cloud, request.caller, {
    imageId,
    body: body as Readable,
    lengthBytes: length === undefined ? undefined : Number(length),
    range,
    to,
  })
  if (outcome.isDone) return reply.code(204).send()
  return reply.code(202).headers(rangeHeader(outcome.receivedBytes)).send()
}

function readSentRange(header: string | undefined, length: string | undefined): UploadWish['range'] {
  if (header === undefined) return undefined
  const range = readContentRange(header)
  if (!range) {
    throw new ApiError('badRequest', 'Content-Range must be bytes FROM-TO/TOTAL, or bytes */TOTAL to ask what is here.')
  }
  const announced = range.from === null ? 0 : range.to - range.from + 1
  if (length !== undefined && Number(length) !== announced) {
    throw new ApiError('badRequest', `Content-Range names ${announced} bytes, Content-Length ${length}.`)
  }
  return range
}
