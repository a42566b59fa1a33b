/** A hundred thousand changed headers. A failure names the seed and the case: `mutantOf(seed, index)` makes it again. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fuzzImages } from '../../../test/support/fuzz-images.ts'
import type { CheckName } from './verdict.ts'

const CASES = 100_000
const SEED = Number(process.env.NOVELLA_FUZZ_SEED ?? Date.now() % 2 ** 31)

const CHECKS: CheckName[] = [
  'format',
  'magic',
  'other-format',
  'version',
  'features',
  'header',
  'header-copy',
  'checksum',
  'backing-file',
  'data-file',
  'encryption',
  'extensions',
  'tables',
  'snapshots',
  'virtual-size',
  'size-limit',
]

test(`whatever the bytes, the answer is a verdict, after a bounded look (seed ${SEED})`, async (t) => {
  const { accepted, refusals } = await fuzzImages({ seed: SEED, cases: CASES, maxVirtualBytes: 1024 ** 4 })
  const counts = [...refusals].map(([check, count]) => `${check} ${count}`).join(', ')
  t.diagnostic(`${accepted.length} accepted; refused: ${counts}`)
  // Mutations that never come past the first check would prove nothing of the others.
  assert.deepEqual(
    CHECKS.filter((check) => !refusals.has(check)),
    [],
  )
  assert.ok(accepted.length > CASES / 50)
})
