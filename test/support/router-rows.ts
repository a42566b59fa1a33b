import { randomUUID } from 'node:crypto'
import type { Tx } from '../../src/db/database.ts'
import { newMacAddress } from '../../src/lib/ids.ts'
import type { TestCloud } from './test-cloud.ts'

interface End {
  networkId: string
  ipAddress: string
}

/** A router with an interface, and a gateway when `gateway` says where; the hosts are told. */
export async function addRouter(
  cloud: TestCloud,
  { projectId, inside, gateway }: { projectId: string; inside: End; gateway?: End },
): Promise<string> {
  const id = randomUUID()
  await cloud.cloud.db.transaction(async (tx) => {
    const now = cloud.clock.now()
    await tx
      .insertInto('routers')
      .values({
        id,
        projectId,
        name: 'edge',
        description: '',
        isUp: 1,
        status: 'DOWN',
        externalNetworkId: gateway?.networkId ?? null,
        hasSnat: 1,
        routes: '[]',
        availabilityZoneHints: '[]',
        createdAt: now,
        updatedAt: now,
      })
      .execute()
    await addEnd(cloud, tx, { deviceId: id, deviceOwner: 'network:router_interface', projectId, end: inside })
    if (gateway)
      await addEnd(cloud, tx, { deviceId: id, deviceOwner: 'network:router_gateway', projectId, end: gateway })
    cloud.cloud.networkChanges.note(tx, { kind: 'router', id })
  })
  return id
}

/** A floating IP that leads to a port through a router; the hosts are told. */
export async function addFloatingIp(
  cloud: TestCloud,
  wish: { projectId: string; outside: End; portId: string; fixedIpAddress: string; routerId: string },
): Promise<string> {
  const { projectId, outside, portId, fixedIpAddress, routerId } = wish
  const id = randomUUID()
  await cloud.cloud.db.transaction(async (tx) => {
    const now = cloud.clock.now()
    const deviceOwner = 'network:floatingip'
    const floatingPortId = await addEnd(cloud, tx, { deviceId: id, deviceOwner, projectId, end: outside })
    await tx
      .insertInto('floatingIps')
      .values({
        id,
        projectId,
        name: '',
        description: '',
        floatingNetworkId: outside.networkId,
        floatingPortId,
        floatingIpAddress: outside.ipAddress,
        portId,
        fixedIpAddress,
        routerId,
        status: 'DOWN',
        rateLimitKbps: 1024,
        registerno: '',
        serviceProvider: '',
        dnsName: '',
        createdAt: now,
        updatedAt: now,
      })
      .execute()
    cloud.cloud.networkChanges.note(tx, { kind: 'router', id: routerId })
  })
  return id
}

async function addEnd(
  cloud: TestCloud,
  tx: Tx,
  { end, ...port }: { deviceId: string; deviceOwner: string; projectId: string; end: End },
): Promise<string> {
  const [id, now] = [randomUUID(), cloud.clock.now()]
  const { networkId, ipAddress } = end
  const bare = { name: '', position: 0, status: 'DOWN', isUp: 1, hasAntiSpoofing: 1, isOwnedByServer: 0 } as const
  await tx
    .insertInto('ports')
    .values({ id, networkId, macAddress: newMacAddress(), ...port, ...bare, createdAt: now, updatedAt: now })
    .execute()
  const { id: subnetId } = await tx
    .selectFrom('subnets')
    .select('id')
    .where('networkId', '=', networkId)
    .executeTakeFirstOrThrow()
  await tx.insertInto('portAddresses').values({ subnetId, ipAddress, portId: id }).execute()
  return id
}
