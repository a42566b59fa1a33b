import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ApiError } from '../http/api-error.ts'
import { prefersJson } from './image-faults.ts'
import { type RawQuery, readImageQuery } from './image-query.ts'

const newestFirst = [
  { column: 'createdAt', isDescending: true },
  { column: 'id', isDescending: true },
]

const NOT_HIDDEN = { kind: 'compare', column: 'isHidden', operator: '=', value: 0 }

describe('readImageQuery', () => {
  test('without members it asks for 25 images, newest first', () => {
    const scope = { withCommunity: false, memberStatus: 'accepted' }
    assert.deepEqual(readImageQuery({}), {
      conditions: [NOT_HIDDEN],
      scope,
      order: newestFirst,
      limit: 25,
      marker: undefined,
    })
  })

  const orders: [string, RawQuery, string][] = [
    ['sort with a direction each', { sort: 'name:asc,size:desc' }, 'name sizeBytes- createdAt- id-'],
    ['sort without directions descends', { sort: 'name,status' }, 'name- status- createdAt- id-'],
    ['sort more than once', { sort: ['name:asc', 'status:asc'] }, 'name status createdAt- id-'],
    ['nothing follows the id', { sort: 'id:asc,name:asc' }, 'id'],
    ['one direction for all keys', { sort_key: ['name', 'size'], sort_dir: 'asc' }, 'name sizeBytes createdAt- id-'],
    [
      'a direction for each key',
      { sort_key: ['name', 'size'], sort_dir: ['asc', 'desc'] },
      'name sizeBytes- createdAt- id-',
    ],
    ['a direction alone', { sort_dir: 'asc' }, 'createdAt id-'],
    ['a key alone descends', { sort_key: 'updated_at' }, 'updatedAt- createdAt- id-'],
  ]
  for (const [what, query, expected] of orders) {
    test(`order: ${what}`, () => {
      const { order } = readImageQuery(query)
      assert.equal(order.map(({ column, isDescending }) => `${column}${isDescending ? '-' : ''}`).join(' '), expected)
    })
  }

  const lists: [string, string[]][] = [
    ['in:a,b', ['a', 'b']],
    ['in:a', ['a']],
    ['in:"a,b",c', ['a,b', 'c']],
    ['in:', ['']],
    ['in:a,', ['a', '']],
    ['ina', ['ina']],
    ['a,b', ['a,b']],
  ]
  for (const [value, values] of lists) {
    test(`name=${value} asks for ${JSON.stringify(values)}`, () => {
      assert.deepEqual(readImageQuery({ name: value }).conditions, [
        { kind: 'oneOf', column: 'name', values },
        NOT_HIDDEN,
      ])
    })
  }

  test('times are taken with and without an operator, and without a zone as UTC', () => {
    const at = Date.UTC(2026, 10, 24, 12)
    const compare = (operator: string, value: number) => ({ kind: 'compare', column: 'createdAt', operator, value })
    const second = { kind: 'between', column: 'createdAt', from: at, to: at + 999 }
    for (const [value, expected] of [
      ['2026-11-24T12:00:00Z', { ...second, isOutside: false }],
      ['neq:2026-11-24T12:00Z', { ...second, isOutside: true }],
      ['gte:2026-11-24T13:00:00+01:00', compare('>=', at)],
      ['gt:2026-11-24T12:00:00Z', compare('>', at + 999)],
      ['lt:2026-11-24T12:00:00', compare('<', at)],
      ['lte:2026-11-24T12:00:00.5Z', compare('<=', at + 999)],
    ] as const) {
      assert.deepEqual(readImageQuery({ created_at: value }).conditions, [expected, NOT_HIDDEN], value)
    }
  })

  test('an unknown member asks for a property', () => {
    const [condition] = readImageQuery({ 'os"type': 'a\\b' }).conditions
    assert.deepEqual(condition, {
      kind: 'holds',
      column: 'properties',
      parts: ['{"os\\"type":"a\\\\b"', ',"os\\"type":"a\\\\b"'],
    })
  })

  const refused: RawQuery[] = [
    ...[{ limit: '-1' }, { limit: 'x' }, { limit: '' }, { limit: '1.5' }],
    ...[
      { sort: 'color' },
      { sort: 'name:up' },
      { sort: '' },
      { sort: 'constructor' },
      { sort: 'name', sort_dir: 'asc' },
    ],
    ...[{ sort_key: 'color' }, { sort_dir: 'up' }, { sort_key: 'name', sort_dir: ['asc', 'asc'] }],
    ...[
      { status: 'good' },
      { status: 'in:active,good' },
      { visibility: 'secret' },
      { name: 'in:"a' },
      { name: 'in:a"b' },
    ],
    ...[{ size_min: 'x' }, { size_max: '-1' }, { min_ram: '1.5' }, { min_disk: '99999999999' }],
    ...[{ protected: 'maybe' }, { os_hidden: '1' }],
    ...[{ created_at: 'yesterday' }, { created_at: 'xx:2026-11-24T12:00:00Z' }, { updated_at: '2026-13-24T12:00:00Z' }],
  ]
  for (const query of refused) {
    test(`${JSON.stringify(query)} is refused`, () => {
      assert.throws(
        () => readImageQuery(query),
        (error) => error instanceof ApiError && error.fault === 'badRequest',
      )
    })
  }
})

describe('prefersJson', () => {
  const asked: [string | undefined, boolean][] = [
    [undefined, false],
    ['', false],
    ['*/*', false],
    ['text/html', false],
    ['application/json', true],
    ['application/json, text/plain, */*', false],
    ['text/html,application/json', false],
    ['application/json;q=0.9, text/html;q=0.8', true],
    ['text/html;q=0.9, application/json', true],
    ['APPLICATION/JSON; charset=utf-8', true],
    ['application/*, text/*;q=0.1', true],
    ['application/json, text/html;q=0', true],
    ['image/png', false],
  ]
  for (const [accept, expected] of asked) {
    test(`Accept: ${accept} ${expected ? 'asks for JSON' : 'gets a page'}`, () => {
      assert.equal(prefersJson(accept), expected)
    })
  }
})
