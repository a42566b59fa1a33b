import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as good from '../../../test/support/good-images.ts'
import { HOSTILE_IMAGES } from '../../../test/support/hostile-images.ts'
import { PatchedBytes } from '../../../test/support/patched-bytes.ts'
import { inspectImage } from './inspect-image.ts'

const LIMITS = { maxVirtualBytes: 1024 ** 4 }
const inspect = (bytes: Buffer, format: string) => inspectImage(new PatchedBytes(bytes), format, LIMITS)

for (const { name, format, check, message, make } of HOSTILE_IMAGES) {
  test(`${format} is refused: ${name}`, async () => {
    const verdict = await inspect(make(), format)
    assert.equal(verdict.refusal?.check, check, JSON.stringify(verdict))
    assert.match(verdict.refusal?.message ?? '', message)
    assert.deepEqual(verdict.checks.at(-1), { name: check, outcome: 'refused', note: verdict.refusal?.message })
    assert.ok(verdict.checks.slice(0, -1).every(({ outcome }) => outcome === 'passed'))
    assert.equal(verdict.virtualSizeBytes, undefined)
  })
}

for (const [format, make, bytes] of [
  ['qcow2', () => good.goodQcow2(2), good.DISK_BYTES],
  ['qcow2', () => good.goodQcow2(3), good.DISK_BYTES],
  ['vmdk', () => good.goodVmdk(), good.DISK_BYTES],
  ['vmdk', good.goodVmdkStream, good.DISK_BYTES],
  ['vdi', good.goodVdi, good.DISK_BYTES],
  ['vhd', good.goodVhdFixed, good.DISK_BYTES],
  ['vhd', good.goodVhdDynamic, good.DISK_BYTES],
  ['vhdx', good.goodVhdx, good.DISK_BYTES],
  ['iso', good.goodIso, 40 * 1024],
  ['raw', good.goodRaw, 128 * 1024],
  ['ami', good.goodRaw, 128 * 1024],
  ['aki', () => Buffer.from('MZ, a kernel'), 512],
  ['ari', () => Buffer.from('\x1f\x8b\x08, a compressed archive', 'latin1'), 512],
] as const) {
  test(`${format} is taken, with its size: ${make.name || make}`, async () => {
    const verdict = await inspect(make(), format)
    assert.equal(verdict.refusal, undefined)
    assert.equal(verdict.virtualSizeBytes, bytes)
    assert.ok(verdict.checks.every(({ outcome }) => outcome === 'passed'))
  })
}

test('an image declared as what it is not is refused, whichever two formats they are', async () => {
  const disks = {
    qcow2: good.goodQcow2(),
    vmdk: good.goodVmdk(),
    vdi: good.goodVdi(),
    vhd: good.goodVhdFixed(),
    vhdx: good.goodVhdx(),
    iso: good.goodIso(),
  }
  for (const [actual, bytes] of Object.entries(disks)) {
    for (const declared of [...Object.keys(disks), 'raw'].filter((one) => one !== actual)) {
      const verdict = await inspect(bytes, declared)
      assert.equal(verdict.refusal?.check, 'other-format', `${actual} declared as ${declared}`)
      assert.match(verdict.refusal?.message ?? '', new RegExp(`declare disk_format ${actual}`))
    }
  }
})

test('a format of which nothing is seen is refused by its magic', async () => {
  for (const declared of ['qcow2', 'vmdk', 'vdi', 'vhd', 'vhdx', 'iso']) {
    assert.equal((await inspect(good.goodRaw(), declared)).refusal?.check, 'magic')
  }
})

test('a name from the image is shown printable and short', async () => {
  const bytes = good.goodQcow2()
  const name = `\x1b[31m${'a'.repeat(500)}`
  bytes.writeBigUInt64BE(0x1000n, 8)
  bytes.writeUInt32BE(name.length, 16)
  bytes.write(name, 0x1000)
  const { refusal } = await inspect(bytes, 'qcow2')
  assert.match(refusal?.message ?? '', /^[\x20-\x7e…]{1,300}$/)
})
