import ValidatorSelector from '@fastify/ajv-compiler'
import SerializerSelector from '@fastify/fast-json-stringify-compiler'
import type { Options } from 'ajv'
import type { FastifySchemaCompiler } from 'fastify'
import type { FastifySerializerCompiler } from 'fastify/types/schema.js'
import type { App } from './app.ts'

/**
 * Lets schemas be compiled when they are first used: to compile those of all routes takes a fifth of a second at each
 * start, and most processes see few of them. The compilers are Fastify's own.
 */
export function compileLate(app: App, ajvOptions: Options, { isStrict }: { isStrict: boolean }): void {
  const compileCheck = ValidatorSelector()(
    {},
    { customOptions: ajvOptions },
  ) as unknown as FastifySchemaCompiler<unknown>
  const compileWriter = SerializerSelector()({}, {}) as unknown as FastifySerializerCompiler<unknown>

  app.setValidatorCompiler((route) => {
    let check: (ReturnType<typeof compileCheck> & { errors?: unknown }) | undefined
    // Fastify looks for what was wrong on the function itself.
    const validate = (data: unknown) => {
      check ??= compileCheck(isStrict && route.httpPart === 'body' ? { ...route, schema: strict(route.schema) } : route)
      const outcome = check(data)
      Object.assign(validate, { errors: check.errors })
      return outcome
    }
    return validate
  })
  app.setSerializerCompiler((route) => {
    let write: ReturnType<typeof compileWriter> | undefined
    return (data) => {
      write ??= compileWriter(route)
      return write(data)
    }
  })
}

/** The schema with all objects closed that do not say what else they hold. */
export function strict<Schema>(schema: Schema): Schema {
  if (Array.isArray(schema)) return schema.map(strict) as Schema
  if (typeof schema !== 'object' || schema === null) return schema
  const inside: Record<string, unknown> = Object.fromEntries(
    Object.entries(schema).map(([key, value]) => [key, strict(value)]),
  )
  const isOpen =
    inside.type === 'object' && inside.properties !== undefined && inside.additionalProperties === undefined
  return (isOpen ? { ...inside, additionalProperties: false } : inside) as Schema
}
