import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { baseOfDisk, ensureOverlay, findDirectBoot } from '../host/qemu/server-disk.ts'
import { serverFiles } from '../host/qemu/server-files.ts'
import { placeImage } from './image-files.ts'

const run = promisify(execFile)
const ID = 'd767f3ae-bc59-4621-8924-5cdbc6184dee'

async function newWorld(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), 'novella-images-'))
  t.after(() => rm(directory, { recursive: true }))
  return { directory, images: join(directory, 'images') }
}

/** A build whose disk is of this size, so that two builds differ. */
async function newBuild(directory: string, name: string, mib: number): Promise<string> {
  const build = join(directory, name)
  await mkdir(build)
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', join(build, 'disk.qcow2'), `${mib}M`])
  for (const file of ['kernel', 'initrd', 'cmdline']) await writeFile(join(build, file), `${file} of ${name}\n`)
  await writeFile(join(build, 'facts.json'), JSON.stringify({ sha512: name }))
  return build
}

test('an image is placed whole, under its id, for everybody to read', async (t) => {
  const { directory, images } = await newWorld(t)
  const build = await newBuild(directory, 'first', 1)
  const placed = await placeImage(images, ID, build)
  for (const name of ['disk.qcow2', 'kernel', 'initrd', 'cmdline']) {
    assert.deepEqual(await readFile(join(images, ID, name)), await readFile(join(build, name)))
    assert.equal((await stat(join(images, ID, name))).mode & 0o777, 0o644)
  }
  assert.equal((await stat(placed)).mode & 0o777, 0o755)
  assert.equal(dirname(placed), images)
})

test('placing the same build again changes nothing', async (t) => {
  const { directory, images } = await newWorld(t)
  const build = await newBuild(directory, 'first', 1)
  const placed = await placeImage(images, ID, build)
  const { ino, mtimeMs } = await stat(placed)
  assert.equal(await placeImage(images, ID, build), placed)
  const again = await stat(placed)
  assert.deepEqual([again.ino, again.mtimeMs], [ino, mtimeMs])
  assert.equal((await readdir(images)).length, 2)
})

test('what a killed process left is removed, and what it placed is linked', async (t) => {
  const { directory, images } = await newWorld(t)
  const build = await newBuild(directory, 'first', 1)
  const placed = await placeImage(images, ID, build)
  await rm(join(images, ID))
  await mkdir(join(images, '.placing-abcdef'))
  await writeFile(join(images, '.placing-abcdef', 'disk.qcow2'), 'half')
  assert.equal(await placeImage(images, ID, build), placed)
  assert.deepEqual((await readdir(images)).sort(), [ID, placed.slice(images.length + 1)].sort())
})

test('a newer build leaves the disks of existing servers on the older one, with its kernel', async (t) => {
  const { directory, images } = await newWorld(t)
  const servers = join(directory, 'servers')
  await mkdir(servers)
  const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  const host = { imagesDir: images, findUser: () => owner }
  const newDisk = async (serverId: string) => {
    const files = serverFiles(servers, serverId)
    await ensureOverlay({ serverId, imageId: ID, sizeGib: 1 }, files, host)
    return files
  }
  const older = await placeImage(images, ID, await newBuild(directory, 'first', 1))
  const early = await newDisk('early')
  const newer = await placeImage(images, ID, await newBuild(directory, 'second', 2))
  const late = await newDisk('late')
  assert.notEqual(newer, older)

  assert.equal(await baseOfDisk(early, images, ID), join(older, 'disk.qcow2'))
  assert.equal(await baseOfDisk(late, images, ID), join(newer, 'disk.qcow2'))
  assert.equal((await findDirectBoot(await baseOfDisk(early, images, ID)))?.cmdline, 'cmdline of first')
  assert.equal((await findDirectBoot(await baseOfDisk(late, images, ID)))?.cmdline, 'cmdline of second')

  const { stdout } = await run('qemu-img', ['info', '--output=json', '--backing-chain', early.disk])
  assert.equal(JSON.parse(stdout)[1]['virtual-size'], 1024 ** 2)
})
