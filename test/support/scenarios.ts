/** Every durable action of servers as a story with a beginning and an end that must come true. */
import assert from 'node:assert/strict'
import { listServerKeypairs } from '../../src/servers/server-keypair-store.ts'
import { tracesOf } from './host-faults.ts'
import { KEYS } from './public-keys.ts'
import type { TestCloud } from './test-cloud.ts'
import {
  addVolume,
  attachVolume,
  detachVolume,
  disksInGuest,
  liftVolumeQuotas,
  statusOf,
  volumesOf,
} from './volumes.ts'

export interface Scenario {
  name: string
  /** The server is brought here first, without faults. */
  from: 'nothing' | 'ACTIVE' | 'SHUTOFF'
  /** How the server is made, where that matters. */
  make?(cloud: TestCloud): Promise<string>
  /** What the story begins with besides, without faults. */
  prepare?(cloud: TestCloud, serverId: string): Promise<void>
  /** Asks for the action; the id of the server it is about. */
  ask(cloud: TestCloud, serverId: string): Promise<string>
  /** What must be true in the end. */
  ended(cloud: TestCloud, serverId: string): Promise<void>
  /** Instead, when the machine was restarted in the middle, and the guest with it. */
  endedByRestart?(cloud: TestCloud, serverId: string): Promise<void>
}

const accepted = (answer: { statusCode: number; body: string }): void =>
  assert.equal(answer.statusCode, 202, answer.body)

export async function makeServer(cloud: TestCloud): Promise<string> {
  const answer = await cloud.member.post('/servers', await cloud.wish())
  accepted(answer)
  return answer.json().server.id
}

const act =
  (body: Record<string, unknown>) =>
  async (cloud: TestCloud, serverId: string): Promise<string> => {
    accepted(await cloud.member.post(`/servers/${serverId}/action`, body))
    return serverId
  }

async function isActive(cloud: TestCloud, serverId: string): Promise<void> {
  const { vmState, taskState, powerState, hostName, launchedAt } = await cloud.server(serverId)
  assert.deepEqual(
    { vmState, taskState, powerState, hostName },
    { vmState: 'active', taskState: null, powerState: 1, hostName: 'test-host' },
  )
  assert.ok(launchedAt)
  assert.equal(cloud.machine.servers.get(serverId)?.power, 'on')
  assert.equal([...cloud.machine.ports.values()].filter((port) => port.serverId === serverId).length, 1)
}

async function isOff(cloud: TestCloud, serverId: string): Promise<void> {
  const { vmState, taskState, powerState } = await cloud.server(serverId)
  assert.deepEqual({ vmState, taskState, powerState }, { vmState: 'stopped', taskState: null, powerState: 4 })
  assert.equal(cloud.machine.servers.get(serverId)?.power, 'off')
}

/** The server's cards, as the API lists them. */
async function listCards(cloud: TestCloud, serverId: string): Promise<{ port_id: string; net_id: string }[]> {
  return (await cloud.member.get(`/servers/${serverId}/os-interface`)).json().interfaceAttachments
}

/** The rows, the guest and the host agree that it has so many cards, and no port of the cloud is left over. */
async function hasCards(cloud: TestCloud, serverId: string, count: number): Promise<void> {
  await cloud.settled()
  const listed = (await listCards(cloud, serverId)).map(({ port_id }) => port_id).sort()
  assert.equal(listed.length, count)
  assert.deepEqual([...(cloud.machine.servers.get(serverId)?.cards.keys() ?? [])].sort(), listed)
  const onHost = [...cloud.machine.ports.values()].filter((port) => port.serverId === serverId)
  assert.deepEqual(onHost.map(({ portId }) => portId).sort(), listed)
  const ports = await cloud.cloud.db.read
    .selectFrom('ports')
    .select(['id', 'deviceId', 'status', 'deviceOwner'])
    .execute()
  assert.deepEqual(
    ports.filter(({ deviceId, deviceOwner }) => deviceId === '' && deviceOwner === ''),
    [],
  )
  const own = ports.filter(({ deviceId }) => deviceId === serverId)
  assert.deepEqual(
    own.map(({ status }) => status),
    own.map(() => 'ACTIVE'),
  )
  const { vmState, taskState } = await cloud.server(serverId)
  assert.deepEqual([vmState, taskState], ['active', null])
}

