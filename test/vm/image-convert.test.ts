/** Conversions by the real qemu-img, and what its limits and its user keep it from. Needs root. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { conversionDriver, convertedBytes } from '../../src/host/qemu/conversion-command.ts'
import { type Conversion, ConversionError, convertToHouse } from '../../src/host/qemu/convert-image.ts'
import { readQcow2Header } from '../../src/host/qemu/qcow2-header.ts'
import { findProgram, run } from '../../src/host/run-program.ts'
import { openFileSource } from '../../src/images/formats/file-source.ts'
import { inspectImage } from '../../src/images/formats/inspect-image.ts'
import { BOMB_BYTES, compressedBomb } from '../support/compressed-bomb.ts'
import { goodQcow2, vmdkText } from '../support/good-images.ts'
import { until } from '../support/until.ts'

const MIB = 1024 ** 2
const GIB = 1024 ** 3
const NOBODY = { uid: 65534, gid: 65534 }
const qemuImg = findProgram('qemu-img') ?? assert.fail('qemu-img is not installed')

// Closed to everybody else: the child is given open files, and needs no way to them.
const directory = await mkdtemp(join(tmpdir(), 'novella-convert-'))
after(() => rm(directory, { recursive: true }))
const path = (name: string): string => join(directory, name)
const target = path('made.qcow2')
const img = (...args: string[]): Promise<string> => run([qemuImg, ...args], { timeoutMs: 60_000 })

function conversion(source: string, format: string, limits: Partial<Conversion['limits']> = {}): Conversion {
  const most = {
    virtualBytes: GIB,
    cpuSeconds: 60,
    memoryBytes: GIB,
    fileBytes: convertedBytes(GIB),
    timeoutMs: 60_000,
  }
  return { qemuImg, source: path(source), format, target, user: NOBODY, limits: { ...most, ...limits } }
}

/** What is left in the directory besides what was put there. */
const leftOf = (before: string[]): string[] => readdirSync(directory).filter((name) => !before.includes(name))

