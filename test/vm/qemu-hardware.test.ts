/** Machines as images ask for them, started by the driver: QEMU says what they are made of, and guests boot on them. */
import assert from 'node:assert/strict'
import { copyFile, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { DEFAULT_HARDWARE, type HardwarePlan, type PortPlan, type ServerPlan } from '../../src/host/host-driver.ts'
import { readObjects } from '../../src/host/qemu/qmp-client.ts'
import { run } from '../../src/host/run-program.ts'
import type { ServerDisk } from '../../src/host/volume-host.ts'
import { buildTiny } from '../../src/images/tiny/build-tiny.ts'
import { newId } from '../../src/lib/ids.ts'
import { until } from '../support/until.ts'
import { WRITE_KEY } from './boot-sector-guest.ts'
import { failsAs, greetings, newPort, QemuWorld, SECTOR_IMAGE, withPorts } from './qemu-world.ts'

const cacheDir = process.env.NOVELLA_CACHE_DIR ?? '/var/cache/novella'

/** A world whose servers have one card each, all on one network. */
async function openWorld() {
  const world = await QemuWorld.open()
  const ports: PortPlan[] = []
  const newCard = async (serverId: string) => {
    const port = newPort(serverId)
    const network = ports[0]?.network ?? port.network
    const subnetId = network.subnets[0]?.subnetId ?? ''
    const own = { ...port, network, addresses: [{ subnetId, ipAddress: `10.77.0.${10 + ports.length}` }] }
    ports.push(own)
    await world.driver.ensurePort(own)
    return own
  }
  return {
    world,
    newCard,
    /** A server of this hardware that runs. */
    async newServer(change: Partial<HardwarePlan>, own: Partial<ServerPlan> = {}): Promise<ServerPlan> {
      const imageId = own.imageId ?? SECTOR_IMAGE
      const { disk, server } = world.newServer(imageId)
      await world.driver.ensureDisk(disk)
      const withCard = withPorts(server, [await newCard(server.serverId)])
      const plan = { ...withCard, ...own, hardware: { ...DEFAULT_HARDWARE, ...change } }
      assert.equal(await world.driver.ensureOn(plan), 'on')
      return plan
    },
    async newVolume(): Promise<ServerDisk> {
      const volumeId = newId()
      await world.driver.ensureVolume({ volumeId, sizeGib: 1, source: null })
      return { diskId: volumeId, kind: 'volume', device: 'vdb', bootIndex: null }
    },
    /** What the machine of a server is made of: the types of its devices by their ids, and the bus of each. */
    async readMachine(serverId: string) {
      const listed = readObjects(await world.askTools(serverId, 'qom-list', { path: '/machine/peripheral' }))
      const nameless = readObjects(await world.askTools(serverId, 'qom-list', { path: '/machine/peripheral-anon' }))
      const types = [...listed, ...nameless].map(({ type }) => /^child<(.*)>$/.exec(String(type))?.[1])
      const typeOf = (id: string) => /^child<(.*)>$/.exec(String(listed.find(({ name }) => name === id)?.type))?.[1]
      const machine = await world.askTools(serverId, 'qom-get', { path: '/machine', property: 'type' })
      return { machine: String(machine), types, typeOf }
    },
    async [Symbol.asyncDispose]() {
      for (const { serverId } of await world.driver.readServers()) await world.driver.ensureOff(serverId)
      for (const { portId } of ports) await world.driver.removePort(portId)
      await world[Symbol.asyncDispose]()
    },
  }
}

const machines: { change: Partial<HardwarePlan>; machine: RegExp; disk: string; card: string }[] = [
  { change: { machine: 'pc' }, machine: /^pc-i440fx/, disk: 'virtio-blk-pci', card: 'virtio-net-pci' },
  {
    change: { machine: 'pc', diskBus: 'ide', cardModel: 'e1000' },
    machine: /^pc-i440fx/,
    disk: 'ide-hd',
    card: 'e1000',
  },
  {
    change: { machine: 'pc', diskBus: 'sata', cardModel: 'rtl8139' },
    machine: /^pc-i440fx/,
    disk: 'ide-hd',
    card: 'rtl8139',
  },
  { change: { machine: 'pc', diskBus: 'scsi' }, machine: /^pc-i440fx/, disk: 'scsi-hd', card: 'virtio-net-pci' },
  { change: { diskBus: 'sata', cardModel: 'rtl8139' }, machine: /^pc-q35/, disk: 'ide-hd', card: 'rtl8139' },
  {
    change: { diskBus: 'scsi', cardModel: 'e1000e', hasAgent: false, hasRandom: false },
    machine: /^pc-q35/,
    disk: 'scsi-hd',
    card: 'e1000e',
  },
  { change: { cardModel: 'e1000' }, machine: /^pc-q35/, disk: 'virtio-blk-pci', card: 'e1000' },
]

test('a guest boots, and writes its disk, on whatever machine its image asks for', async () => {
  await using opened = await openWorld()
  const { world } = opened
  for (const { change, machine, disk, card } of machines) {
    const { serverId, ports } = await opened.newServer(change)
    const what = JSON.stringify(change)
    await world.untilUp(serverId)
    await world.type(serverId, WRITE_KEY)
    await until(`the write of ${what} is done`, async () => greetings(await world.driver.readConsole(serverId)) === 2)
    const made = await opened.readMachine(serverId)
    assert.match(made.machine, machine)
    assert.equal(made.typeOf('vda'), disk, what)
    assert.equal(made.typeOf(`card-${ports[0]?.portId}`), card, what)
    assert.equal(made.types.includes('virtserialport'), change.hasAgent ?? true, what)
    assert.equal(made.types.includes('virtio-rng-pci'), change.hasRandom ?? true, what)
    await world.driver.ensureOff(serverId)
  }
})

test('what comes while a guest runs is of the kind that its machine has', async () => {
  await using opened = await openWorld()
  const { world } = opened
  const server = await opened.newServer({ diskBus: 'scsi', cardModel: 'e1000e' })
  const { serverId } = server
  await world.untilUp(serverId)
  await world.restart()
  const [card = assert.fail()] = withPorts(server, [await opened.newCard(serverId)]).ports
  const volume = await opened.newVolume()
  await world.driver.ensureCard(serverId, card)
  await world.driver.ensureAttached(serverId, volume)
  const { typeOf } = await opened.readMachine(serverId)
  assert.equal(typeOf(`card-${card.portId}`), 'e1000e')
  assert.equal(typeOf(`disk-${volume.diskId}`), 'scsi-hd')
  await world.driver.removeAttached(serverId, volume.diskId)
  assert.deepEqual(await world.readAttached(serverId), [])
})

test('disks are on the buses they ask for, as CDs too, and a guest cannot write to those it may only read', async () => {
  await using opened = await openWorld()
  const { world } = opened
  const [cd, fixed, later] = [await opened.newVolume(), await opened.newVolume(), await opened.newVolume()]
  const disks: ServerDisk[] = [
    { ...cd, bus: 'sata', isCd: true },
    { ...fixed, device: 'vdc', bus: 'scsi', isReadOnly: true },
  ]
  const { serverId } = await opened.newServer({}, { disks })
  await world.untilUp(serverId)
  await world.driver.ensureAttached(serverId, { ...later, device: 'vdd', bus: 'virtio', isReadOnly: true })
  const { typeOf } = await opened.readMachine(serverId)
  assert.deepEqual(
    [cd, fixed, later].map(({ diskId }) => typeOf(`disk-${diskId}`)),
    ['ide-cd', 'scsi-hd', 'virtio-blk-pci'],
  )
  const blocks = readObjects(await world.askTools(serverId, 'query-block', {}))
  const isReadOnly = (diskId: string): unknown =>
    (blocks.find(({ qdev }) => String(qdev).includes(diskId))?.inserted as Record<string, unknown> | undefined)?.ro
  assert.deepEqual(
    [cd, fixed, later].map(({ diskId }) => isReadOnly(diskId)),
    [true, true, true],
  )
  await assert.rejects(world.driver.removeAttached(serverId, cd.diskId), failsAs('startFailed', /IDE or SATA/))
})

test('a machine that takes nothing while it runs says so, and the volume stays free', async () => {
  await using opened = await openWorld()
  const { world } = opened
  const [first, second] = [await opened.newVolume(), await opened.newVolume()]
  const pc = await opened.newServer({ machine: 'pc' })
  const card = withPorts(pc, [await opened.newCard(pc.serverId)]).ports[0] ?? assert.fail()
  await assert.rejects(world.driver.ensureCard(pc.serverId, card), failsAs('startFailed', /machine \(pc\)/))
  await assert.rejects(world.driver.ensureAttached(pc.serverId, first), failsAs('startFailed', /machine \(pc\)/))
  await world.driver.ensureOff(pc.serverId)

  const sata = await opened.newServer({ diskBus: 'sata' }, { disks: [first] })
  assert.deepEqual(await world.readAttached(sata.serverId), [first.diskId])
  await assert.rejects(world.driver.ensureAttached(sata.serverId, second), failsAs('startFailed', /IDE or SATA/))
  await assert.rejects(world.driver.removeAttached(sata.serverId, first.diskId), failsAs('startFailed', /IDE or SATA/))
  assert.deepEqual(await world.readAttached(sata.serverId), [first.diskId])
  await world.driver.ensureOff(sata.serverId)
  await world.driver.removeVolume(second.diskId)
})

test('a machine that there is not is refused, and nothing runs', async () => {
  await using opened = await openWorld()
  await assert.rejects(opened.newServer({ diskBus: 'ide' }), failsAs('startFailed', /hw_machine_type=pc/))
  const kernel = { kernelImageId: newId(), ramdiskImageId: null, cmdline: '' }
  await assert.rejects(opened.newServer({ kernel }), failsAs('noImage', /kernel/))
  for (const { power } of await opened.world.driver.readServers()) assert.equal(power, 'off')
})

test('UEFI starts what is on the disk of the server, also on a pc', async () => {
  const tiny = await buildTiny({ cacheDir })
  await using opened = await openWorld()
  const { world } = opened
  const raw = join(world.directory, 'esp.raw')
  const steps = [
    ['truncate', '--size=64M', raw],
    ['mformat', '-i', raw, '-F', '::'],
    ['mmd', '-i', raw, '::/EFI', '::/EFI/BOOT'],
    // A kernel is a program for UEFI.
    ['mcopy', '-i', raw, join(tiny.directory, 'kernel'), '::/EFI/BOOT/BOOTX64.EFI'],
  ]
  for (const [program, ...args] of steps) await run([`/usr/bin/${program}`, ...args], { timeoutMs: 30_000 })
  const imageId = newId()
  const { size } = await stat(raw)
  await world.driver.ensureImage({ imageId, file: raw, diskFormat: 'raw', virtualBytes: size })
  await rm(raw)
  const { serverId } = await opened.newServer({ firmware: 'uefi', machine: 'pc' }, { imageId, ramMib: 256 })
  const started = /BdsDxe: starting Boot\d+ .* from PciRoot/
  await until('the firmware starts it', async () => started.test(await world.driver.readConsole(serverId)))
})

test('Linux logs in on UEFI, by a kernel and a RAM disk that are images, with the command line it was given', async () => {
  const tiny = await buildTiny({ cacheDir })
  await using opened = await openWorld()
  const { world } = opened
  await world.linkImage('tiny', tiny.directory)
  const [kernelImageId, ramdiskImageId] = [newId(), newId()]
  for (const [imageId, name, diskFormat] of [
    [kernelImageId, 'kernel', 'aki'],
    [ramdiskImageId, 'initrd', 'ari'],
  ] as const) {
    // The upload it is made from goes away, and with it the file.
    const file = join(world.directory, name)
    await copyFile(join(tiny.directory, name), file)
    await world.driver.ensureImage({ imageId, file, diskFormat, virtualBytes: 0 })
  }
  const own = (await readFile(join(tiny.directory, 'cmdline'), 'utf8')).trim().replace('quiet', 'loglevel=7')
  const kernel = { kernelImageId, ramdiskImageId, cmdline: `${own} novella.test=1` }
  const server = await opened.newServer({ firmware: 'uefi', kernel }, { imageId: 'tiny', ramMib: 256 })
  const { serverId } = server
  const console = () => world.driver.readConsole(serverId)
  await until('it asks for a login', async () => / login: *$/.test(await console()))
  const said = await console()
  assert.match(said, /EFI v[\d.]+ by /)
  assert.match(said, /Command line: .*novella\.test=1/)

  const { firmwareVariables } = world.files(serverId)
  const { ino, uid } = await stat(firmwareVariables)
  assert.notEqual(uid, 0)
  await world.driver.ensureOff(serverId)
  assert.equal(await world.driver.ensureOn(server), 'on')
  assert.equal((await stat(firmwareVariables)).ino, ino)
  await world.driver.ensureOff(serverId)
  await world.driver.removeDisks(serverId)
  await assert.rejects(stat(firmwareVariables), { code: 'ENOENT' })
})