async function isGone(cloud: TestCloud, serverId: string): Promise<void> {
  assert.equal((await cloud.member.get(`/servers/${serverId}`)).statusCode, 404)
  assert.deepEqual(await tracesOf(cloud, serverId), [])
}

/** The rows, the volumes and the guest agree that it has so many disks; every other volume is free. */
async function hasVolumes(cloud: TestCloud, serverId: string, count: number): Promise<void> {
  await cloud.settled()
  const listed = await volumesOf(cloud, serverId)
  assert.equal(listed.length, count)
  assert.deepEqual(disksInGuest(cloud, serverId).sort(), [...listed].sort())
  for (const volumeId of listed) assert.equal(await statusOf(cloud, volumeId), 'in-use')
  const { read } = cloud.cloud.db
  const attached = await read.selectFrom('blockDevices').select(['volumeId', 'status']).execute()
  assert.deepEqual([...new Set(attached.map(({ status }) => status))], count === 0 ? [] : ['attached'])
  const volumes = await read.selectFrom('volumes').select(['id', 'status']).execute()
  const free = volumes.filter(({ id }) => !attached.some(({ volumeId }) => volumeId === id))
  assert.deepEqual([...new Set(free.map(({ status }) => status))], free.length === 0 ? [] : ['available'])
  assert.deepEqual(volumes.map(({ id }) => id).sort(), [...cloud.machine.volumes.keys()].sort())
}

/** One volume for each server that the scenario makes: a scenario that ended leaves its own attached. */
async function hasOneVolume(cloud: TestCloud, serverId: string): Promise<void> {
  await hasVolumes(cloud, serverId, 1)
  await isActive(cloud, serverId)
}

/** The one image made of the server is there to be used, and the server as it was. */
async function hasImage(cloud: TestCloud, serverId: string): Promise<void> {
  await isActive(cloud, serverId)
  const images = await cloud.cloud.db.read.selectFrom('images').selectAll().execute()
  const [image, another] = images.filter(({ properties }) => JSON.parse(properties).instance_uuid === serverId)
  assert.ok(image && !another)
  assert.equal(image.status, 'active')
  assert.match(image.hashValue ?? '', /^[0-9a-f]{128}$/)
  assert.ok(cloud.machine.images.has(image.id))
}

/** An image without bytes, and an available snapshot of each of its three disks. */
async function hasSnapshots(cloud: TestCloud, serverId: string): Promise<void> {
  await isActive(cloud, serverId)
  await hasVolumes(cloud, serverId, 3)
  const { read } = cloud.cloud.db
  const images = await read.selectFrom('images').selectAll().where('sizeBytes', '=', 0).execute()
  const own = images.filter(({ properties }) => JSON.parse(properties).instance_uuid === serverId)
  assert.deepEqual(
    own.map(({ status }) => status),
    ['active'],
  )
  const snapshots = await read.selectFrom('volumeSnapshots').select(['id', 'status', 'volumeId']).execute()
  const volumes = await volumesOf(cloud, serverId)
  assert.deepEqual(
    volumes.map((id) => snapshots.filter(({ volumeId }) => volumeId === id).map(({ status }) => status)),
    volumes.map(() => ['available']),
  )
  assert.deepEqual(snapshots.map(({ id }) => id).sort(), [...cloud.machine.snapshots.keys()].sort())
}

