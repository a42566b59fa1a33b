import { Ajv, type ValidateFunction } from 'ajv'
import { type TSchema, Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import { readActionName } from './volume-action-row.ts'
import { readActionRow } from './volume-action-table.ts'
import { volumeRoute } from './volume-api.ts'
import { getVolume } from './volume-routes.ts'
import { lockVolume } from './volume-store.ts'

const ajv = new Ajv({ allErrors: false, validateSchema: false, strict: false })
const checks = new WeakMap<TSchema, ValidateFunction>()

/** `POST …/volumes/{id}/action`: the one member of the body names the action. */
export function volumeActionRoutes(app: App, cloud: Cloud): void {
  volumeRoute(app, cloud, {
    method: 'POST',
    path: '/volumes/:id/action',
    operation: 'volumes:write',
    isUos: true,
    body: Type.Record(Type.String(), Type.Unknown()),
    async handle(call) {
      const name = readActionName(call.body)
      const action = readActionRow(call, name)
      const wish = call.body[name]
      check(action.body, name, wish)
      const answer = await cloud.db.transaction(async (tx) => {
        const { id } = await getVolume(tx, call)
        return action.accept({ ...call, tx, volume: await lockVolume(tx, id), wish })
      })
      return call.reply.code(action.status).send(answer)
    },
  })
}

/** @throws ApiError badRequest, with what is wrong. */
function check(schema: TSchema, name: string, wish: unknown): void {
  let validate = checks.get(schema)
  if (!validate) {
    validate = ajv.compile(schema)
    checks.set(schema, validate)
  }
  if (validate(wish)) return
  const [error] = validate.errors ?? []
  const place = `${name}${(error?.instancePath ?? '').replaceAll('/', '.')}`
  throw new ApiError('badRequest', `Invalid input for ${place}: ${error?.message ?? 'it is not valid'}.`)
}
