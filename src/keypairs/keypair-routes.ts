import type { Cloud } from '../cloud.ts'
import type { App } from '../http/app.ts'
import { type Dialect, UOS } from '../http/dialect.ts'
import { FairSlots } from '../http/fair-slots.ts'
import { sendOnceAfter } from '../http/once.ts'
import { readKeypairName, readOrMakeKey } from './create-keypair.ts'
import {
  CreatedKeypairAnswer,
  CreateKeypairRequest,
  KeypairAnswer,
  KeypairListAnswer,
  KeypairPath,
} from './keypair-schema.ts'
import { checkRoom, getKeypair, insertKeypair, listKeypairs, removeKeypair } from './keypair-store.ts'
import { createdKeypairView, keypairListView, keypairView } from './keypair-view.ts'

/** What a removal is answered with. Source: shared/spec/faults.md, section 8. */
const REMOVED = { uos: 200, nova: 202 } as const

/** S13 to S17: the login keys of a user. They belong to the user, so they are the same in all of his projects. */
export function keypairRoutes(app: App, cloud: Cloud, dialect: Dialect = UOS): void {
  const path = `${dialect.base}/os-keypairs`
  const { db, clock, config } = cloud
  // A key takes a core for some hundred milliseconds, and one of the few threads that check passwords and read files.
  const slots = new FairSlots({ what: 'new keys', slots: 1, waitingPerKey: 20, waiting: 100 })

  app.post(
    path,
    {
      schema: { body: CreateKeypairRequest, response: { 200: CreatedKeypairAnswer } },
      config: { operation: 'keypairs:write' },
    },
    async (request, reply) => {
      const { userId } = request.caller
      const wish = request.body.keypair
      const name = readKeypairName(wish)
      return sendOnceAfter(cloud, request, reply, 200, async () => {
        await checkRoom(db.read, userId, name, config.quotaKeypairs)
        const { privateKey, ...key } = await readOrMakeKey(wish, userId, slots)
        return async (tx) => {
          const row = { ...key, name, userId, createdAt: clock.now() }
          return createdKeypairView(await insertKeypair(tx, row, config.quotaKeypairs), privateKey)
        }
      })
    },
  )

  app.get(
    path,
    { schema: { response: { 200: KeypairListAnswer } }, config: { operation: 'keypairs:read' } },
    async ({ caller }) => keypairListView(await listKeypairs(db.read, caller.userId)),
  )

  app.get(
    `${path}/:keyName`,
    { schema: { params: KeypairPath, response: { 200: KeypairAnswer } }, config: { operation: 'keypairs:read' } },
    async ({ caller, params }) => keypairView(await getKeypair(db.read, caller.userId, params.keyName)),
  )

  app.delete(
    `${path}/:keyName`,
    { schema: { params: KeypairPath }, config: { operation: 'keypairs:write' } },
    async ({ caller, params }, reply) => {
      await db.transaction((tx) => removeKeypair(tx, caller.userId, params.keyName))
      return reply.code(REMOVED[dialect.name]).send()
    },
  )
}
