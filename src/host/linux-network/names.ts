import { createHash } from 'node:crypto'
import { resolve } from 'node:path'

/** The bridge of every guest network; each lives in a namespace of its own, so the name never clashes. */
export const BRIDGE = 'br0'

/** Where guests ask for their metadata, as every cloud image expects. */
export const METADATA_ADDRESS = '169.254.169.254'

/** What every tap is called to begin with; the filters refuse frames of a `tap…` they do not know. */
export const TAP_PREFIX = 'tap'

const ID = /^[A-Za-z0-9-]{1,64}$/

const digest = (text: string): string => createHash('sha256').update(text).digest('hex')

/**
 * What every namespace of this data directory starts with: several clouds (and tests) share a machine, and each
 * touches only its own.
 */
export const namespacePrefix = (dataDir: string): string => `nv-${digest(resolve(dataDir)).slice(0, 6)}-`

/** The namespace of a network. It carries the whole id: a shortened one could put two tenants into one namespace. */
export const namespaceName = (dataDir: string, networkId: string): string =>
  namespacePrefix(dataDir) + safeId(networkId)

/**
 * The tap of a port, 15 characters, which is the most the kernel takes. Of the hash, since ids that were written by
 * hand (seeds, tests) often differ only at their end.
 */
export const tapName = (portId: string): string => TAP_PREFIX + digest(portId).slice(0, 12)

/** The chains of a security group: what its rules let in, what out. Of the hash: an id need not be fit for a name. */
export const groupChainName = (groupId: string, direction: 'in' | 'out'): string =>
  `sg_${digest(groupId).slice(0, 16)}_${direction}`

/** The set of the addresses of a group's members, for the rules that name it as remote. */
export const remoteSetName = (groupId: string, version: 4 | 6): string =>
  `rg_${digest(groupId).slice(0, 16)}_${version}`

/** The fixed MAC of a network's bridge: left alone, a bridge takes a new one as taps come, and guests' ARP goes stale. */
export function bridgeMac(networkId: string): string {
  return `fa:17:${(digest(networkId).slice(0, 8).match(/../g) ?? []).join(':')}`
}

export const isSafeId = (id: string): boolean => ID.test(id)

/**
 * An id that may stand in a path and in a namespace's name.
 * @throws Error when it may not; ids are made by us, so that is a bug of the caller.
 */
export function safeId(id: string): string {
  if (!isSafeId(id)) throw new Error(`Not an id: ${JSON.stringify(id)}`)
  return id
}
