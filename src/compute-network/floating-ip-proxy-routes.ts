import type { Cloud } from '../cloud.ts'
import { createFloatingIp, deleteFloatingIp } from '../floating-ips/floating-ip-store.ts'
import type { App } from '../http/app.ts'
import { sendOnce } from '../http/once.ts'
import {
  CreateFloatingIpRequest,
  FloatingIpAnswer,
  FloatingIpListAnswer,
  FloatingIpPath,
  FloatingIpPoolsAnswer,
} from './floating-ip-schema.ts'
import { floatingIpView } from './floating-ip-view.ts'
import { asCompute } from './proxy-error.ts'
import { getFloatingIp, getPool, listFloatingIps, listPools } from './shown-floating-ips.ts'

const PATH = '/v2/:projectId/os-floating-ips'

/** S30 as compute has it: floating IPs by pool, and their pools. Source: shared/spec/nova-v21.md §7. */
export function floatingIpProxyRoutes(app: App, cloud: Cloud): void {
  const { db, clock } = cloud

  app.get(
    '/v2/:projectId/os-floating-ip-pools',
    { schema: { response: { 200: FloatingIpPoolsAnswer } }, config: { operation: 'network:read' } },
    async () => ({ floating_ip_pools: (await listPools(db.read)).map(({ name }) => ({ name })) }),
  )

  app.get(
    PATH,
    { schema: { response: { 200: FloatingIpListAnswer } }, config: { operation: 'network:read' } },
    async ({ caller }) => ({ floating_ips: (await listFloatingIps(db.read, caller.projectId)).map(floatingIpView) }),
  )

  app.post(
    PATH,
    {
      schema: { body: CreateFloatingIpRequest, response: { 200: FloatingIpAnswer } },
      config: { operation: 'network:write' },
    },
    async (request, reply) =>
      sendOnce(cloud, request, reply, 200, async (tx) => {
        const { projectId } = request.caller
        const pool = await getPool(tx, request.body?.pool ?? null)
        const id = await asCompute(createFloatingIp(tx, { projectId, networkId: pool.id, now: clock.now() }))
        return { floating_ip: floatingIpView(await getFloatingIp(tx, request.caller, id)) }
      }),
  )

  app.get(
    `${PATH}/:floatingIpId`,
    { schema: { params: FloatingIpPath, response: { 200: FloatingIpAnswer } }, config: { operation: 'network:read' } },
    async ({ caller, params }) => ({
      floating_ip: floatingIpView(await getFloatingIp(db.read, caller, params.floatingIpId)),
    }),
  )

  app.delete(
    `${PATH}/:floatingIpId`,
    { schema: { params: FloatingIpPath }, config: { operation: 'network:write' } },
    async ({ caller, params }, reply) => {
      await db.transaction(async (tx) => {
        const floatingIp = await getFloatingIp(tx, caller, params.floatingIpId)
        await asCompute(deleteFloatingIp(cloud, tx, floatingIp))
      })
      return reply.code(202).send()
    },
  )
}
