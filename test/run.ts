/**
 * `./novella test`: installs what is missing, then everything CI checks, part by part, with how long each took.
 * Runs one part or some with their names: `./novella test types wire`. `--slow` runs the parts that take their time too.
 */
import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, relative } from 'node:path'
import type { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { parseArgs } from 'node:util'
import { ensureSystemPackages, FOR_GUESTS, FOR_TESTS } from '../src/commands/system-packages.ts'
import { KeptOutput } from './support/kept-output.ts'
import { findLeftovers, snapshot } from './support/leftovers.ts'
import { startPostgres } from './support/postgres.ts'
import { writeShards } from './support/shards.ts'

interface TestFiles {
  /** Patterns, from the root. */
  files: string[]
  /** How many processes at once. */
  atOnce: number
  /** How many files share a process, about. One when absent. */
  inOneProcess?: number
  /** Files that begin first, so that none of them is what all wait for at the end. */
  longest?: string[]
}

interface Part {
  name: string
  about: string
  /** A command, or test files with how many run at once. */
  run: { command: string[] } | TestFiles
  /** It runs with `--slow` or by its name only. */
  isSlow?: true
  /** It runs while this one does, and says what it has to say after that. */
  beside?: string
}

const root = join(import.meta.dirname, '..')
const bin = (name: string): string => join(root, 'node_modules', '.bin', name)

const PARTS: Part[] = [
  { name: 'types', about: 'the type checker', run: { command: [bin('tsc'), '--noEmit'] } },
  { name: 'lint', about: 'format and lint', run: { command: [bin('biome'), 'check', '--error-on-warnings'] } },
  {
    name: 'pure',
    about: 'functions, and rules about the source',
    run: { files: ['src/**/*.test.ts', 'test/static/*.test.ts'], atOnce: availableParallelism() },
  },
  {
    name: 'wire',
    about: 'the API on SQLite and PostgreSQL',
    run: {
      files: ['test/wire/*.test.ts', 'test/actions/*.test.ts', 'test/commands/*.test.ts'],
      atOnce: availableParallelism(),
      inOneProcess: 10,
    },
  },
  // A guest with one virtual CPU keeps one core busy while it boots; more at once would wait for each other.
  {
    name: 'vm',
    about: 'real guests, real packets',
    run: {
      files: ['test/promises/*.test.ts', 'test/vm/*.test.ts'],
      atOnce: Math.min(2, availableParallelism()),
      longest: ['tenant-networks', 'whole-cloud', 'tiny-image', 'readme'].map((name) => `test/vm/${name}.test.ts`),
    },
  },
  {
    name: 'browser',
    about: 'Chromium on the pages',
    run: { files: ['test/browser/*.test.ts'], atOnce: 1 },
    // Both wait for much: for networks, for guests that end, for pages.
    beside: 'vm',
  },
  {
    name: 'slow',
    about: 'what takes minutes: whole systems made from packages',
    run: { files: ['test/slow/*.test.ts'], atOnce: 1 },
    isSlow: true,
  },
]

/** How many of a part's files are named with how long they took. */
const SLOWEST = 12
/** A test that hangs must not hang the run. Milliseconds, for one test. */
const TEST_LIMIT_MS = 5 * 60_000
const SLOW_TEST_LIMIT_MS = 60 * 60_000
/** How many times that the tests of one file may take together. */
const TESTS_LIMIT = 3

const { values: flags, positionals: wanted } = parseArgs({
  options: { slow: { type: 'boolean', default: false } },
  allowPositionals: true,
})
const unknown = wanted.filter((name) => !PARTS.some((part) => part.name === name))
if (unknown.length > 0) {
  console.error(`There is no part ${unknown.join(', ')}. The parts: ${PARTS.map((part) => part.name).join(', ')}.`)
  process.exit(2)
}
const parts = PARTS.filter((part) => {
  if (part.isSlow && flags.slow) return true
  return wanted.length === 0 ? !part.isSlow : wanted.includes(part.name)
})

await ensureSystemPackages([...FOR_GUESTS, ...FOR_TESTS], (message) => console.error(`novella: ${message}`))

// Each file is a process that loads most of Novella: what they compiled is kept for each other, as the launcher does.
process.env.NODE_COMPILE_CACHE ??= join(root, 'node_modules/.novella-compiled')

const before = snapshot()
const totals = { passed: 0, failed: 0, skipped: 0 }
const lines: string[] = []

for (const part of parts.filter((one) => !isBeside(one))) {
  const beside = parts.filter((one) => isBeside(one) && one.beside === part.name)
  const kept = beside.map((one) => runPart(one, new KeptOutput()))
  lines.push(await runPart(part, process.stdout).then(({ line }) => line))
  for (const { out, line } of await Promise.all(kept)) {
    if (out instanceof KeptOutput) process.stdout.write(out.text)
    lines.push(line)
  }
}

const leftovers = await findLeftovers(before)
console.log(`\n── left behind by the tests: ${leftovers.length === 0 ? 'nothing' : ''}`)
for (const leftover of leftovers) console.log(`   ${leftover}`)
if (leftovers.length === 0) totals.passed += 1
else totals.failed += 1

console.log(`\n${lines.join('\n')}\n`)
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`)
process.exitCode = totals.failed === 0 ? 0 : 1

interface Counts {
  passed: number
  failed: number
  skipped: number
}

function isBeside(part: Part): boolean {
  return parts.some((one) => one.name === part.beside)
}

/** Runs a part, adds up what came of it, and tells it in a line. */
async function runPart(part: Part, out: Writable): Promise<{ out: Writable; line: string }> {
  out.write(`\n── ${part.name}: ${part.about}\n`)
  const since = performance.now()
  const { passed, failed, skipped } =
    'command' in part.run
      ? runCommand(part.run.command)
      : await runFiles(part.run, part.isSlow ? SLOW_TEST_LIMIT_MS : TEST_LIMIT_MS, out)
  const seconds = ((performance.now() - since) / 1000).toFixed(1)
  totals.passed += passed
  totals.failed += failed
  totals.skipped += skipped
  const counts = `${passed} passed, ${failed} failed, ${skipped} skipped`
  return { out, line: `${part.name.padEnd(8)} ${seconds.padStart(6)} s   ${counts}` }
}

function runCommand([program = '', ...args]: string[]): Counts {
  const { status } = spawnSync(program, args, { cwd: root, stdio: 'inherit' })
  return status === 0 ? { passed: 1, failed: 0, skipped: 0 } : { passed: 0, failed: 1, skipped: 0 }
}

async function runFiles(part: TestFiles, timeout: number, out: Writable): Promise<Counts> {
  const { files, atOnce, inOneProcess = 1, longest = [] } = part
  // A pattern that finds nothing is a folder that was renamed, not a success.
  const empty = files.filter((pattern) => globSync(pattern, { cwd: root }).length === 0)
  for (const pattern of empty) out.write(`There is no test file ${pattern}.\n`)
  const found = globSync(files, { cwd: root }).sort()
  found.sort((a, b) => Number(longest.includes(b)) - Number(longest.includes(a)))
  const counts = { passed: 0, failed: empty.length, skipped: 0 }
  if (found.length === 0) return counts
  const needsPostgres = found.some((file) => file.includes('wire') || file.includes('actions'))
  await using postgres = needsPostgres ? await startPostgres() : undefined
  if (postgres) process.env.NOVELLA_TEST_POSTGRES = postgres.directory
  process.env.NOVELLA_TEST_RUN = before.mark
  const isShared = inOneProcess > 1
  using shards = isShared
    ? writeShards(root, found, Math.ceil(found.length / inOneProcess), ['test/support/test-cloud.ts'])
    : undefined
  const stream = run({
    files: shards?.files ?? found.map((file) => join(root, file)),
    concurrency: atOnce,
    // This is for one test and for a whole process alike; the test's own, given again, is the one that it heeds.
    timeout: timeout * Math.max(TESTS_LIMIT, inOneProcess),
    execArgv: ['--disable-warning=ExperimentalWarning', `--test-timeout=${timeout}`],
  })
  const took = new Map<string, number>()
  let sinceSuiteMs = 0
  const addUp = ({ nesting, name, details }: { nesting: number; name: string; details: { duration_ms: number } }) => {
    // A file that shares its process is a suite, which waits for those before it: its tests tell how long it took.
    if (!isShared) return
    if (nesting === 1) sinceSuiteMs += details.duration_ms
    if (nesting !== 0) return
    took.set(name, sinceSuiteMs / 1000)
    sinceSuiteMs = 0
  }
  stream.on('test:pass', addUp)
  stream.on('test:fail', addUp)
  stream.on('test:summary', ({ file, duration_ms, counts: { tests, passed, skipped, todo }, success }) => {
    // One summary a process, and one for all of them, which has no file.
    if (file !== undefined) {
      if (!isShared) took.set(relative(root, file), duration_ms / 1000)
      return
    }
    const failed = tests - passed - skipped - todo
    counts.passed += passed
    // A suite that fails is not among the tests: a file that cannot be loaded, or a hook.
    counts.failed += failed === 0 && !success ? 1 : failed
    counts.skipped += skipped + todo
  })
  await pipeline(stream, new spec(), out, { end: false })
  delete process.env.NOVELLA_TEST_POSTGRES
  const slowest = [...took].toSorted(([, a], [, b]) => b - a).slice(0, SLOWEST)
  out.write(`the slowest: ${slowest.map(([file, seconds]) => `${file} ${seconds.toFixed(0)} s`).join(' · ')}\n`)
  return counts
}
