import { randomBytes } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MemoryDisks } from '../../src/host/memory/memory-disks.ts'
import { newMemoryMachine, newMemoryServer } from '../../src/host/memory/memory-machine.ts'
import { readQcow2Header } from '../../src/host/qemu/qcow2-header.ts'
import { DirectoryBackend } from '../../src/host/volumes/directory-backend.ts'
import type { DiskUser } from '../../src/host/volumes/volume-backend.ts'
import { newId } from '../../src/lib/ids.ts'
import { GUEST_USER } from '../vm/qemu-world.ts'
import { type BackendWorld, volumeBackendPromises } from './volume-backend-promises.ts'

const GIB = 1024 ** 3

volumeBackendPromises('disks in memory', async (): Promise<BackendWorld> => {
  const directory = await mkdtemp(join(tmpdir(), 'novella-backend-'))
  const machine = newMemoryMachine()
  let backend = new MemoryDisks(machine, directory)
  const server = { ...newMemoryServer(), power: 'on' as const }
  return {
    get backend() {
      return backend
    },
    newImage: async () => ({ imageId: newId(), file: '/none', diskFormat: 'raw', virtualBytes: 512 }),
    restart: async () => {
      backend = new MemoryDisks(machine, directory)
      await backend.start()
    },
    readVolume: async (volumeId) => ({ ...machine.volumes.get(volumeId) }),
    readSizeGib: async (volumeId) => machine.volumes.get(volumeId)?.sizeGib ?? 0,
    hold: (volumeId) => {
      const serverId = newId()
      const disk = { diskId: volumeId, kind: 'volume', device: 'vdb', bootIndex: null } as const
      machine.servers.set(serverId, { ...server, disks: new Map([[volumeId, disk]]) })
      return { [Symbol.dispose]: () => void machine.servers.delete(serverId) }
    },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
  }
})

volumeBackendPromises('a directory of qcow2', async (): Promise<BackendWorld> => {
  const directory = await mkdtemp(join(tmpdir(), 'novella-backend-'))
  await chmod(directory, 0o755)
  const held = new Set<string>()
  const holder: DiskUser = { copyTo: async () => false, growTo: async () => false }
  const volumeFile = (volumeId: string) => join(directory, 'volumes', volumeId, 'disk.qcow2')
  const open = () =>
    new DirectoryBackend({
      dataDir: directory,
      imagesDir: join(directory, 'images'),
      qemuImg: '/usr/bin/qemu-img',
      user: GUEST_USER,
      users: { find: async (file) => (held.has(file) ? holder : undefined), bootDisk: async () => undefined },
    })
  let backend = open()
  await backend.start()
  return {
    get backend() {
      return backend
    },
    newImage: async () => {
      const imageId = newId()
      const file = join(directory, 'uploads', imageId)
      await mkdir(join(directory, 'uploads'), { recursive: true })
      await writeFile(file, randomBytes(1024 * 1024), { mode: 0o644 })
      return { imageId, file, diskFormat: 'raw', virtualBytes: 1024 * 1024 }
    },
    restart: async () => {
      backend = open()
      await backend.start()
    },
    readVolume: async (volumeId) => (await readFile(volumeFile(volumeId))).toString('base64'),
    readSizeGib: async (volumeId) => (await readQcow2Header(volumeFile(volumeId))).virtualBytes / GIB,
    hold: (volumeId) => {
      held.add(volumeFile(volumeId))
      return { [Symbol.dispose]: () => void held.delete(volumeFile(volumeId)) }
    },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
  }
})
