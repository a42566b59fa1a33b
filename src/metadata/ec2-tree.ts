/**
 * What a guest reads in the way of Amazon's EC2, from the root of the service. Pure.
 * Source: EC2's instance metadata categories; which version brought what: EC2's list, as far as OpenStack clouds have it.
 */
import { hardwareOf } from '../images/hardware-of.ts'
import { hostNameOf } from '../lib/host-names.ts'
import { ROOT_DEVICE } from '../servers/device-names.ts'
import type { GuestFacts } from './guest-facts.ts'
import type { Tree } from './tree.ts'

const VERSIONS = [
  '1.0',
  '2007-01-19',
  '2007-03-01',
  '2007-08-29',
  '2007-10-10',
  '2007-12-15',
  '2008-02-01',
  '2008-09-01',
  '2009-04-04',
  'latest',
]

/** @param ipAddress of the card that asks; undefined: the first card's. */
export function ec2Tree(facts: GuestFacts, ipAddress?: string): Tree {
  return Object.fromEntries(VERSIONS.map((version) => [version, versionTree(facts, version, ipAddress)]))
}

function versionTree(facts: GuestFacts, version: string, ipAddress: string | undefined): Tree {
  const { userData } = facts.server
  return {
    'meta-data': metaData(facts, version, ipAddress),
    ...(userData === null ? {} : { 'user-data': () => Buffer.from(userData, 'base64') }),
  }
}

function metaData(facts: GuestFacts, version: string, asked: string | undefined): Tree {
  const { server, keys, securityGroups, cards } = facts
  const hostName = hostNameOf(server.name)
  const addresses = cards.flatMap((card) => card.addresses)
  const own =
    addresses.find(({ ipAddress }) => ipAddress === asked) ?? addresses.find(({ ipVersion }) => ipVersion === 4)
  // `latest` comes after all dates, and 1.0 before them.
  const since = (first: string, members: Tree): Tree => (version < first ? {} : members)
  return {
    'ami-id': () => imageName('ami', server.imageId),
    'ami-launch-index': () => String(server.launchIndex),
    'ami-manifest-path': () => '(unknown)',
    hostname: () => hostName,
    'instance-id': () => `i-${server.number.toString(16).padStart(8, '0')}`,
    'local-ipv4': () => (own?.ipVersion === 4 ? own.ipAddress : ''),
    ...(keys.length === 0 ? {} : { 'public-keys': publicKeys(keys) }),
    'reservation-id': () => server.reservationId,
    'security-groups': () => securityGroups.join('\n'),
    ...since('2007-03-01', {
      'local-hostname': () => hostName,
      'public-hostname': () => hostName,
      'public-ipv4': () => own?.floatingIpAddress ?? '',
    }),
    ...since('2007-08-29', { 'instance-type': () => server.flavorName }),
    ...since('2007-12-15', { 'block-device-mapping': blockDevices(facts), ...kernels(facts) }),
    ...since('2008-02-01', { placement: { 'availability-zone': () => server.availabilityZone } }),
    ...since('2008-09-01', { 'instance-action': () => 'none' }),
  }
}

/** An image as EC2 would call it; all zeros for none. */
const imageName = (kind: 'ami' | 'aki' | 'ari', imageId: string): string =>
  `${kind}-${imageId.slice(0, 8).padEnd(8, '0')}`

function kernels({ server }: GuestFacts): Tree {
  const { kernel } = hardwareOf(JSON.parse(server.imageProperties))
  if (kernel === null) return {}
  const { kernelImageId, ramdiskImageId } = kernel
  return {
    'kernel-id': () => imageName('aki', kernelImageId),
    ...(ramdiskImageId === null ? {} : { 'ramdisk-id': () => imageName('ari', ramdiskImageId) }),
  }
}

/** `ami` and `root` are what boots; then the server's own disks, and volumes in the order of their names. */
function blockDevices({ server, disks }: GuestFacts): Tree {
  const isRoot = (bootIndex: number | null) => server.imageId === '' && bootIndex === 0
  const root = disks.find(({ bootIndex }) => isRoot(bootIndex))?.deviceName ?? ROOT_DEVICE
  const named = (prefix: string, ones: GuestFacts['disks']): Tree =>
    Object.fromEntries(ones.map(({ deviceName }, index) => [`${prefix}${index}`, () => deviceName]))
  const swap = disks.find(({ content }) => content === 'swap')
  return {
    ami: () => root.replace('/dev/', ''),
    root: () => root,
    ...named(
      'ephemeral',
      disks.filter(({ content }) => content === 'ext4' || content === 'nothing'),
    ),
    ...(swap ? { swap: () => swap.deviceName } : {}),
    ...named(
      'ebs',
      disks.filter(({ content, bootIndex }) => content === 'volume' && !isRoot(bootIndex)),
    ),
  }
}

/** EC2 lists keys as `0=name`, and reads them under `0`. */
function publicKeys(keys: GuestFacts['keys']): Tree {
  return Object.fromEntries(keys.map(({ name, data }, index) => [`${index}=${name}`, { 'openssh-key': () => data }]))
}