/** Boots from a volume made from an image, and has a new one, one it was given, and a disk of its own. */
async function makeVolumeServer(cloud: TestCloud): Promise<string> {
  await liftVolumeQuotas(cloud)
  const { server } = await cloud.wish()
  const { imageRef: uuid, ...wish } = server
  const blank = { source_type: 'blank', destination_type: 'volume', volume_size: 1 }
  const mapping = [
    {
      source_type: 'image',
      uuid,
      destination_type: 'volume',
      volume_size: 1,
      boot_index: 0,
      delete_on_termination: true,
    },
    { ...blank, delete_on_termination: true },
    { source_type: 'volume', uuid: await addVolume(cloud), destination_type: 'volume' },
  ]
  const answer = await cloud.member.post('/servers', { server: { ...wish, block_device_mapping_v2: mapping } })
  accepted(answer)
  return answer.json().server.id
}

/** No action that ended knows a secret any more. */
async function hasNoSecrets(cloud: TestCloud): Promise<void> {
  const open = await cloud.cloud.db.read
    .selectFrom('actions')
    .select('name')
    .where('sealedSecret', 'is not', null)
    .where('isOpen', '=', 0)
    .execute()
  assert.deepEqual(open, [])
}

async function hasPassword(cloud: TestCloud, serverId: string): Promise<void> {
  await isActive(cloud, serverId)
  await hasNoSecrets(cloud)
  assert.equal(cloud.host.agentOf(serverId).passwords.get('root'), 'new secret')
  const { sealedAdminPass } = await cloud.server(serverId)
  assert.equal(cloud.cloud.box.open(sealedAdminPass ?? ''), 'new secret')
}

/** What logs in, the rows and the guest agree, and `key_name` is the first. */
async function hasKeys(cloud: TestCloud, serverId: string, names: string[]): Promise<void> {
  await isActive(cloud, serverId)
  const { keyName } = await cloud.server(serverId)
  const keys = await listServerKeypairs(cloud.cloud.db.read, serverId)
  assert.deepEqual([keys.map(({ name }) => name), keyName], [names, names[0] ?? null])
  const lines = cloud.host.agentOf(serverId).keys.get('root') ?? []
  assert.deepEqual([...lines].sort(), keys.map(({ publicKey }) => publicKey.trim()).sort())
}

async function importKeys(cloud: TestCloud): Promise<void> {
  for (const [name, public_key] of Object.entries(KEYS)) {
    const { statusCode, body } = await cloud.member.post('/os-keypairs', { keypair: { name, public_key } })
    // A scenario is played several times in one cloud.
    assert.ok(statusCode === 200 || statusCode === 409, body)
  }
}

