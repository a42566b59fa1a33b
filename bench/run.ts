/**
 * Runs the benches, all or those named: `npm run bench -- get-server memory`. Prints a Markdown table; the exit code
 * says only whether they ran, not whether the figures are reached.
 */
import { availableParallelism, cpus, totalmem } from 'node:os'
import { type Figure, HEADER, row } from './support/figure.ts'
import { readLoad } from './support/statistics.ts'

/** In the order they run; real guests last. */
const BENCHES = [
  'get-server',
  'list-page',
  'create-server',
  'create-many',
  'memory',
  'rule-change',
  'metadata-flood',
  'upload-image',
  'start-to-ready',
  'boot-to-prompt',
  'disks',
  'standstill',
] as const

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !BENCHES.some((bench) => bench === name))
if (unknown.length > 0) {
  console.error(`There is no bench ${unknown.join(', ')}. The benches: ${BENCHES.join(', ')}.`)
  process.exit(2)
}

console.log(
  `${new Date().toISOString().slice(0, 16)}Z, ${availableParallelism()} × ${cpus()[0]?.model ?? 'unknown'}, ` +
    `${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}\n`,
)
console.log(HEADER)
for (const name of BENCHES.filter((bench) => wanted.length === 0 || wanted.includes(bench))) {
  const before = readLoad()
  const { measure } = (await import(`./${name}.ts`)) as { measure: () => Promise<Figure[]> }
  for (const figure of await measure()) console.log(row(figure))
  console.error(`${name}: load ${before} before, ${readLoad()} after`)
}
