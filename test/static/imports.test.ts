import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { test } from 'node:test'

const src = join(import.meta.dirname, '../../src')
/** Folders that slices stand on; they know no slice, but for what the table below grants. */
const FLOOR = ['actions', 'compute-api', 'db', 'host', 'http', 'lib', 'network-api']
const sources = globSync('**/*.ts', { cwd: src }).filter(
  (file) => !file.endsWith('.test.ts') && !file.includes('pages/'),
)

interface Import {
  from: string
  to: string
}

const imports: Import[] = sources.flatMap((from) => {
  const text = readFileSync(join(src, from), 'utf8')
  return [...text.matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)].map((match) => ({
    from,
    to: relative(src, join(src, dirname(from), match[1] ?? '')),
  }))
})

const folderOf = (file: string): string => (file.includes('/') ? (file.split('/')[0] ?? '') : '.')
const isSlice = (file: string): boolean => folderOf(file) !== '.' && !FLOOR.includes(folderOf(file))

/** Why something stands outside the rule. */
const GRANTED: { from: RegExp; to: RegExp; because: string }[] = [
  { from: /^http\/(compute-)?app\.ts$/, to: /-routes\.ts$/, because: 'it registers the slices' },
  { from: /^http\/(token-auth|app)\.ts$/, to: /^identity\/token-store\.ts$/, because: 'every request carries a token' },
  {
    from: /^http\/gauges\.ts$/,
    to: /^(servers\/server-state|scheduler\/pick-host)\.ts$/,
    because: 'it counts by status',
  },
  { from: /./, to: /^cloud\.ts$/, because: 'the type of the world that routes are given' },
  { from: /./, to: /^config\.ts$/, because: 'settings are for all' },
  { from: /^commands\//, to: /./, because: 'commands compose' },
]

function isAllowed({ from, to }: Import): boolean {
  if (folderOf(from) === folderOf(to) || folderOf(from) === '.') return true
  if (GRANTED.some((grant) => grant.from.test(from) && grant.to.test(to))) return true
  if (!isSlice(to)) return folderOf(from) === 'host' ? ['host', 'lib'].includes(folderOf(to)) : folderOf(to) !== '.'
  if (!isSlice(from)) return false
  // A slice may use another's store and its pure decisions, never its routes or views.
  return !/-(routes|view|schema)\.ts$/.test(to)
}

test('imports point down: slices stand on the floor, and never on routes, views or schemas of another slice', () => {
  const wrong = imports.filter((one) => !isAllowed(one)).map(({ from, to }) => `${from} imports ${to}`)
  assert.deepEqual(wrong, [])
})

test('the host knows neither HTTP nor the database', () => {
  const wrong = imports.filter(({ from, to }) => /^host\//.test(from) && /^(http|db|actions)\//.test(to))
  assert.deepEqual(wrong, [])
})

test('only the config reads the environment', () => {
  const readers = sources.filter((file) => /process\.env\b/.test(readFileSync(join(src, file), 'utf8')))
  const allowed = [
    'config.ts',
    'main.ts',
    'commands/config-command.ts',
    'commands/doctor.ts',
    'commands/down.ts',
    'commands/edge.ts',
    'commands/system-packages.ts',
    // It hands the machine's own proxy settings on to apt.
    'images/tiny/run-tool.ts',
  ]
  assert.deepEqual(
    readers.filter((file) => !allowed.includes(file)),
    [],
  )
})

test('no file grew past 400 lines', () => {
  const files = globSync(['src/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts'], { cwd: join(src, '..') })
  const long = files.filter((file) => readFileSync(join(src, '..', file), 'utf8').split('\n').length > 401)
  assert.deepEqual(long, [])
})

test('the lock file names no registry', () => {
  assert.doesNotMatch(readFileSync(join(src, '../package-lock.json'), 'utf8'), /"resolved"\s*:\s*"https?:/)
})
