/** Read back by `isoinfo`, whose authors never saw ours. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import fc from 'fast-check'
import type { IsoFile } from './iso-tree.ts'
import { writeIso } from './write-iso.ts'

const WRITTEN_AT = Date.UTC(2026, 10, 24, 12, 30, 15)
const run = promisify(execFile)

const file = (path: string, content: string | Buffer): IsoFile => ({ path, content: Buffer.from(content) })

async function openIso(files: IsoFile[]) {
  const directory = await mkdtemp(join(tmpdir(), 'novella-iso-'))
  const image = join(directory, 'image.iso')
  await writeFile(image, writeIso('config-2', files, WRITTEN_AT))
  const isoinfo = async (...args: string[]) =>
    (await run('isoinfo', ['-i', image, ...args], { encoding: 'buffer', maxBuffer: 2 ** 26 })).stdout
  return {
    async list(...args: string[]): Promise<string[]> {
      return (await isoinfo('-f', ...args)).toString('utf8').split('\n').filter(Boolean)
    },
    tell: async (...args: string[]) => (await isoinfo(...args)).toString('utf8'),
    read: (path: string, ...args: string[]) => isoinfo(...args, '-x', path),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
  }
}

const DRIVE = [
  file('openstack/2012-08-10/meta_data.json', '{"uuid":"1"}'),
  file('openstack/latest/meta_data.json', '{"uuid":"2"}'),
  file('openstack/latest/user_data', Buffer.alloc(65_535, 'u')),
  file('openstack/content/0000', Buffer.from([0, 255, 10, 13])),
  file('ec2/latest/meta-data.json', '{}'),
  file('empty', ''),
]

test('names are as they were given by Rock Ridge and by Joliet, and capitals for whoever reads neither', async () => {
  await using iso = await openIso(DRIVE)
  const paths = DRIVE.map(({ path }) => `/${path}`)
  const isFile = (line: string) => paths.includes(line.replace(/;1$/, ''))
  assert.deepEqual((await iso.list('-R')).filter(isFile).sort(), paths.toSorted())
  assert.deepEqual((await iso.list('-J')).filter(isFile).sort(), paths.map((path) => `${path};1`).sort())
  const plain = await iso.list()
  assert.ok(plain.includes('/OPENSTACK/2012_08_10/META_DATA.JSON;1'), plain.join(' '))
  assert.ok(plain.includes('/OPENSTACK/LATEST/USER_DATA.;1'))
  for (const line of plain) assert.match(line, /^[A-Z0-9_/.;]+$/)
})

test('every byte of every file is there', async () => {
  await using iso = await openIso(DRIVE)
  for (const { path, content } of DRIVE.filter((one) => one.content.length > 0)) {
    assert.deepEqual(await iso.read(`/${path}`, '-R'), content, path)
    assert.deepEqual(await iso.read(`/${path};1`, '-J'), content, path)
  }
})

test('the volume has its label in small letters, and only root may read what is in it', async () => {
  await using iso = await openIso(DRIVE)
  const told = await iso.tell('-d')
  assert.match(told, /^Volume id: config-2$/m)
  assert.match(told, /Joliet with UCS level 3 found/)
  assert.match(told, /Rock Ridge signatures version 1 found/)
  const lines = (await iso.tell('-l', '-R')).split('\n').filter((line) => /^[-d]r/.test(line))
  assert.ok(lines.length > DRIVE.length)
  for (const line of lines) assert.match(line, /^(dr-x------ +[2-9]|-r-------- +1) +0 +0 .* Nov 24 2026 /)
})

test('directories of many files, and files deep below, are found', async () => {
  const many = Array.from({ length: 400 }, (_, at) =>
    file(`many/A-name-so-long-that-capitals-run-out.${at}.conf`, `${at}`),
  )
  const deep = file(`${'deep/'.repeat(7)}end`, 'deep')
  await using iso = await openIso([...many, deep])
  assert.equal((await iso.list('-R')).filter((line) => line.endsWith('.conf')).length, many.length)
  assert.equal(new Set((await iso.list()).filter((line) => line.startsWith('/MANY/'))).size, many.length)
  assert.equal(String(await iso.read('/many/A-name-so-long-that-capitals-run-out.399.conf', '-R')), '399')
  assert.equal(String(await iso.read(`/${deep.path}`, '-R')), 'deep')
})

test('what does not fit is refused', () => {
  const refused: [IsoFile[], RegExp][] = [
    [[file('a/../b', '')], /"\.\."/],
    [[file('a//b', '')], /""/],
    [[file('a b', '')], /"a b"/],
    [[file('x'.repeat(65), '')], /cannot be a name/],
    [[file(`${'d/'.repeat(8)}f`, '')], /too deep/],
    [[file('a', ''), file('a', '')], /taken/],
    [[file('a', ''), file('a/b', '')], /file already/],
    [[file('a/b', ''), file('a', '')], /taken/],
  ]
  for (const [files, message] of refused) assert.throws(() => writeIso('config-2', files, WRITTEN_AT), message)
  assert.throws(() => writeIso('a label too long for it', [], WRITTEN_AT), /name of an image/)
})

test('whatever the names and sizes, the image is whole sectors, and each file begins where its records say', async () => {
  const name = fc.stringMatching(/^[a-z0-9_.-]{1,20}$/).filter((text) => !/^\.{1,2}$/.test(text))
  const files = fc.uniqueArray(
    fc.record({
      path: fc.tuple(name, name).map((parts) => parts.join('/')),
      content: fc.uint8Array({ maxLength: 5_000 }),
    }),
    { selector: ({ path }) => path, maxLength: 40 },
  )
  fc.assert(
    fc.property(files, (ones) => {
      const image = writeIso(
        'x',
        ones.map(({ path, content }) => file(path, Buffer.from(content))),
        WRITTEN_AT,
      )
      assert.equal(image.length % 2_048, 0)
      assert.equal(image.readUInt32LE(16 * 2_048 + 80) * 2_048, image.length)
      for (const { content } of ones) assert.ok(content.length === 0 || image.includes(content))
    }),
    { numRuns: 50 },
  )
})
