/** A small upload that is a large disk, on a host with less room than that. Needs root. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { statfs, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { HostError } from '../../src/host/host-driver.ts'
import { DirectoryBackend } from '../../src/host/volumes/directory-backend.ts'
import { pump } from '../../src/images/pump.ts'
import { ImageReceiver, NoRoomError } from '../../src/images/receive-image.ts'
import { hasRoomFor } from '../../src/images/upload-files.ts'
import { newId } from '../../src/lib/ids.ts'
import { BOMB_BYTES, compressedBomb } from '../support/compressed-bomb.ts'
import { GUEST_USER } from './qemu-world.ts'
import { SmallDisk } from './small-disk.ts'

const MIB = 1024 ** 2

test('a compressed bomb is refused before it takes the room that guests and the database need', async () => {
  await using small = await SmallDisk.mount('128m')
  const dataDir = dirname(dirname(small.files('any').directory))
  const users = { find: async () => undefined, bootDisk: async () => undefined }
  const imagesDir = join(dataDir, 'images')
  const backend = new DirectoryBackend({ dataDir, imagesDir, qemuImg: '/usr/bin/qemu-img', user: GUEST_USER, users })
  await backend.start()
  const file = join(dataDir, 'bomb.qcow2')
  await writeFile(file, compressedBomb(), { mode: 0o644 })

  let least = Number.POSITIVE_INFINITY
  let isDone = false
  const watch = async () => {
    for (; !isDone; await pause(2)) {
      const { bavail, bsize } = await statfs(dataDir)
      least = Math.min(least, bavail * bsize)
    }
  }
  const watching = watch()
  const plan = { imageId: newId(), file, diskFormat: 'qcow2', virtualBytes: BOMB_BYTES }
  await assert.rejects(
    backend.ensureImage(plan).finally(() => {
      isDone = true
    }),
    (error) => error instanceof HostError && error.failure === 'noSpace',
  )
  await watching
  assert.ok(least > 60 * MIB, `only ${Math.round(least / MIB)} MiB were left`)
  assert.deepEqual(readdirSync(imagesDir), [])
})

test('an upload of unknown length ends before it takes that room', async () => {
  await using small = await SmallDisk.mount('128m')
  const dataDir = dirname(dirname(small.files('any').directory))
  await using receiver = await ImageReceiver.begin(join(dataDir, 'ID.part'))
  const piece = randomBytes(MIB)
  const body = Readable.from(Array.from({ length: 200 }, () => piece))
  const limits = { mostBytes: 2 ** 40, hasRoom: () => hasRoomFor({ data: dataDir }, 0) }
  await assert.rejects(pump(body, { interrupt: undefined, isAborted: false }, receiver, limits), NoRoomError)
  const { bavail, bsize } = await statfs(dataDir)
  assert.ok(bavail * bsize > 40 * MIB, `only ${Math.round((bavail * bsize) / MIB)} MiB were left`)
})