async function assertFails(plan: Conversion, failure: ConversionError['failure'], cause: RegExp): Promise<void> {
  const before = readdirSync(directory)
  await assert.rejects(convertToHouse(plan), (error: unknown) => {
    assert.ok(error instanceof ConversionError, String(error))
    assert.equal(error.failure, failure, String(error.cause))
    assert.match(String(error.cause), cause)
    assert.doesNotMatch(error.message, /qemu|\//)
    return true
  })
  assert.deepEqual(leftOf(before), [])
}

test('every format becomes a standalone qcow2 with the same bytes, owned by root', async () => {
  const plain = Buffer.concat([randomBytes(MIB), Buffer.alloc(3 * MIB), randomBytes(MIB), Buffer.alloc(11 * MIB)])
  await writeFile(path('plain.raw'), plain)
  for (const [name, format, options] of [
    ['plain.raw', 'raw', []],
    ['a.qcow2', 'qcow2', ['-c']],
    ['a.vmdk', 'vmdk', ['-o', 'subformat=streamOptimized']],
    ['b.vmdk', 'vmdk', ['-o', 'subformat=monolithicSparse']],
    ['a.vdi', 'vdi', []],
    ['a.vhd', 'vhd', ['-o', 'force_size=on']],
    ['b.vhd', 'vhd', ['-o', 'force_size=on,subformat=fixed']],
    ['a.vhdx', 'vhdx', []],
  ] as const) {
    if (name !== 'plain.raw') {
      await img('convert', '-f', 'raw', '-O', conversionDriver(format) ?? '', ...options, path('plain.raw'), path(name))
    }
    const shares: number[] = []
    await convertToHouse({ ...conversion(name, format), onProgress: (share) => shares.push(share) })
    await img('compare', '-f', 'raw', '-F', 'qcow2', path('plain.raw'), target)
    const header = await readQcow2Header(target)
    assert.deepEqual(header, { virtualBytes: plain.length, backingFile: undefined, hasDataFile: false })
    const { uid, mode } = await stat(target)
    assert.deepEqual([uid, mode & 0o777], [0, 0o644])
    assert.equal(shares.at(-1), 1, name)
    assert.deepEqual(
      shares,
      shares.toSorted((a, b) => a - b),
    )
  }
  assert.deepEqual(
    readdirSync(directory).filter((name) => name.endsWith('.unfinished')),
    [],
  )
})

test('an overlay that came past the firewall brings nothing of the file it names', async () => {
  const secret = path('secret')
  await writeFile(secret, 'a secret of the host\n'.repeat(1000), { mode: 0o644 })
  const overlay = goodQcow2()
  overlay.writeBigUInt64BE(0x1000n, 8)
  overlay.writeUInt32BE(secret.length, 16)
  overlay.write(secret, 0x1000)
  await writeFile(path('overlay.qcow2'), overlay)
  await convertToHouse(conversion('overlay.qcow2', 'qcow2'))
  assert.ok(!(await readFile(target)).includes('a secret of the host'))

  // A text has no switch for that; the child's user has no way to the file.
  await writeFile(path('text.vmdk'), vmdkText({ createType: 'monolithicFlat', extents: [`RW 40 FLAT "${secret}" 0`] }))
  await assertFails(conversion('text.vmdk', 'vmdk'), 'unusable', /Permission denied/)
})

test('a compressed bomb passes the inspection, and ends at the limit of the file', async () => {
  await writeFile(path('bomb.qcow2'), compressedBomb())
  await using source = await openFileSource(path('bomb.qcow2'))
  assert.equal((await inspectImage(source, 'qcow2', { maxVirtualBytes: GIB })).virtualSizeBytes, BOMB_BYTES)
  await assertFails(conversion('bomb.qcow2', 'qcow2', { fileBytes: 16 * MIB }), 'grewTooLarge', /too large/i)
})

test('a conversion ends at its limits of time, of memory and of the disk, and leaves what was there', async () => {
  // QEMU reads every byte of it, as it has no map of what is empty: minutes.
  await img('create', '-q', '-f', 'vhdx', path('endless.vhdx'), '4T')
  const endless = (limits: Partial<Conversion['limits']>) =>
    conversion('endless.vhdx', 'vhdx', { virtualBytes: 4 * 1024 * GIB, fileBytes: 8 * GIB, ...limits })
  await writeFile(target, 'an older one')
  await assertFails(endless({ timeoutMs: 500 }), 'tookTooLong', /SIGKILL/)
  await assertFails(endless({ cpuSeconds: 1 }), 'tookTooLong', /SIGXCPU/)
  await assertFails(conversion('plain.raw', 'raw', { memoryBytes: 48 * MIB }), 'unusable', /./)
  await assertFails(conversion('plain.raw', 'raw', { virtualBytes: MIB }), 'unusable', /is a disk of 16777216 bytes/)
  assert.equal(await readFile(target, 'utf8'), 'an older one')
})

test('a conversion that is called off ends with the reason, and leaves nothing', async () => {
  const before = readdirSync(directory)
  const caller = new AbortController()
  const reason = new Error('deleted meanwhile')
  const plan = conversion('endless.vhdx', 'vhdx', { fileBytes: 8 * GIB, virtualBytes: 4 * 1024 * GIB })
  const running = convertToHouse({ ...plan, signal: caller.signal })
  await Promise.all([
    assert.rejects(running, reason),
    until('it has begun', () => existsSync(`${target}.unfinished`)).then(() => caller.abort(reason)),
  ])
  await assert.rejects(convertToHouse({ ...plan, signal: caller.signal }), reason)
  assert.deepEqual(leftOf(before), [])
})

test('what cannot be read, or is no format, is not blamed on the image', async () => {
  await writeFile(path('closed.raw'), Buffer.alloc(MIB), { mode: 0o600 })
  await assertFails(conversion('closed.raw', 'raw'), 'cannotRun', /may not read/)
  await chmod(path('closed.raw'), 0o644)
  await convertToHouse(conversion('closed.raw', 'raw'))
  await assert.rejects(convertToHouse(conversion('closed.raw', 'qed')), /format qed cannot be converted/)
  await assert.rejects(convertToHouse(conversion('nothing.raw', 'raw')), { code: 'ENOENT' })
})

test('the child ends with the process that started it, however that ends', async () => {
  const plan = conversion('endless.vhdx', 'vhdx', { fileBytes: 8 * GIB, virtualBytes: 4 * 1024 * GIB })
  const module = join(import.meta.dirname, '../../src/host/qemu/convert-image.ts')
  const script = `import { convertToHouse } from ${JSON.stringify(module)}; await convertToHouse(${JSON.stringify(plan)})`
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'ignore' })
  const pid = parent.pid ?? assert.fail('it did not start')
  try {
    const findChild = (): string | undefined =>
      readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
        .split(' ')
        .find((child) => child !== '' && readFileSync(`/proc/${child}/cmdline`, 'latin1').startsWith(qemuImg))
    await until('the child runs', () => findChild() !== undefined)
    const child = findChild() ?? assert.fail('it ended')
    assert.match(readFileSync(`/proc/${child}/status`, 'utf8'), /^Uid:\s65534\s65534\s65534[\s\S]*^CapEff:\s0+$/m)
    assert.equal(readFileSync(`/proc/${child}/environ`, 'utf8'), 'MALLOC_ARENA_MAX=1\0')
    parent.kill('SIGKILL')
    await until('the child is gone', () => !existsSync(`/proc/${child}`))
  } finally {
    parent.kill('SIGKILL')
  }
})