export const SCENARIOS: Scenario[] = [
  { name: 'create', from: 'nothing', ask: (cloud) => makeServer(cloud), ended: isActive },
  { name: 'start', from: 'SHUTOFF', ask: act({ 'os-start': null }), ended: isActive },
  { name: 'stop', from: 'ACTIVE', ask: act({ 'os-stop': null }), ended: isOff },
  { name: 'shutdown', from: 'ACTIVE', ask: act({ 'os-shutdown': null }), ended: isOff },
  { name: 'soft reboot', from: 'ACTIVE', ask: act({ reboot: { type: 'SOFT' } }), ended: isActive },
  { name: 'hard reboot', from: 'ACTIVE', ask: act({ reboot: { type: 'HARD' } }), ended: isActive },
  {
    name: 'attach',
    from: 'ACTIVE',
    async ask(cloud, serverId) {
      const [card] = await listCards(cloud, serverId)
      const wish = { interfaceAttachment: { net_id: card?.net_id } }
      const answer = await cloud.member.post(`/servers/${serverId}/os-interface`, wish)
      assert.equal(answer.statusCode, 200, answer.body)
      return serverId
    },
    ended: (cloud, serverId) => hasCards(cloud, serverId, 2),
  },
  {
    name: 'detach',
    from: 'ACTIVE',
    async ask(cloud, serverId) {
      const [card] = await listCards(cloud, serverId)
      accepted(await cloud.member.delete(`/servers/${serverId}/os-interface/${card?.port_id}`))
      return serverId
    },
    ended: (cloud, serverId) => hasCards(cloud, serverId, 0),
  },
  {
    name: 'attach a volume',
    from: 'ACTIVE',
    async ask(cloud, serverId) {
      accepted(await attachVolume(cloud, serverId, await addVolume(cloud)))
      return serverId
    },
    ended: hasOneVolume,
  },
  {
    name: 'detach a volume',
    from: 'ACTIVE',
    async prepare(cloud, serverId) {
      accepted(await attachVolume(cloud, serverId, await addVolume(cloud)))
      await cloud.settled()
    },
    async ask(cloud, serverId) {
      const [volumeId = ''] = await volumesOf(cloud, serverId)
      accepted(await detachVolume(cloud, serverId, volumeId))
      return serverId
    },
    ended: (cloud, serverId) => hasVolumes(cloud, serverId, 0),
  },
  {
    // An image is made in the same steps, but for the last.
    name: 'create backup',
    from: 'ACTIVE',
    async prepare(cloud, serverId) {
      await act({ createBackup: { name: 'old', backup_type: 'daily', rotation: 1 } })(cloud, serverId)
      await cloud.settled()
    },
    ask: act({ createBackup: { name: 'new', backup_type: 'daily', rotation: 1 } }),
    ended: hasImage,
  },
  {
    name: 'create from volumes',
    from: 'nothing',
    ask: makeVolumeServer,
    async ended(cloud, serverId) {
      await isActive(cloud, serverId)
      await hasVolumes(cloud, serverId, 3)
    },
  },
  {
    name: 'change the password',
    from: 'ACTIVE',
    ask: act({ changePassword: { adminPass: 'new secret' } }),
    ended: hasPassword,
    // The guest took it or not; nobody knows.
    async endedByRestart(cloud, serverId) {
      await isActive(cloud, serverId)
      await hasNoSecrets(cloud)
    },
  },
  {
    name: 'attach keypairs',
    from: 'ACTIVE',
    prepare: importKeys,
    ask: act({ attachKeypairs: { key_names: ['one', 'two'] } }),
    ended: (cloud, serverId) => hasKeys(cloud, serverId, ['one', 'two']),
  },
  {
    name: 'detach keypairs',
    from: 'ACTIVE',
    async prepare(cloud, serverId) {
      await importKeys(cloud)
      await act({ attachKeypairs: { key_names: ['one', 'two'] } })(cloud, serverId)
      await cloud.settled()
    },
    ask: act({ detachKeypairs: { key_names: ['one', 'unheard of'] } }),
    ended: (cloud, serverId) => hasKeys(cloud, serverId, ['two']),
  },
  {
    name: 'create image of volumes',
    from: 'ACTIVE',
    make: makeVolumeServer,
    ask: act({ createImage: { name: 'of volumes' } }),
    ended: hasSnapshots,
  },
  {
    name: 'delete',
    from: 'ACTIVE',
    async ask(cloud, serverId) {
      accepted(await cloud.member.delete(`/servers/${serverId}`))
      return serverId
    },
    ended: isGone,
  },
]

/** A server where the scenario begins; '' for nothing. */
export async function begin(cloud: TestCloud, scenario: Scenario): Promise<string> {
  if (scenario.from === 'nothing') return ''
  const serverId = await (scenario.make ?? makeServer)(cloud)
  await cloud.settled()
  if (scenario.from === 'SHUTOFF') {
    await act({ 'os-stop': null })(cloud, serverId)
    await cloud.settled()
  }
  await scenario.prepare?.(cloud, serverId)
  return serverId
}

/** Lets time pass until no action of the server is open. */
export async function untilDone(cloud: TestCloud, serverId: string): Promise<void> {
  await cloud.advanceUntil(
    async () => !(await cloud.actions(serverId)).some((action) => action.endsWith(' open')),
    2_500,
  )
}
