/** `addFloatingIp` and `removeFloatingIp`: floating IPs of a server by their address. */
import { type TSchema, Type } from 'typebox'
import type { Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { bindFloatingIp, findFloatingIpAt, unbindFloatingIp } from '../floating-ips/floating-ip-store.ts'
import { ApiError } from '../http/api-error.ts'
import { type ActionCall, type ActionRow, row } from '../servers/action-row.ts'
import { getServer } from '../servers/server-store.ts'
import { asCompute } from './proxy-error.ts'

const Address = Type.String({ minLength: 1, maxLength: 255 })

/** Rows of the table of server actions. Source: shared/spec/nova-v21.md §5. */
export const FLOATING_IP_ROWS: Record<'addFloatingIp' | 'removeFloatingIp', ActionRow> = {
  addFloatingIp: row<TSchema, AddWish>(
    Type.Object({ address: Address, fixed_address: Type.Optional(Type.Union([Address, Type.Null()])) }),
    'network:write',
    202,
    (call) => call.cloud.db.transaction((tx) => asCompute(addFloatingIp(call, tx))),
  ),
  removeFloatingIp: row<TSchema, { address: string }>(Type.Object({ address: Address }), 'network:write', 202, (call) =>
    call.cloud.db.transaction((tx) => asCompute(removeFloatingIp(call, tx))),
  ),
}

interface AddWish {
  address: string
  fixed_address?: string | null
}

/**
 * Leads a floating IP of the project to the server, also when it led elsewhere before: to the fixed address that is
 * named, else to the first of IPv4. A server that still builds has its addresses already.
 * @throws ApiError itemNotFound for the server or the address; badRequest when the server has no such fixed address, or
 * no router joins the two networks; conflictingRequest for a server that is being deleted.
 */
async function addFloatingIp({ cloud, caller, serverId, body }: ActionCall<AddWish>, tx: Tx): Promise<void> {
  const server = await getServer(tx, caller, serverId)
  if (server.taskState === 'deleting') {
    throw new ApiError(
      'conflictingRequest',
      `Cannot 'add_floating_ip' instance ${serverId} while it is in task_state deleting.`,
    )
  }
  const floatingIp = await getByAddress(tx, server.projectId, body.address)
  const target = await findTarget(tx, serverId, body.fixed_address ?? null)
  await bindFloatingIp(cloud, tx, floatingIp, { ...target, now: cloud.clock.now() })
}

/**
 * @throws ApiError itemNotFound for the server or the address; conflictingRequest when it does not lead to the server.
 */
async function removeFloatingIp(
  { cloud, caller, serverId, body }: ActionCall<{ address: string }>,
  tx: Tx,
): Promise<void> {
  const server = await getServer(tx, caller, serverId)
  const floatingIp = await getByAddress(tx, server.projectId, body.address)
  const port = await tx
    .selectFrom('ports')
    .select('deviceId')
    .where('id', '=', floatingIp.portId ?? '')
    .executeTakeFirst()
  if (port?.deviceId !== serverId) {
    throw new ApiError('conflictingRequest', `Floating IP ${body.address} is not associated with instance ${serverId}.`)
  }
  await unbindFloatingIp(cloud, tx, floatingIp, cloud.clock.now())
}

async function getByAddress(tx: Tx, projectId: string, address: string): Promise<Row<'floatingIps'>> {
  const floatingIp = await findFloatingIpAt(tx, projectId, address)
  if (floatingIp) return floatingIp
  throw new ApiError('itemNotFound', `Floating IP not found for address ${address}.`)
}

async function findTarget(
  tx: Tx,
  serverId: string,
  fixedAddress: string | null,
): Promise<{ portId: string; fixedIpAddress: string }> {
  const addresses = await tx
    .selectFrom('ports')
    .innerJoin('portAddresses', 'portAddresses.portId', 'ports.id')
    .innerJoin('subnets', 'subnets.id', 'portAddresses.subnetId')
    .select(['ports.id as portId', 'portAddresses.ipAddress as fixedIpAddress'])
    .where('ports.deviceId', '=', serverId)
    .where('subnets.ipVersion', '=', 4)
    .orderBy('ports.position')
    .orderBy('portAddresses.ipAddress')
    .execute()
  const [first] = addresses
  if (!first) throw new ApiError('badRequest', `No fixed IPv4 addresses are associated with instance ${serverId}.`)
  if (fixedAddress === null) return first
  const named = addresses.find(({ fixedIpAddress }) => fixedIpAddress === fixedAddress)
  if (named) return named
  throw new ApiError('badRequest', `Fixed address ${fixedAddress} is not assigned to instance ${serverId}.`)
}
