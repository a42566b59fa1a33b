import type { Cloud } from '../cloud.ts'
import type { App } from '../http/app.ts'
import { sendOnce } from '../http/once.ts'
import { readOrMakeKey } from './create-keypair.ts'
import {
  CreatedKeypairAnswer,
  CreateKeypairRequest,
  KeypairAnswer,
  KeypairListAnswer,
  KeypairPath,
} from './keypair-schema.ts'
import { getKeypair, insertKeypair, listKeypairs, removeKeypair } from './keypair-store.ts'
import { createdKeypairView, keypairListView, keypairView } from './keypair-view.ts'

const PATH = '/v2/:projectId/os-keypairs'

/** S13 to S17: the login keys of a user. They belong to the user, so they are the same in all of his projects. */
export function keypairRoutes(app: App, cloud: Cloud): void {
  const { db, clock, config } = cloud

  app.post(
    PATH,
    {
      schema: { body: CreateKeypairRequest, response: { 200: CreatedKeypairAnswer } },
      config: { operation: 'keypairs:write' },
    },
    async (request, reply) => {
      const { privateKey, ...key } = await readOrMakeKey(request.body)
      return sendOnce(cloud, request, reply, 200, async (tx) => {
        const { userId } = request.caller
        const keypair = await insertKeypair(tx, { ...key, userId, createdAt: clock.now() }, config.quotaKeypairs)
        return createdKeypairView(keypair, privateKey)
      })
    },
  )

  app.get(
    PATH,
    { schema: { response: { 200: KeypairListAnswer } }, config: { operation: 'keypairs:read' } },
    async ({ caller }) => keypairListView(await listKeypairs(db.read, caller.userId)),
  )

  app.get(
    `${PATH}/:keyName`,
    { schema: { params: KeypairPath, response: { 200: KeypairAnswer } }, config: { operation: 'keypairs:read' } },
    async ({ caller, params }) => keypairView(await getKeypair(db.read, caller.userId, params.keyName)),
  )

  app.delete(
    `${PATH}/:keyName`,
    { schema: { params: KeypairPath }, config: { operation: 'keypairs:write' } },
    async ({ caller, params }, reply) => {
      await db.transaction((tx) => removeKeypair(tx, caller.userId, params.keyName))
      return reply.code(200).send()
    },
  )
}
