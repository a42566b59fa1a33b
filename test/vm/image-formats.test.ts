/** What the image firewall says of images, held against what the real qemu-img makes and sees. */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { conversionDriver } from '../../src/host/qemu/conversion-command.ts'
import { CommandError, findProgram, run } from '../../src/host/run-program.ts'
import { openFileSource } from '../../src/images/formats/file-source.ts'
import { inspectImage } from '../../src/images/formats/inspect-image.ts'
import { fuzzImages } from '../support/fuzz-images.ts'
import { HOSTILE_IMAGES } from '../support/hostile-images.ts'
import { mutantOf } from '../support/mutate-images.ts'

const MIB = 1024 ** 2
const LIMITS = { maxVirtualBytes: 4 * 1024 ** 4 }

const directory = await mkdtemp(join(tmpdir(), 'novella-formats-'))
after(() => rm(directory, { recursive: true }))
const path = (name: string): string => join(directory, name)
const program = (name: string): string => findProgram(name) ?? assert.fail(`${name} is not installed`)
const qemuImg = (...args: string[]): Promise<string> => run([program('qemu-img'), ...args], { timeoutMs: 60_000 })

interface Info {
  'virtual-size': number
  'backing-filename'?: string
  'full-backing-filename'?: string
  'format-specific'?: { data: { 'data-file'?: string; extents?: { filename: string }[] } }
}

/** What qemu-img, told the format, sees in a file; undefined when it cannot open it. */
async function readInfo(file: string, driver: string): Promise<Info | undefined> {
  try {
    return JSON.parse(await qemuImg('info', '--output=json', '-f', driver, file))
  } catch (error) {
    if (error instanceof CommandError) return undefined
    throw error
  }
}

before(async () => {
  // Half of it data, with an MBR: raw, and what all others are made from.
  await using disk = await open(path('mbr.raw'), 'w')
  await disk.truncate(20 * MIB)
  for (let at = 0; at < 10; at += 2) await disk.write(Buffer.alloc(MIB, at + 1), 0, MIB, at * MIB)
  await disk.write(Buffer.from('\x55\xaa', 'latin1'), 0, 2, 510)
})

/** The options of `qemu-img convert` for each kind, by the file's name. */
const CONVERTED: Record<string, [format: string, options: string[]]> = {
  'compat-1.1.qcow2': ['qcow2', []],
  'compat-0.10.qcow2': ['qcow2', ['-o', 'compat=0.10']],
  'compressed.qcow2': ['qcow2', ['-c']],
  'zstd.qcow2': ['qcow2', ['-c', '-o', 'compression_type=zstd']],
  'subclusters.qcow2': ['qcow2', ['-o', 'extended_l2=on']],
  'small-clusters.qcow2': ['qcow2', ['-o', 'cluster_size=512']],
  'large-clusters.qcow2': ['qcow2', ['-o', 'cluster_size=2M']],
  'preallocated.qcow2': ['qcow2', ['-o', 'preallocation=metadata,lazy_refcounts=on']],
  'sparse.vmdk': ['vmdk', ['-o', 'subformat=monolithicSparse']],
  'stream.vmdk': ['vmdk', ['-o', 'subformat=streamOptimized']],
  'dynamic.vdi': ['vdi', []],
  'static.vdi': ['vdi', ['-o', 'static=on']],
  'dynamic.vhd': ['vhd', []],
  'exact.vhd': ['vhd', ['-o', 'force_size=on']],
  'fixed.vhd': ['vhd', ['-o', 'subformat=fixed']],
  'exact-fixed.vhd': ['vhd', ['-o', 'subformat=fixed,force_size=on']],
  'dynamic.vhdx': ['vhdx', []],
  'fixed.vhdx': ['vhdx', ['-o', 'subformat=fixed']],
}

async function assertTaken(file: string, format: string): Promise<void> {
  await using source = await openFileSource(file)
  const verdict = await inspectImage(source, format, LIMITS)
  assert.equal(verdict.refusal, undefined)
  const info = await readInfo(file, conversionDriver(format) ?? '')
  assert.equal(verdict.virtualSizeBytes, info?.['virtual-size'])
}

for (const [name, [format, options]] of Object.entries(CONVERTED)) {
  test(`what qemu-img makes is taken, and its size is what qemu-img says: ${name}`, async () => {
    const driver = conversionDriver(format) ?? ''
    await qemuImg('convert', '-f', 'raw', '-O', driver, ...options, path('mbr.raw'), path(name))
    await assertTaken(path(name), format)
  })
}

test('empty disks larger than their files are taken', async () => {
  for (const [format, size] of [
    ['qcow2', '2T'],
    ['vdi', '500G'],
    ['vhd', '500G'],
    ['vhdx', '3T'],
    ['vmdk', '500G'],
  ] as const) {
    const file = path(`large.${format}`)
    await qemuImg('create', '-q', '-f', conversionDriver(format) ?? '', file, size)
    await assertTaken(file, format)
  }
})

test('a qcow2 with internal snapshots and bitmaps is taken, and says that they are not kept', async () => {
  const file = path('snapshots.qcow2')
  await qemuImg('convert', '-f', 'raw', '-O', 'qcow2', path('mbr.raw'), file)
  await qemuImg('snapshot', '-c', 'before', file)
  await qemuImg('bitmap', '--add', '-f', 'qcow2', file, 'changes')
  await assertTaken(file, 'qcow2')
  await using source = await openFileSource(file)
  const { checks } = await inspectImage(source, 'qcow2', LIMITS)
  assert.match(checks.find(({ name }) => name === 'snapshots')?.note ?? '', /^1 inside, which are not kept/)
  assert.match(checks.find(({ name }) => name === 'extensions')?.note ?? '', /bitmaps/)
})

