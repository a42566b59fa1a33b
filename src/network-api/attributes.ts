/**
 * What may stand in the bodies of the network API: a table of attributes a resource, each with its schema, read leniently
 * where the services are lenient (`"True"` for true, `"80"` for 80) and strictly everywhere else.
 */
import { Ajv, type ValidateFunction } from 'ajv'
import { type Static, type TSchema, Type } from 'typebox'
import type { NetworkDialect } from './dialect.ts'
import { networkError } from './network-errors.ts'

export interface Attribute<Schema extends TSchema = TSchema> {
  schema: Schema
  /** `boolean` takes the strings True and False, `integer` digit strings; both in any place that has them. */
  coerce?: 'boolean' | 'integer'
}

export type Attributes = Record<string, Attribute>

/** What a body said: only the attributes that it had. */
export type Values<Table extends Attributes> = { [Name in keyof Table]?: Static<Table[Name]['schema']> }

export const attribute = <Schema extends TSchema>(schema: Schema): Attribute<Schema> => ({ schema })

/** A text of at most 255 characters, as names and descriptions are. */
export const text = (maxLength = 255) => attribute(Type.String({ maxLength }))

export const flag = (): Attribute<ReturnType<typeof Type.Boolean>> => ({ schema: Type.Boolean(), coerce: 'boolean' })

export const integer = (minimum: number, maximum: number): Attribute<ReturnType<typeof Type.Integer>> => ({
  schema: Type.Integer({ minimum, maximum }),
  coerce: 'integer',
})

export const UUID_PATTERN = '^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$'

export const uuid = () => attribute(Type.String({ pattern: UUID_PATTERN, description: 'a UUID' }))

/** Null, or what the attribute takes. */
export const nullable = <Schema extends TSchema>({ schema, ...rest }: Attribute<Schema>) => ({
  schema: Type.Union([schema, Type.Null()]),
  ...rest,
})

/** How a body is to be read. */
export interface BodyShape<Table extends Attributes> {
  /** `network`: what the body has around the attributes. */
  singular: string
  attributes: Table
  required?: readonly (keyof Table & string)[]
  /** Members by another name that mean the same: typos of the UOS document. */
  aliases?: Record<string, string>
  /** Members that are known, but cannot be written here. */
  readOnly?: readonly string[]
}

const ajv = new Ajv({ allErrors: false, validateSchema: false, strict: false })
const checks = new WeakMap<TSchema, ValidateFunction>()

/**
 * The values of one thing in a body.
 * @param given what stood in the envelope.
 * @throws ApiError HTTPBadRequest for what is missing, wrong, or (Neutron only) unknown or not to be written.
 */
export function readValues<Table extends Attributes>(
  given: unknown,
  shape: BodyShape<Table>,
  dialect: NetworkDialect,
): Values<Table> {
  if (!isObject(given)) throw badRequest(`Unable to find '${shape.singular}' in request body.`)
  const { attributes, aliases = {}, required = [], readOnly = [] } = shape
  const values: Record<string, unknown> = {}
  const unknown: string[] = []
  for (const [member, value] of Object.entries(given)) {
    const name = Object.hasOwn(aliases, member) ? (aliases[member] ?? member) : member
    const known = Object.hasOwn(attributes, name) ? attributes[name] : undefined
    if (known) values[name] = readValue(known, value, member)
    else if (dialect === 'neutron' && readOnly.includes(name)) {
      throw badRequest(`Cannot update read-only attribute ${member}.`)
    } else unknown.push(member)
  }
  if (unknown.length > 0 && dialect === 'neutron') {
    throw badRequest(`Unrecognized attribute(s) '${unknown.join(', ')}'.`)
  }
  for (const name of required) {
    if (values[name] === undefined) {
      throw badRequest(`Failed to parse request. Required attribute '${name}' not specified.`)
    }
  }
  return values as Values<Table>
}

/** The body's envelope: one thing, or (where `plural` is taken) several. */
export function readEnvelope(body: unknown, singular: string, plural?: string): { given: unknown[]; isBulk: boolean } {
  if (isObject(body)) {
    if (Object.hasOwn(body, singular)) return { given: [body[singular]], isBulk: false }
    const several = plural !== undefined && Object.hasOwn(body, plural) ? body[plural] : undefined
    if (Array.isArray(several) && several.length > 0) return { given: several, isBulk: true }
  }
  throw badRequest(`Unable to find '${singular}' in request body.`)
}

/** The schema of a body, for the API's document. */
export function bodySchema({ singular, attributes, required = [] }: BodyShape<Attributes>): TSchema {
  const members = Object.entries(attributes).map(([name, { schema }]) => [
    name,
    required.includes(name) ? schema : Type.Optional(schema),
  ])
  return Type.Object({ [singular]: Type.Object(Object.fromEntries(members)) })
}

function readValue({ schema, coerce }: Attribute, given: unknown, member: string): unknown {
  const value = coerce === 'boolean' ? toBoolean(given) : coerce === 'integer' ? toInteger(given) : given
  let check = checks.get(schema)
  if (!check) {
    check = ajv.compile(schema)
    checks.set(schema, check)
  }
  if (check(value)) return value
  const [error] = check.errors ?? []
  const place = (error?.instancePath ?? '').slice(1).replaceAll('/', '.')
  const reason = [place === '' ? '' : `'${place}'`, error?.message ?? 'it is not valid'].filter(Boolean).join(' ')
  throw badRequest(`Invalid input for ${member}. Reason: ${reason}.`)
}

function toBoolean(value: unknown): unknown {
  if (value === 1 || (typeof value === 'string' && /^(true|1)$/i.test(value))) return true
  if (value === 0 || (typeof value === 'string' && /^(false|0)$/i.test(value))) return false
  return value
}

const toInteger = (value: unknown): unknown =>
  typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : value

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const badRequest = (message: string) => networkError('HTTPBadRequest', message)
