/** What each key of `POST …/action` brings: one row of the table. */
import type { TSchema } from 'typebox'
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import type { Links } from '../http/links.ts'
import type { Caller, Operation } from '../http/policy.ts'

/** What a row of the table is called with. */
export interface ActionCall<Body> {
  cloud: Cloud
  caller: Caller
  links: Links
  serverId: string
  body: Body
  /** A header of the answer. */
  setHeader(name: string, value: string): void
  /** Makes something in a transaction and sends what it returns; a repeated request gets the first answer again. */
  once<Answer>(make: (tx: Tx) => Promise<Answer>): Promise<void>
}

/** One key of `POST …/action`. */
export interface ActionRow {
  body: TSchema
  operation: Operation
  status: number
  /** What is shown of the answer, where that is not all of it. */
  show?(answer: unknown): unknown
  /** The answer's body, or undefined for none or when it was sent with `once`. */
  accept(call: ActionCall<never>): Promise<unknown>
}

/** A row whose body is of another type than its schema says by itself. */
// biome-ignore format: one row a line
export const row = <Schema extends TSchema, Body>(body: Schema, operation: Operation, status: number, accept: (call: ActionCall<Body>) => Promise<unknown>): ActionRow =>
  ({ body, operation, status, accept: accept as ActionRow['accept'] })
