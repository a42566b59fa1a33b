import type { Static } from 'typebox'
import { acceptAction } from '../actions/journal.ts'
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import { OWNERS } from '../db/device-owners.ts'
import type { Row } from '../db/schema.ts'
import { findVisibleFlavor } from '../flavors/flavor-store.ts'
import { listHosts } from '../hosts/host-store.ts'
import { ApiError } from '../http/api-error.ts'
import type { Caller } from '../http/policy.ts'
import { hardwareOf } from '../images/hardware-of.ts'
import { findImage, holdImage, IMAGE_MAPPING, isOfSnapshots } from '../images/image-store.ts'
import { findKeypair } from '../keypairs/keypair-store.ts'
import { newId, newPassword } from '../lib/ids.ts'
import { assertNetworkQuota } from '../network-api/network-quotas.ts'
import { bindPort, insertPort } from '../ports/port-store.ts'
import { DEFAULT_GROUP, ensureDefaultGroup, listGroupsNamed } from '../security-groups/security-group-store.ts'
import type { Volume } from '../volumes/volume-store.ts'
import { asComputeError } from './compute-errors.ts'
import { configDriveColumns, isBase64 } from './config-drive.ts'
import { type MappingWish, readMapping, rootImageOf, type WishedDisk, withoutMapping } from './device-mapping.ts'
import { complainOfPlace } from './disk-places.ts'
import { insertServerKeypairs } from './server-keypair-store.ts'
import { assertMetadataQuota } from './server-metadata.ts'
import type { CreateServerRequest } from './server-schema.ts'
import { readUsage, takeNumbers, takeTurn } from './server-store.ts'
import { completeDisks, giveDisks, machinePropertiesOf, type TakenDisks, takeDisks } from './wished-disks.ts'
import { readWishedNetworks, type WishedCard } from './wished-networks.ts'

export type Wish = Static<typeof CreateServerRequest>['server']

export interface Created {
  /** The first of the servers made. */
  id: string
  reservationId: string
  adminPass: string
  diskConfig: 'AUTO' | 'MANUAL'
  securityGroups: { name: string }[]
}

/**
 * Accepts servers: turns every name into an id, checks the quota, and writes servers, ports, disks and actions in
 * the caller's transaction. The servers build afterwards.
 * @throws ApiError badRequest for what the wish names wrongly; forbidden for quota; conflictingRequest for a port in
 * use, or several networks and none named.
 */
