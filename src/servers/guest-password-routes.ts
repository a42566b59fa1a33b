import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import type { App } from '../http/app.ts'
import { type Dialect, UOS } from '../http/dialect.ts'
import { clearGuestPassword } from './guest-password.ts'
import { getServer } from './server-store.ts'

const Params = Type.Object({ serverId: Type.String() })
const PasswordAnswer = Type.Object({
  password: Type.String({ description: 'as the guest posted it, base64 of an encrypted text; empty when it did not' }),
})

/** What a guest posted as its own password: read and cleared by its users. */
export function guestPasswordRoutes(app: App, { db }: Cloud, { base }: Dialect = UOS): void {
  const path = `${base}/servers/:serverId/os-server-password`

  app.get(
    path,
    { schema: { params: Params, response: { 200: PasswordAnswer } }, config: { operation: 'servers:read' } },
    async ({ caller, params }) => {
      const { guestPassword } = await getServer(db.read, caller, params.serverId)
      return { password: guestPassword ?? '' }
    },
  )

  app.delete(path, { schema: { params: Params }, config: { operation: 'servers:update' } }, async (request, reply) => {
    await clearGuestPassword(db, request.caller, request.params.serverId)
    return reply.code(204).send()
  })
}
