import { deepEqual, throws } from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Type } from 'typebox'
import { attribute, flag, integer, nullable, readEnvelope, readValues, text, uuid } from './attributes.ts'

const shape = {
  singular: 'port',
  attributes: {
    name: text(),
    network_id: uuid(),
    admin_state_up: flag(),
    port: integer(1, 65_535),
    gateway_ip: nullable(text()),
    pairs: attribute(Type.Array(Type.Object({ ip_address: Type.String() }), { maxItems: 2 })),
  },
  required: ['name'],
  aliases: { admin_stat_up: 'admin_state_up' },
  readOnly: ['id', 'status'],
} as const

describe('readValues', () => {
  const read = (given: unknown, dialect: 'uos' | 'neutron' = 'neutron') => readValues(given, shape, dialect)

  it('takes booleans and numbers as the services do', () => {
    deepEqual(read({ name: 'x', admin_state_up: 'False', port: '234' }), {
      name: 'x',
      admin_state_up: false,
      port: 234,
    })
    deepEqual(read({ name: 'x', admin_stat_up: 'true' }), { name: 'x', admin_state_up: true })
    deepEqual(read({ name: 'x', gateway_ip: null }), { name: 'x', gateway_ip: null })
  })

  const wrong: [unknown, RegExp][] = [
    [undefined, /Unable to find 'port'/],
    [[], /Unable to find 'port'/],
    [{}, /Required attribute 'name'/],
    [{ name: 5 }, /Invalid input for name. Reason: must be string/],
    [{ name: 'x'.repeat(256) }, /more than 255/],
    [{ name: 'x', network_id: 'web' }, /Invalid input for network_id/],
    [{ name: 'x', admin_state_up: 'perhaps' }, /Invalid input for admin_state_up/],
    [{ name: 'x', admin_state_up: [] }, /Invalid input for admin_state_up/],
    [{ name: 'x', port: '1.5' }, /Invalid input for port/],
    [{ name: 'x', port: 65_536 }, /Invalid input for port/],
    [{ name: 'x', pairs: [{}] }, /Invalid input for pairs. Reason: '0'/],
    [{ name: 'x', colour: 1, size: 2 }, /Unrecognized attribute\(s\) 'colour, size'/],
    [{ name: 'x', toString: 1 }, /Unrecognized attribute/],
    [{ name: 'x', status: 'ACTIVE' }, /read-only attribute status/],
  ]
  for (const [given, message] of wrong) {
    it(`refuses ${JSON.stringify(given)?.slice(0, 60)}`, () => throws(() => read(given), message))
  }

  it('ignores what UOS does not know', () => {
    deepEqual(read({ name: 'x', colour: 1, status: 'ACTIVE', constructor: 2 }, 'uos'), { name: 'x' })
  })
})

describe('readEnvelope', () => {
  it('finds one or several', () => {
    deepEqual(readEnvelope({ port: 1 }, 'port', 'ports'), { given: [1], isBulk: false })
    deepEqual(readEnvelope({ ports: [1, 2] }, 'port', 'ports'), { given: [1, 2], isBulk: true })
  })

  it('refuses everything else', () => {
    for (const body of [undefined, null, [], 'x', {}, { ports: [] }, { ports: {} }]) {
      throws(() => readEnvelope(body, 'port', 'ports'), /Unable to find 'port'/)
    }
    throws(() => readEnvelope({ ports: [1] }, 'port'), /Unable to find/)
  })
})