export async function acceptCreateServer(cloud: Cloud, tx: Tx, caller: Caller, wish: Wish): Promise<Created> {
  const now = cloud.clock.now()
  const counts = readCounts(wish)
  const flavor = await readFlavor(tx, caller, wish.flavorRef)
  const imageId = wish.imageRef ? idOf(wish.imageRef) : undefined
  const image = imageId === undefined ? undefined : await readImage(tx, caller, imageId)
  const [items, oldMapping] = [wish.block_device_mapping_v2 ?? [], wish.block_device_mapping ?? []]
  const ofImage = await readBroughtDisks(tx, caller, rootImageOf({ imageId, mapping: items }))
  const mapping = readMapping({ imageId, mapping: items, oldMapping, ofImage })
  if (image) demandFit(image, flavor, mapping.bootsFromImage)
  const disks = completeDisks(mapping, flavor, counts.max)
  const keypair = await readKeypair(tx, caller, wish.key_name ?? null)
  const availabilityZone = await readZone(tx, wish.availability_zone ?? '')
  const zone = availabilityZone || cloud.config.availabilityZone
  const metadata = wish.metadata ?? {}
  checkUserData(wish.user_data ?? null)
  const groupIds = await readSecurityGroups(cloud, tx, caller, wish.security_groups ?? [], now)
  const cards = await readWishedNetworks(tx, caller, wish.networks ?? [], counts.max)
  const count = await fitQuota(cloud, tx, caller, counts, flavor, metadata)

  const adminPass = wish.adminPass ?? newPassword()
  const reservationId = `r-${newId().replaceAll('-', '').slice(0, 8)}`
  const firstNumber = await takeNumbers(tx, count)
  const name = wish.name.trim()
  const ids: string[] = []
  await assertPortQuota(tx, caller, count * cards.filter((card) => 'networkId' in card).length)
  for (let index = 0; index < count; index++) {
    const id = newId()
    ids.push(id)
    const taken = await takeDisks(cloud, tx, caller, disks, { zone, ramMib: flavor.ramMib, now })
    const imageProperties = propertiesFor(image, ofImage.length > 0, taken.root)
    await demandKernel(tx, caller, imageProperties)
    demandPlaces(imageProperties, disks, taken)
    await tx
      .insertInto('servers')
      .values({
        id,
        number: firstNumber + index,
        projectId: caller.projectId,
        userId: caller.userId,
        reservationId,
        name: counts.max === 1 ? name : `${name}-${index + 1}`,
        hostName: null,
        availabilityZone: zone,
        flavorId: flavor.id,
        flavorName: flavor.name,
        vcpus: flavor.vcpus,
        ramMib: flavor.ramMib,
        diskGib: flavor.diskGib,
        imageId: mapping.bootsFromImage && image ? image.id : '',
        imageName: mapping.bootsFromImage ? (image?.name ?? '') : '',
        imageProperties,
        keyName: keypair?.name ?? null,
        sealedAdminPass: cloud.box.seal(adminPass),
        metadata: JSON.stringify(metadata),
        userData: wish.user_data ?? null,
        ...configDriveColumns(wish, cloud.config, imageProperties),
        diskConfig: wish['OS-DCF:diskConfig'] ?? 'MANUAL',
        accessIpv4: wish.accessIPv4 ?? '',
        accessIpv6: wish.accessIPv6 ?? '',
        launchIndex: index,
        vmState: 'building',
        taskState: 'scheduling',
        powerState: 0,
        progress: 0,
        isLocked: 0,
        faultCode: null,
        faultMessage: null,
        faultDetails: null,
        faultAt: null,
        createdAt: now,
        updatedAt: now,
        launchedAt: null,
        terminatedAt: null,
        deletedAt: null,
      })
      .execute()
    await insertServerKeypairs(tx, id, keypair ? [keypair] : [])
    await giveDisks(tx, id, taken)
    await giveCards(tx, caller, id, cards, groupIds, now)
    await acceptAction(tx, cloud.actions.create, id, { availabilityZone }, caller, now)
  }
  await cloud.networkChanges.noteMembers(tx, groupIds)
  tx.onCommit(() => cloud.runner.nudge())
  return {
    id: ids[0] ?? '',
    reservationId,
    adminPass,
    diskConfig: wish['OS-DCF:diskConfig'] ?? 'MANUAL',
    securityGroups: wish.security_groups?.length ? wish.security_groups : [{ name: DEFAULT_GROUP }],
  }
}

interface Counts {
  /** Fewer are not worth having. */
  min: number
  max: number
}

/** How many servers: `max_count` is `min_count` unless given. */
function readCounts(wish: Wish): Counts {
  const min = Number(wish.min_count ?? 1)
  const max = Number(wish.max_count ?? min)
  if (min > max) throw new ApiError('badRequest', `min_count (${min}) must be <= max_count (${max}).`)
  return { min, max }
}

/** A reference is an id, or a URL whose last part is the id. */
const idOf = (reference: string | number): string => String(reference).replace(/\/+$/, '').split('/').at(-1) ?? ''

async function readFlavor(tx: Tx, caller: Caller, reference: string | number): Promise<Row<'flavors'>> {
  const flavor = await findVisibleFlavor(tx, caller, idOf(reference))
  if (!flavor || flavor.isDisabled) throw new ApiError('badRequest', `Flavor ${idOf(reference)} could not be found.`)
  return flavor
}

async function readImage(tx: Tx, caller: Caller, imageId: string): Promise<Row<'images'>> {
  const image = await findImage(tx, caller, imageId)
  if (!image) throw new ApiError('badRequest', `Image ${imageId} could not be found.`)
  if (image.status !== 'active') throw new ApiError('badRequest', `Image ${image.id} is not active.`)
  return image
}