test('raw disks with an MBR and with a GPT are taken, and an ISO as iso only', async () => {
  await assertTaken(path('mbr.raw'), 'raw')
  await qemuImg('create', '-q', '-f', 'raw', path('gpt.raw'), '20M')
  await run([program('sfdisk'), '-q', path('gpt.raw')], { timeoutMs: 10_000, input: 'label: gpt\n,10M,U\n' })
  await assertTaken(path('gpt.raw'), 'raw')
  await mkdir(path('tree'))
  await writeFile(path('tree/hello'), 'hello\n')
  await run([program('genisoimage'), '-quiet', '-R', '-J', '-o', path('disk.iso'), path('tree')], { timeoutMs: 10_000 })
  await assertTaken(path('disk.iso'), 'iso')
  await using source = await openFileSource(path('disk.iso'))
  const { refusal } = await inspectImage(source, 'raw', LIMITS)
  assert.match(refusal?.message ?? '', /looks like an ISO 9660 image\. If it is, declare disk_format iso/)
})

test('overlays that qemu-img makes are refused', async () => {
  await qemuImg('create', '-q', '-f', 'qcow2', '-b', '/etc/passwd', '-F', 'raw', path('overlay.qcow2'), '1M')
  await qemuImg('create', '-q', '-f', 'qcow2', '-o', `data_file=${path('data.raw')}`, path('beside.qcow2'), '1M')
  await qemuImg('create', '-q', '-f', 'vmdk', path('parent.vmdk'), '1M')
  await qemuImg('create', '-q', '-f', 'vmdk', '-b', path('parent.vmdk'), '-F', 'vmdk', path('child.vmdk'))
  await qemuImg('create', '-q', '-f', 'vmdk', '-o', 'subformat=twoGbMaxExtentSparse', path('parts.vmdk'), '1M')
  await qemuImg(
    'create',
    '-q',
    '-f',
    'qcow2',
    '--object',
    'secret,id=key,data=secret',
    '-o',
    'encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10',
    path('locked.qcow2'),
    '1M',
  )
  await qemuImg('create', '-q', '-f', 'qed', path('old.qed'), '1M')
  for (const [name, format, check] of [
    ['overlay.qcow2', 'qcow2', 'backing-file'],
    ['beside.qcow2', 'qcow2', 'data-file'],
    ['child.vmdk', 'vmdk', 'backing-file'],
    ['parts.vmdk', 'vmdk', 'data-file'],
    ['parts-s001.vmdk', 'vmdk', 'data-file'],
    ['locked.qcow2', 'qcow2', 'encryption'],
    ['old.qed', 'raw', 'other-format'],
  ] as const) {
    await using source = await openFileSource(path(name))
    assert.equal((await inspectImage(source, format, LIMITS)).refusal?.check, check, name)
  }
})

test('the corpus is of real attacks: qemu-img sees the other file in them, where the format is given', async () => {
  let followed = 0
  for (const { name, format, check, make } of HOSTILE_IMAGES) {
    if (check !== 'backing-file' && check !== 'data-file') continue
    const file = path('hostile')
    await writeFile(file, make())
    const info = await readInfo(file, conversionDriver(format) ?? '')
    const isFollowed = info !== undefined && leansOnOther(info, file)
    followed += Number(isFollowed)
    if (/^backing file: /.test(name)) assert.ok(isFollowed || info === undefined, name)
  }
  assert.ok(followed >= 8, `${followed} followed`)
})

function leansOnOther(info: Info, file: string): boolean {
  const { 'data-file': dataFile, extents = [] } = info['format-specific']?.data ?? {}
  const isExtern = extents.some(({ filename }) => filename !== file)
  return (
    info['backing-filename'] !== undefined ||
    info['full-backing-filename'] !== undefined ||
    dataFile !== undefined ||
    isExtern
  )
}

const SEED = Number(process.env.NOVELLA_FUZZ_SEED ?? Date.now() % 2 ** 31)
const SAMPLE = 200

test(`changed headers that are taken lean on no other file for qemu-img either (seed ${SEED})`, async (t) => {
  const { accepted } = await fuzzImages({ seed: SEED, cases: 4_000, maxVirtualBytes: LIMITS.maxVirtualBytes })
  const isWorth = (index: number): boolean => !['raw', 'iso', 'ami'].includes(mutantOf(SEED, index).declared)
  const sample = accepted.filter(isWorth).slice(0, SAMPLE)
  let opened = 0
  const lookAt = async (index: number): Promise<void> => {
    const { declared, bytes } = mutantOf(SEED, index)
    const file = path(`mutant-${index}`)
    await writeFile(file, bytes.toBuffer())
    const name = `seed ${SEED}, case ${index}, declared ${declared}`
    const info = await readInfo(file, conversionDriver(declared) ?? assert.fail(name))
    await rm(file)
    // It may be stricter than the firewall.
    if (info === undefined) return
    opened += 1
    assert.ok(!leansOnOther(info, file), `${name}: ${JSON.stringify(info)}`)
    const verdict = await inspectImage(bytes, declared, LIMITS)
    assert.equal(info['virtual-size'], verdict.virtualSizeBytes, name)
  }
  const half = sample.length / 2
  for (let i = 0; i < half; i++) await Promise.all(sample.slice(2 * i, 2 * i + 2).map(lookAt))
  t.diagnostic(`${opened} of ${SAMPLE} opened by qemu-img`)
  assert.ok(opened > SAMPLE / 2)
})
