import assert from 'node:assert/strict'

/**
 * Asserts that an answer has the members of an example, no more and no fewer, and values of the same types. In lists,
 * each item must look like the first of the example.
 */
export function assertSameShape(answer: unknown, example: unknown, place = 'answer'): void {
  assert.equal(typeOf(answer), typeOf(example), `${place} is of another type than in the example`)
  if (Array.isArray(answer) && Array.isArray(example)) {
    for (const [i, item] of answer.entries()) assertSameShape(item, example[0], `${place}[${i}]`)
  } else if (typeOf(answer) === 'object') {
    const [ours, theirs] = [answer as Record<string, unknown>, example as Record<string, unknown>]
    assert.deepEqual(Object.keys(ours).sort(), Object.keys(theirs).sort(), `members of ${place}`)
    for (const key of Object.keys(theirs)) assertSameShape(ours[key], theirs[key], `${place}.${key}`)
  }
}

function typeOf(value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'list' : typeof value
}
