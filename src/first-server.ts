import type { Cloud } from './cloud.ts'
import { consoleUrl, createConsole } from './consoles/console-store.ts'
import { TINY_FLAVOR_ID } from './flavors/flavor-seed.ts'
import type { Caller } from './http/policy.ts'
import { TINY_IMAGE_ID } from './images/image-store.ts'
import { newId } from './lib/ids.ts'
import { SHARED_NETWORK_ID } from './networks/seed-networks.ts'
import { acceptCreateServer } from './servers/create-server.ts'

/** How long the first guest may take to its login prompt, in milliseconds. */
const PATIENCE_MS = 5 * 60_000
const LOOK_EVERY_MS = 250

/**
 * Boots one server for a newcomer to look at, and waits for its login prompt.
 * @returns what to print: the address of its console; or why there is none.
 */
export async function bootFirstServer(cloud: Cloud, baseUrl: string, signal: AbortSignal): Promise<string> {
  const caller = await demoCaller(cloud)
  const { id } = await cloud.db.transaction((tx) =>
    acceptCreateServer(cloud, tx, caller, {
      name: 'first',
      flavorRef: TINY_FLAVOR_ID,
      imageRef: TINY_IMAGE_ID,
      networks: [{ uuid: SHARED_NETWORK_ID }],
    }),
  )
  const until = cloud.clock.now() + PATIENCE_MS
  while (cloud.clock.now() < until && !signal.aborted) {
    const server = await cloud.db.read.selectFrom('servers').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
    if (server.deletedAt !== null) return 'the first server was deleted before it was up'
    if (server.vmState === 'error') return `the first server failed: ${server.faultMessage}`
    const host = server.hostName === null ? undefined : cloud.hosts.get(server.hostName)
    if (server.vmState === 'active' && host && /login: *$/m.test(await host.readConsole(id, 50))) {
      const token = await cloud.db.transaction((tx) =>
        createConsole(tx, {
          serverId: id,
          type: 'novnc',
          now: cloud.clock.now(),
          lifetimeMs: cloud.config.consoleMinutes * 60_000,
        }),
      )
      return `the server 'first' runs; its screen: ${consoleUrl(baseUrl, 'novnc', token)}`
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS))
  }
  return signal.aborted
    ? 'the first server is still booting'
    : 'the first server shows no login prompt yet; it goes on booting'
}

/** The user `demo` in its project, as if it had asked. */
async function demoCaller(cloud: Cloud): Promise<Caller> {
  const user = await cloud.db.read
    .selectFrom('users')
    .innerJoin('projects', 'projects.id', 'users.defaultProjectId')
    .select(['users.id as userId', 'projects.id as projectId'])
    .where('users.name', '=', 'demo')
    .executeTakeFirstOrThrow()
  return { ...user, roles: ['member'], isAdmin: false, requestId: `req-${newId()}` }
}