/**
 * The disks that an image brings; most bring none.
 * @throws ApiError badRequest for a mapping that is none, or of an image that was put out of use.
 */
async function readBroughtDisks(
  tx: Tx,
  caller: Caller,
  imageId: string | undefined,
): Promise<Required<MappingWish>['ofImage']> {
  const image = imageId === undefined ? undefined : await findImage(tx, caller, imageId)
  if (!image?.properties.includes(IMAGE_MAPPING)) return []
  const properties: Record<string, string> = JSON.parse(image.properties)
  if (properties[IMAGE_MAPPING] === undefined) return []
  if (image.status !== 'active') throw new ApiError('badRequest', `Image ${image.id} is not active.`)
  const { readImageMapping } = await import('./image-mapping.ts')
  return readImageMapping(image.id, properties)
}

/** What is said about the machine: by the image, or by the one that the volume was made from which it boots. */
function propertiesFor(image: Row<'images'> | undefined, isBrought: boolean, root: Volume | undefined): string {
  if (isBrought && image) return JSON.stringify(withoutMapping(JSON.parse(image.properties)))
  return root ? machinePropertiesOf(root) : (image?.properties ?? '{}')
}

/** @throws ApiError badRequest for a disk that the machine has no place for. */
function demandPlaces(imageProperties: string, disks: readonly WishedDisk[], { devices }: TakenDisks): void {
  const hardware = hardwareOf(JSON.parse(imageProperties))
  for (const [index, device] of devices.entries()) {
    const complaint = complainOfPlace(hardware, device)
    if (complaint !== undefined) throw new ApiError('badRequest', `${disks[index]?.item}: ${complaint}`)
  }
}

/** @throws ApiError badRequest for a flavor that is too small for the image. */
function demandFit(image: Row<'images'>, flavor: Row<'flavors'>, becomesDisk: boolean): void {
  if (becomesDisk && isOfSnapshots(image)) {
    throw new ApiError('badRequest', `Image ${image.id} has no bytes, and brings no disk to boot from.`)
  }
  const neededGib = Math.max(image.minDiskGib, Math.ceil((image.virtualSizeBytes ?? 0) / 2 ** 30))
  if (flavor.ramMib < image.minRamMib) {
    throw new ApiError(
      'badRequest',
      `Flavor ${flavor.name} has too little memory for the image: ${image.minRamMib} MiB are needed.`,
    )
  }
  if (becomesDisk && flavor.diskGib < neededGib) {
    throw new ApiError(
      'badRequest',
      `Flavor ${flavor.name} has too small a disk for the image: ${neededGib} GiB are needed.`,
    )
  }
}

/**
 * Properties are any text: a guest must not read a kernel or a RAM disk that its owner could not.
 * @throws ApiError badRequest
 */
async function demandKernel(tx: Tx, caller: Caller, imageProperties: string): Promise<void> {
  const { kernel } = hardwareOf(JSON.parse(imageProperties))
  const ids = [kernel?.kernelImageId, kernel?.ramdiskImageId].filter((id) => id != null)
  // Always in the same order, as whoever waits for two must.
  for (const imageId of ids.toSorted()) {
    await holdImage(tx, imageId)
    const image = await findImage(tx, caller, imageId)
    if (!image) throw new ApiError('badRequest', `Image ${imageId} could not be found.`)
    if (image.status !== 'active') throw new ApiError('badRequest', `Image ${imageId} is not active.`)
  }
}

async function readKeypair(tx: Tx, caller: Caller, name: string | null): Promise<Row<'keypairs'> | undefined> {
  if (name === null) return undefined
  const keypair = await findKeypair(tx, caller.userId, name)
  if (!keypair) throw new ApiError('badRequest', `Keypair ${name} could not be found for user ${caller.userId}.`)
  return keypair
}

