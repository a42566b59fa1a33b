import assert from 'node:assert/strict'
import { test } from 'node:test'
import { changeScript, type Part, type Ruleset, replaceScript } from './ruleset.ts'

const chain = (...rules: string[]): Part => ({ kind: 'chain', rules })
const set = (...elements: string[]): Part => ({ kind: 'set', type: 'ipv4_addr', elements })
const map = (elements: Record<string, string>): Part => ({
  kind: 'map',
  type: 'mark',
  elements: new Map(Object.entries(elements)),
})
const base: Ruleset = new Map<string, Part>([
  ['inet ports', map({ '0x1': 'goto a', '0x2': 'goto b' })],
  ['inet peers', set('10.0.0.1')],
  ['inet a', chain('accept')],
  ['inet b', chain('drop')],
])
const changed = (...parts: [string, Part | undefined][]): Ruleset => {
  const ruleset = new Map(base)
  for (const [name, part] of parts) {
    if (part) ruleset.set(name, part)
    else ruleset.delete(name)
  }
  return ruleset
}

test('a change names what it changes and nothing else', () => {
  const table: [string, Ruleset, string[]][] = [
    ['nothing', changed(['inet a', chain('accept')]), []],
    ['a rule', changed(['inet a', chain('drop')]), ['flush chain inet novella a', 'add rule inet novella a drop']],
    ['no rule left', changed(['inet a', chain()]), ['flush chain inet novella a']],
    [
      'members',
      changed(['inet peers', set('10.0.0.1', '10.0.0.2')]),
      ['flush set inet novella peers', 'add element inet novella peers { 10.0.0.1, 10.0.0.2 }'],
    ],
    [
      'a port that comes',
      changed(['inet ports', map({ '0x1': 'goto a', '0x2': 'goto b', '0x3': 'goto c' })], ['inet c', chain('accept')]),
      ['add chain inet novella c', 'add element inet novella ports { 0x3 : goto c }', 'add rule inet novella c accept'],
    ],
    [
      'a port that goes',
      changed(['inet ports', map({ '0x1': 'goto a' })], ['inet b', undefined]),
      [
        'delete element inet novella ports { 0x2 : goto b }',
        'flush chain inet novella b',
        'delete chain inet novella b',
      ],
    ],
    ['a set that goes', changed(['inet peers', undefined]), ['delete set inet novella peers']],
  ]
  for (const [what, after, lines] of table) {
    assert.deepEqual(changeScript(base, after).split('\n').filter(Boolean), lines, what)
  }
})

test('replacing starts both tables anew, base chains with their hook', () => {
  const script = replaceScript(
    new Map([['bridge from', { kind: 'chain', hook: 'type filter hook x', rules: ['drop'] }]]),
  )
  assert.deepEqual(script.split('\n').slice(3).filter(Boolean), [
    'add table inet novella',
    'delete table inet novella',
    'add table inet novella',
    'add chain bridge novella from { type filter hook x }',
    'add rule bridge novella from drop',
  ])
})

test('long sets come in several commands', () => {
  const addresses = Array.from({ length: 2_500 }, (_, index) => `10.0.${index >> 8}.${index & 255}`)
  const lines = changeScript(base, changed(['inet peers', set(...addresses)])).split('\n')
  assert.equal(lines.filter((line) => line.startsWith('add element')).length, 3)
})
