/**
 * What a guest reads below `/openstack`: each version has what its time knew, and old readers are not told more. Pure.
 * Source: Nova's user guide, "Metadata", and the versions as Nova's releases introduced them.
 */
import { randomBytes } from 'node:crypto'
import { hostNameOf } from '../lib/host-names.ts'
import type { GuestFacts } from './guest-facts.ts'
import { networkData } from './network-data.ts'
import type { Tree } from './tree.ts'

/** When things came, as the version that first had them. */
const SINCE = {
  randomSeed: '2013-04-04',
  password: '2013-04-04',
  vendorData: '2013-10-17',
  networkData: '2015-10-15',
  project: '2015-10-15',
  devices: '2016-06-30',
  vendorData2: '2016-10-06',
  dedicatedCpus: '2020-10-14',
} as const

/** The dated versions, oldest first. */
const VERSIONS = [
  '2012-08-10',
  '2013-04-04',
  '2013-10-17',
  '2015-10-15',
  '2016-06-30',
  '2016-10-06',
  '2017-02-22',
  '2018-08-27',
  '2020-10-14',
] as const

/** Bytes of randomness a guest gets to start with. */
const SEED_BYTES = 512

/** All versions, and the files that the server's owner sent along. */
export function openstackTree(facts: GuestFacts): Tree {
  const versions = [...VERSIONS, 'latest'].map((version): [string, Tree] => [version, versionTree(facts, version)])
  const contents = facts.files.map(({ content }, index): [string, () => Buffer] => [contentName(index), () => content])
  return {
    ...Object.fromEntries(versions),
    ...(contents.length === 0 ? {} : { content: Object.fromEntries(contents) }),
  }
}

/** The path of what guests post their password to, and read it from; undefined for any other path. */
export const isPasswordPath = (path: string): boolean => {
  const [, version] = /^\/+openstack\/+([^/]+)\/+password\/*$/.exec(path) ?? []
  return version !== undefined && [...VERSIONS, 'latest'].includes(version) && knows(version, 'password')
}

// `latest` comes after all dates.
const knows = (version: string, what: keyof typeof SINCE): boolean => version >= SINCE[what]

const contentName = (index: number): string => String(index).padStart(4, '0')

function versionTree(facts: GuestFacts, version: string): Tree {
  const { server, cards, vendorData } = facts
  const json = (content: () => unknown) => () => JSON.stringify(content())
  const { userData } = server
  return {
    'meta_data.json': json(() => metaData(facts, version)),
    ...(userData === null ? {} : { user_data: () => Buffer.from(userData, 'base64') }),
    ...(knows(version, 'password') ? { password: () => server.guestPassword ?? '' } : {}),
    ...(knows(version, 'vendorData') ? { 'vendor_data.json': json(() => vendorData) } : {}),
    ...(knows(version, 'networkData') ? { 'network_data.json': json(() => networkData(cards)) } : {}),
    ...(knows(version, 'vendorData2') ? { 'vendor_data2.json': json(() => ({ static: vendorData })) } : {}),
  }
}

function metaData({ server, adminPass, keys, disks, files }: GuestFacts, version: string) {
  return {
    uuid: server.id,
    name: server.name,
    hostname: hostNameOf(server.name),
    availability_zone: server.availabilityZone,
    launch_index: server.launchIndex,
    meta: JSON.parse(server.metadata) as Record<string, string>,
    ...(adminPass === null ? {} : { admin_pass: adminPass }),
    ...(keys.length === 0 ? {} : { public_keys: Object.fromEntries(keys.map(({ name, data }) => [name, data])) }),
    keys,
    ...(files.length === 0
      ? {}
      : { files: files.map(({ path }, index) => ({ path, content_path: `/content/${contentName(index)}` })) }),
    ...(knows(version, 'randomSeed') ? { random_seed: randomBytes(SEED_BYTES).toString('base64') } : {}),
    ...(knows(version, 'project') ? { project_id: server.projectId } : {}),
    ...(knows(version, 'devices') ? { devices: taggedDisks(disks) } : {}),
    ...(knows(version, 'dedicatedCpus') ? { dedicated_cpus: [] } : {}),
  }
}

/** Disks that were given a tag, to be found by it. Where on which bus a disk sits is the guest's to find out. */
const taggedDisks = (disks: GuestFacts['disks']) =>
  disks.flatMap(({ id, volumeId, deviceName, tag }) =>
    tag === null ? [] : [{ type: 'disk', serial: volumeId ?? id, path: deviceName, tags: [tag] }],
  )
