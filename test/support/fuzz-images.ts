/**
 * Inspects many mutants and answers what became of them, in a thread of its own: the test runner follows every promise
 * of its own thread, which costs more than the inspections.
 */
import assert from 'node:assert/strict'
import { parentPort, Worker, workerData } from 'node:worker_threads'
import { inspectImage } from '../../src/images/formats/inspect-image.ts'
import type { Verdict } from '../../src/images/formats/verdict.ts'
import { type Mutant, mutantOf } from './mutate-images.ts'

export interface FuzzPlan {
  seed: number
  cases: number
  maxVirtualBytes: number
}

export interface FuzzResult {
  /** Numbers of the cases that were accepted. */
  accepted: number[]
  /** How often each check refused. */
  refusals: Map<string, number>
}

/** @throws AssertionError that names the first case that broke a promise. */
export function fuzzImages(plan: FuzzPlan): Promise<FuzzResult> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: plan })
    worker.once('message', resolve)
    worker.once('error', reject)
  })
}

/** What one inspection may read, in bytes; and in how many reads, of how much. */
const MOST_BYTES = 2 * 1024 ** 2
const MOST_READS = 16
const LONGEST_READ = 64 * 1024

if (parentPort !== null && workerData !== null) {
  const { seed, cases, maxVirtualBytes } = workerData as FuzzPlan
  const result: FuzzResult = { accepted: [], refusals: new Map() }
  for (let index = 0; index < cases; index++) {
    const { declared, bytes } = mutantOf(seed, index)
    const name = `seed ${seed}, case ${index}, declared ${declared}`
    const verdict = await inspectImage(bytes, declared, { maxVirtualBytes }).catch((cause: unknown) => {
      throw new Error(`${name}: no verdict`, { cause })
    })
    checkShape(verdict, maxVirtualBytes, name)
    checkReads(bytes, name)
    if (verdict.refusal) {
      result.refusals.set(verdict.refusal.check, (result.refusals.get(verdict.refusal.check) ?? 0) + 1)
      continue
    }
    result.accepted.push(index)
    if (declared === 'qcow2') checkQcow2(bytes.slice(0, 4096), name)
  }
  parentPort.postMessage(result)
}

function checkShape(verdict: Verdict, maxVirtualBytes: number, name: string): void {
  const last = verdict.checks.at(-1)
  if (verdict.refusal) {
    assert.equal(last?.outcome, 'refused', name)
    assert.match(verdict.refusal.message, /^[\x20-\x7e…]{10,600}$/, name)
    return
  }
  assert.equal(last?.outcome, 'passed', name)
  const { virtualSizeBytes: size } = verdict
  assert.ok(Number.isSafeInteger(size) && size > 0 && size % 512 === 0 && size <= maxVirtualBytes, name)
}

function checkReads({ reads, sizeBytes }: Mutant['bytes'], name: string): void {
  let total = 0
  for (const { offset, length } of reads) {
    const isInside = Number.isSafeInteger(offset) && offset >= 0 && length >= 0 && offset + length <= sizeBytes
    assert.ok(isInside && length <= LONGEST_READ, `${name}: read ${length} at ${offset} of ${sizeBytes}`)
    total += length
  }
  assert.ok(reads.length <= MOST_READS && total <= MOST_BYTES, `${name}: ${reads.length} reads of ${total} bytes`)
}

/** Told from the bytes, not from the verdict: nothing below it, nothing beside it, no key. */
function checkQcow2(bytes: Buffer, name: string): void {
  const hasNone = bytes.subarray(8, 20).equals(Buffer.alloc(12))
  assert.ok(hasNone, name)
  assert.equal(bytes.readUInt32BE(32), 0, name)
  if (bytes.readUInt32BE(4) === 3) assert.equal(bytes.readBigUInt64BE(72) & ~0b11000n, 0n, name)
}
