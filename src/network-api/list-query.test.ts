import { deepEqual, equal, throws } from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { type Query, type Shown, selectPage, trim } from './list-query.ts'

const things: Shown[] = [
  {
    id: 'a',
    name: 'web',
    admin_state_up: true,
    mtu: 1450,
    tags: ['red', 'blue'],
    gateway: null,
    groups: ['g1', 'g2'],
    fixed_ips: [],
  },
  { id: 'b', name: 'web', admin_state_up: false, mtu: 900, tags: ['red'], gateway: 'x', groups: [], fixed_ips: [] },
  {
    id: 'c',
    name: 'db',
    admin_state_up: true,
    mtu: 1400,
    tags: [],
    gateway: 'x',
    groups: ['g2'],
    fixed_ips: [{ subnet_id: 's1', ip_address: '10.0.0.3' }],
  },
]
const ids = (query: Query) => selectPage(things, query).items.map(({ id }) => id)

describe('selectPage', () => {
  const filters: [Query, string[]][] = [
    [{}, ['a', 'b', 'c']],
    [{ name: 'web' }, ['a', 'b']],
    [{ name: ['web', 'db'], admin_state_up: 'True' }, ['a', 'c']],
    [{ admin_state_up: '0' }, ['b']],
    [{ mtu: '1400' }, ['c']],
    [{ gateway: '' }, ['a']],
    [{ groups: 'g2' }, ['a', 'c']],
    [{ fixed_ips: 'ip_address=10.0.0.3' }, ['c']],
    [{ fixed_ips: 'ip_address_substr=0.0' }, ['c']],
    [{ fixed_ips: 'subnet_id=s2' }, []],
    [{ tags: 'red,blue' }, ['a']],
    [{ 'tags-any': 'blue,green' }, ['a']],
    [{ 'not-tags': 'red' }, ['c']],
    [{ 'not-tags-any': 'blue,green' }, ['b', 'c']],
    [{ no_such_member: 'x' }, ['a', 'b', 'c']],
    [{ constructor: 'x' }, ['a', 'b', 'c']],
    [{ sort_key: 'mtu' }, ['b', 'c', 'a']],
    [{ sort_key: ['name', 'mtu'], sort_dir: ['asc', 'desc'] }, ['c', 'a', 'b']],
  ]
  for (const [query, expected] of filters) {
    it(`answers ${JSON.stringify(query)} with ${expected.join(' ') || 'nothing'}`, () =>
      deepEqual(ids(query), expected))
  }

  it('refuses what is no limit, marker, direction or sort key', () => {
    throws(() => ids({ limit: '-1' }), /limit must be/)
    throws(() => ids({ marker: 'z' }), /Marker z/)
    throws(() => ids({ sort_key: 'name', sort_dir: 'up' }), /sort_dir/)
    throws(() => ids({ sort_key: 'groups' }), /nothing to sort by/)
    throws(() => ids({ sort_key: 'toString' }), /nothing to sort by/)
  })

  it('walks all pages forward and back, each thing once, whatever the page size', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 60 }), (limit, count) => {
        const all = Array.from({ length: count }, (_, n): Shown => ({ id: `i${n}`, n }))
        const walk = (start: Query, direction: 'next' | 'previous') => {
          const pages: string[][] = []
          for (let query: Query | undefined = start; query; ) {
            const page = selectPage(all, query)
            pages.push(page.items.map(({ id }) => id))
            const next: URLSearchParams | null | undefined = page.links?.[direction]
            query = next ? Object.fromEntries(next) : undefined
          }
          return pages
        }
        const expected = all.map(({ id }) => id)
        deepEqual(walk({ limit: String(limit) }, 'next').flat(), expected)
        deepEqual(
          walk({ limit: String(limit), page_reverse: 'True' }, 'previous')
            .reverse()
            .flat(),
          expected,
        )
      }),
    )
  })

  it('keeps the other words of the query in the links', () => {
    const { links } = selectPage(things, { limit: '1', name: 'web', fields: ['id', 'name'] })
    equal(String(links?.next), 'limit=1&name=web&fields=id&fields=name&marker=a')
    equal(links?.previous, null)
  })
})

describe('trim', () => {
  it('leaves the members that are named, those that exist', () => {
    deepEqual(trim(things[1] as Shown, { fields: ['id', 'mtu', 'nonsense'] }), { id: 'b', mtu: 900 })
    deepEqual(trim(things[1] as Shown, {}), things[1])
  })
})
