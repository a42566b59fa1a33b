import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32c } from './crc32c.ts'

/** Source: RFC 3720, B.4, 32 zeros: any place may be that of the sum. */
test('crc32c answers the example of the RFC', () => {
  assert.equal(crc32c(Buffer.alloc(32), 0), 0x8a9136aa)
})

test('crc32c does not depend on what is written where the sum belongs', () => {
  const bytes = Buffer.from('head\x00\x00\x00\x00 and the rest of it')
  const sum = crc32c(bytes, 4)
  bytes.writeUInt32LE(sum, 4)
  assert.equal(crc32c(bytes, 4), sum)
  bytes.writeUInt8(1, 12)
  assert.notEqual(crc32c(bytes, 4), sum)
})
