/** What a resource of the network API brings; `resourceRoutes` makes its five routes of it, in both dialects. */
import type { Cloud } from '../cloud.ts'
import type { Reader, Tx } from '../db/database.ts'
import type { Caller, Operation } from '../http/policy.ts'
import type { Attributes, BodyShape, Values } from './attributes.ts'
import type { NetworkDialect } from './dialect.ts'
import type { Query, Shown } from './list-query.ts'
import type { NetworkErrorType } from './network-errors.ts'

/** Which rows are wanted. More may be returned: the query is held against what is shown in any case. */
export interface Wanted {
  /** Only these; all when undefined. */
  ids?: readonly string[]
  /** The whole query of a list, for resources that look rows up by some of its filters. */
  query?: Query
}

/** What the work on one thing is given. */
export interface ResourceCall {
  cloud: Cloud
  caller: Caller
  dialect: NetworkDialect
  /** Epoch milliseconds. */
  now: number
}

/** A row as views need it, with whatever belongs to it. */
export interface Found {
  id: string
  /** Whose it is: who may change it, besides an admin. */
  projectId: string
}

export interface Resource<
  Row extends Found = Found,
  Creates extends Attributes = Attributes,
  Updates extends Attributes = Attributes,
> {
  /** `security_group`: the envelope of one. */
  singular: string
  /** `security_groups`: the envelope of several. */
  plural: string
  /** `security-groups`: its place in paths, where that is not `plural`. */
  path?: string
  /** `Security group`: how messages call it. */
  title: string
  notFound: NetworkErrorType
  read: Operation
  write: Operation
  /** Runs before anything is shown: makes what a project has without anybody making it. */
  prepare?(cloud: Cloud, caller: Caller): Promise<void>
  /**
   * Everything of what is wanted that the caller may see, in the order lists have without a wish, oldest first: own,
   * shared with the project, and all of it for an admin.
   */
  list(read: Reader, caller: Caller, wanted: Wanted): Promise<Row[]>
  /** As Neutron shows it. */
  neutronView(row: Row, caller: Caller): Shown
  /** As UOS shows it; the answer of a create lacks some members. */
  uosView(row: Row, isCreated: boolean): Shown
  create?: {
    shape: BodyShape<Creates>
    /** Several at once, by the plural envelope. */
    isBulk?: true
    /** The class the quota counts it under: `network`. */
    quota?: string
    /** @returns the id. `projectId` is whose it will be. */
    run(call: ResourceCall, tx: Tx, wish: Values<Creates>, projectId: string): Promise<string>
  }
  update?: {
    shape: BodyShape<Updates>
    run(call: ResourceCall, tx: Tx, row: Row, change: Values<Updates>): Promise<void>
  }
  remove?(call: ResourceCall, tx: Tx, row: Row): Promise<void>
}

/** A resource whose own types nobody needs any more. */
// biome-ignore lint/suspicious/noExplicitAny: each resource's types only have to fit each other
export type AnyResource = Resource<any, any, any>

/** Lets the types of a resource's parts be inferred from each other. */
export const resource = <Row extends Found, Creates extends Attributes, Updates extends Attributes>(
  parts: Resource<Row, Creates, Updates>,
): Resource<Row, Creates, Updates> => parts