async function readZone(tx: Tx, zone: string): Promise<string> {
  if (zone === '') return ''
  const hosts = await listHosts(tx)
  if (hosts.some((host) => host.availabilityZone === zone)) return zone
  throw new ApiError('badRequest', `Availability zone '${zone}' does not exist.`)
}

function checkUserData(userData: string | null): void {
  if (userData !== null && !isBase64(userData)) throw new ApiError('badRequest', 'user_data must be base64.')
}

async function readSecurityGroups(
  cloud: Pick<Cloud, 'config'>,
  tx: Tx,
  caller: Caller,
  wished: { name: string }[],
  now: number,
): Promise<string[]> {
  const byDefault = await ensureDefaultGroup(cloud, tx, caller.projectId, now)
  const ids = new Set<string>()
  for (const { name } of wished) {
    const groups = name === DEFAULT_GROUP ? [byDefault] : await listGroupsNamed(tx, caller.projectId, name)
    const [group, another] = groups
    if (!group)
      throw new ApiError('badRequest', `Security group ${name} could not be found in project ${caller.projectId}.`)
    if (another) throw new ApiError('conflictingRequest', `Several security groups are named ${name}; use an id.`)
    ids.add(group.id)
  }
  return ids.size > 0 ? [...ids] : [byDefault.id]
}

/**
 * How many of the wished servers the quota leaves room for.
 * @throws ApiError forbidden when those are fewer than the least.
 */
async function fitQuota(
  cloud: Cloud,
  tx: Tx,
  caller: Caller,
  { min, max }: Counts,
  flavor: Row<'flavors'>,
  metadata: Record<string, string>,
): Promise<number> {
  const { quotaServers, quotaVcpus, quotaRamMib } = cloud.config
  let count = max
  const fit = (what: string, each: number, used: number, limit: number) => {
    if (limit < 0 || each === 0) return
    count = Math.min(count, Math.floor((limit - used) / each))
    if (count >= min) return
    throw new ApiError(
      'forbidden',
      `Quota exceeded for ${what}: requested ${min * each}, already used ${used} of ${limit}.`,
    )
  }
  assertMetadataQuota(cloud, metadata)
  await takeTurn(tx)
  const used = await readUsage(tx, caller.projectId)
  fit('instances', 1, used.servers, quotaServers)
  fit('cores', flavor.vcpus, used.vcpus, quotaVcpus)
  fit('ram', flavor.ramMib, used.ramMib, quotaRamMib)
  return count
}

/** @throws ApiError forbidden when the project may not have so many more ports. */
async function assertPortQuota(tx: Tx, { projectId }: Caller, more: number): Promise<void> {
  if (more === 0) return
  await assertNetworkQuota(tx, projectId, 'port', more).catch((error: unknown) => {
    throw asComputeError(error)
  })
}

/** Makes a port for each card, or takes the one that the caller made. */
async function giveCards(
  tx: Tx,
  caller: Caller,
  serverId: string,
  cards: WishedCard[],
  securityGroupIds: string[],
  now: number,
): Promise<void> {
  for (const [position, card] of cards.entries()) {
    if ('portId' in card) {
      if (await bindPort(tx, card.portId, serverId, OWNERS.server, position)) continue
      throw new ApiError('conflictingRequest', `Port ${card.portId} is still in use.`)
    }
    await insertPort(tx, {
      projectId: caller.projectId,
      networkId: card.networkId,
      deviceId: serverId,
      deviceOwner: OWNERS.server,
      position,
      fixedIps: card.ipAddress === undefined ? undefined : [{ ipAddress: card.ipAddress }],
      securityGroupIds,
      isOwnedByServer: true,
      now,
    }).catch(refuseTakenAddress)
  }
}

/** An address in use is the caller's mistake here, and a conflict everywhere else. Source: shared/spec/faults.md, S01. */
function refuseTakenAddress(error: unknown): never {
  if (error instanceof ApiError && error.type === 'IpAddressAlreadyAllocated') {
    throw new ApiError('badRequest', error.message, { cause: error })
  }
  throw error
}
