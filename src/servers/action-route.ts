import { Ajv } from 'ajv'
import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import type { Dialect } from '../http/dialect.ts'
import { strict } from '../http/late-schemas.ts'
import { sendOnce } from '../http/once.ts'
import { enforce } from '../http/policy.ts'
import type { ActionRow } from './action-row.ts'
import { ActionRequest } from './server-schema.ts'

const Params = Type.Object({ serverId: Type.String() })

/** `POST /servers/{id}/action`: the body's only key picks a row of the table. */
export function actionRoute(
  app: App,
  cloud: Cloud,
  dialect: Dialect,
  table: Readonly<Record<string, ActionRow>>,
): void {
  const ajv = new Ajv({ allErrors: false, validateSchema: false })
  const checks = new Map(
    Object.entries(table).map(([key, { body }]) => [key, ajv.compile(dialect.isStrict ? strict(body) : body)]),
  )
  app.post(
    `${dialect.base}/servers/:serverId/action`,
    { schema: { params: Params, body: ActionRequest }, config: { operation: 'servers:read' } },
    async (request, reply) => {
      const [[key, body] = ['', undefined]] = Object.entries(request.body)
      const row = Object.hasOwn(table, key) ? table[key] : undefined
      if (!row) throw new ApiError('badRequest', `There is no such action: ${key}.`)
      enforce(row.operation, request.caller.roles, request.caller.projectId)
      const check = checks.get(key)
      if (check && !check(body)) {
        const [error] = check.errors ?? []
        const member = error?.params.missingProperty ?? error?.instancePath.slice(1)
        throw new ApiError('badRequest', `'${[key, member].filter(Boolean).join('.')}' ${error?.message}.`)
      }
      const { caller, links } = request
      const { serverId } = request.params
      const { status, show = (answer) => answer } = row
      const answer = await row.accept({
        cloud,
        caller,
        links,
        serverId,
        body: body as never,
        setHeader: (name, value) => void reply.header(name, value),
        once: async (make) => void (await sendOnce(cloud, request, reply, status, async (tx) => show(await make(tx)))),
      })
      return reply.sent ? reply : reply.code(status).send(show(answer))
    },
  )
}
