import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readContentRange, readRange } from './content-range.ts'

test('a Content-Range is read as it is written, or not at all', () => {
  for (const [header, range] of [
    ['bytes 0-0/1', { from: 0, to: 0, total: 1 }],
    ['bytes 5-9/10', { from: 5, to: 9, total: 10 }],
    ['BYTES 5-9/10', { from: 5, to: 9, total: 10 }],
    [' bytes 0-999999/2500000 ', { from: 0, to: 999_999, total: 2_500_000 }],
    ['bytes 0-999999999999998/999999999999999', { from: 0, to: 999_999_999_999_998, total: 999_999_999_999_999 }],
    ['bytes */10', { from: null, to: 9, total: 10 }],
    ['bytes */0', { from: null, to: -1, total: 0 }],
    ...[
      ...['', 'bytes', 'bytes 0-9', 'bytes 0-9/', 'bytes 0-9/*', 'bytes */*', 'bytes=0-9/10', 'pages 0-9/10'],
      ...['bytes 9-5/10', 'bytes 0-10/10', 'bytes 10-10/10', 'bytes -5/10', 'bytes 5-/10', 'bytes -1-5/10'],
      ...['bytes 0-9/10 x', 'x bytes 0-9/10', 'bytes 0x0-9/10', 'bytes 1e1-20/30', 'bytes 0 - 9/10', 'bytes 0-9/10,'],
      // More digits than a number keeps.
      ...['bytes 0-9/1000000000000000', 'bytes 0-0/0', 'bytes ٠-٩/10', 'bytes 0-9\n/10'],
    ].map((bad) => [bad, undefined] as const),
  ] as const) {
    assert.deepEqual(readContentRange(header), range, JSON.stringify(header))
  }
})

test('a Range is a part, all, or nothing of what is there', () => {
  for (const [header, sizeBytes, range] of [
    [undefined, 10, 'all'],
    ['bytes=0-0', 10, { from: 0, to: 0 }],
    ['bytes=3-5', 10, { from: 3, to: 5 }],
    ['bytes=3-', 10, { from: 3, to: 9 }],
    ['bytes=3-99', 10, { from: 3, to: 9 }],
    ['bytes=-3', 10, { from: 7, to: 9 }],
    ['bytes=-99', 10, { from: 0, to: 9 }],
    ['Bytes=3-5', 10, { from: 3, to: 5 }],
    ['bytes=10-', 10, 'none'],
    ['bytes=10-20', 10, 'none'],
    ['bytes=-0', 10, 'none'],
    ['bytes=0-', 0, 'none'],
    ['bytes=-5', 0, 'none'],
    ['bytes=5-3', 10, 'all'],
    ['bytes=-', 10, 'all'],
    ['bytes=0-1,3-4', 10, 'all'],
    ['pages=0-1', 10, 'all'],
    ['bytes 0-1', 10, 'all'],
    ['', 10, 'all'],
  ] as const) {
    assert.deepEqual(readRange(header, sizeBytes), range, `${header} of ${sizeBytes}`)
  }
})
