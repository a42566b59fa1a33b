/**
 * The two trees a guest reads about itself, as values: OpenStack's and EC2's. A branch lists its members, a leaf is a
 * text or bytes, and what is undefined is not there.
 * Source: the metadata section of Nova's user guide; EC2's instance metadata categories.
 */
import { randomBytes } from 'node:crypto'
import { hostNameOf } from '../lib/host-names.ts'
import type { GuestFacts } from './guest-facts.ts'

/** Leaves are made when they are read: a random seed differs each time. */
export type Tree = { [name: string]: Tree | (() => string | Buffer | undefined) }

const OPENSTACK_VERSIONS = [
  '2012-08-10',
  '2013-04-04',
  '2013-10-17',
  '2015-10-15',
  '2016-06-30',
  '2016-10-06',
  '2017-02-22',
  '2018-08-27',
  '2020-10-14',
  'latest',
]
const EC2_VERSIONS = [
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
/** Bytes of randomness a guest gets to start with. */
const SEED_BYTES = 512

/** Everything one guest may read, from the root of 169.254.169.254. */
export function metadataTree(guest: GuestFacts): Tree {
  const ec2 = ec2Tree(guest)
  const openstack = openstackTree(guest)
  return {
    ...Object.fromEntries(EC2_VERSIONS.map((version) => [version, ec2])),
    openstack: Object.fromEntries(OPENSTACK_VERSIONS.map((version) => [version, openstack])),
  }
}

function openstackTree({ server, adminPass, keys, cards }: GuestFacts): Tree {
  return {
    'meta_data.json': () =>
      JSON.stringify({
        uuid: server.id,
        name: server.name,
        hostname: hostNameOf(server.name),
        project_id: server.projectId,
        availability_zone: server.availabilityZone,
        launch_index: server.launchIndex,
        meta: JSON.parse(server.metadata),
        ...(adminPass === null ? {} : { admin_pass: adminPass }),
        ...(keys.length === 0 ? {} : { public_keys: Object.fromEntries(keys.map(({ name, data }) => [name, data])) }),
        keys,
        devices: [],
        random_seed: randomBytes(SEED_BYTES).toString('base64'),
      }),
    'network_data.json': () =>
      JSON.stringify({
        links: cards.map((card) => ({
          id: linkName(card.portId),
          type: 'bridge',
          vif_id: card.portId,
          ethernet_mac_address: card.macAddress,
          mtu: card.mtu,
        })),
        networks: cards.map((card, index) => ({
          id: `network${index}`,
          type: 'ipv4_dhcp',
          link: linkName(card.portId),
          network_id: card.networkId,
        })),
        services: [...new Set(cards.flatMap((card) => card.dnsNameservers))].map((address) => ({
          type: 'dns',
          address,
        })),
      }),
    'vendor_data.json': () => '{}',
    'vendor_data2.json': () => '{"static": {}}',
    ...userDataLeaf('user_data', server.userData),
  }
}

function ec2Tree({ server, keys, securityGroups, ipAddress }: GuestFacts): Tree {
  const hostName = hostNameOf(server.name)
  const id = server.number.toString(16).padStart(8, '0')
  return {
    'meta-data': {
      'ami-id': () => `ami-${id}`,
      'ami-launch-index': () => String(server.launchIndex),
      'block-device-mapping': { ami: () => 'vda', root: () => '/dev/vda' },
      hostname: () => hostName,
      'instance-action': () => 'none',
      'instance-id': () => `i-${id}`,
      'instance-type': () => server.flavorName,
      'local-hostname': () => hostName,
      'local-ipv4': () => ipAddress,
      placement: { 'availability-zone': () => server.availabilityZone },
      'public-hostname': () => hostName,
      'public-ipv4': () => '',
      ...(keys.length === 0 ? {} : { 'public-keys': publicKeysTree(keys) }),
      'reservation-id': () => server.reservationId,
      'security-groups': () => securityGroups.join('\n'),
    },
    ...userDataLeaf('user-data', server.userData),
  }
}

/** EC2 lists keys as `0=name`, and reads them under `0`. */
function publicKeysTree(keys: GuestFacts['keys']): Tree {
  return Object.fromEntries(keys.map(({ name, data }, index) => [`${index}=${name}`, { 'openssh-key': () => data }]))
}

function userDataLeaf(name: string, userData: string | null): Tree {
  return userData === null ? {} : { [name]: () => Buffer.from(userData, 'base64') }
}

const linkName = (portId: string): string => `tap${portId.slice(0, 11)}`
