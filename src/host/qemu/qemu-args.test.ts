import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DEFAULT_HARDWARE, type HardwarePlan, HostError, type ServerPlan } from '../host-driver.ts'
import { type QemuInput, qemuArgs } from './qemu-args.ts'
import { serverFiles } from './server-files.ts'

const SERVER = 'aaaaaaaa-0000-4000-8000-000000000001'
const port = (n: number) => ({ portId: `p${n}`, networkId: 'n', macAddress: `fa:16:3e:00:00:0${n}`, mtu: 1450 })
const plan: ServerPlan = {
  serverId: SERVER,
  vcpus: 2,
  ramMib: 256,
  imageId: 'tiny',
  ports: [],
  disks: [],
  hardware: DEFAULT_HARDWARE,
}
const files = serverFiles('/data/servers', SERVER)
const bare: QemuInput = {
  plan,
  storedDisks: [],
  files,
  baseDisk: '/images/tiny/disk.qcow2',
  directBoot: undefined,
  accelerator: 'tcg',
  tapFds: [],
}

/** Every value that follows `option`. */
const values = (args: string[], option: string): string[] => args.filter((_, i) => args[i - 1] === option)

const table: { says: string; input: QemuInput; option: string; expected: string[] }[] = [
  { says: 'the machine is q35', input: bare, option: '-machine', expected: ['q35'] },
  { says: 'TCG keeps its translations small', input: bare, option: '-accel', expected: ['tcg,tb-size=32'] },
  { says: 'TCG emulates all it can', input: bare, option: '-cpu', expected: ['max'] },
  { says: 'KVM runs on KVM', input: { ...bare, accelerator: 'kvm' }, option: '-accel', expected: ['kvm'] },
  { says: "KVM shows the host's CPU", input: { ...bare, accelerator: 'kvm' }, option: '-cpu', expected: ['host'] },
  { says: 'memory is in MiB', input: bare, option: '-m', expected: ['256M'] },
  { says: 'each vcpu is a core', input: bare, option: '-smp', expected: ['2,sockets=1,cores=2,threads=1'] },
  { says: 'the server id is the machine id', input: bare, option: '-uuid', expected: [SERVER] },
  {
    says: 'firmware names OpenStack, which cloud-init looks for',
    input: bare,
    option: '-smbios',
    expected: [`type=1,manufacturer=OpenStack Foundation,product=OpenStack Nova,uuid=${SERVER},serial=${SERVER}`],
  },
  {
    says: 'nothing is allowed that it does not need',
    input: bare,
    option: '-sandbox',
    expected: ['on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
  },
  { says: 'no card without a port', input: bare, option: '-netdev', expected: [] },
  {
    says: 'a card for each port, on the tap of the same place',
    input: { ...bare, plan: { ...plan, ports: [port(1), port(2)] }, tapFds: [3, 4] },
    option: '-netdev',
    expected: ['tap,id=net-p1,fd=3', 'tap,id=net-p2,fd=4'],
  },
  { says: 'no kernel: the disk boots itself', input: bare, option: '-kernel', expected: [] },
  {
    says: 'a command line reaches the kernel as it is',
    input: { ...bare, directBoot: { kernel: '/k', initrd: undefined, cmdline: 'root=/dev/vda1 a,b' } },
    option: '-append',
    expected: ['root=/dev/vda1 a,b'],
  },
  {
    says: 'no initrd where the image has none',
    input: { ...bare, directBoot: { kernel: '/k', initrd: undefined, cmdline: '' } },
    option: '-initrd',
    expected: [],
  },
  {
    says: 'the screen is a socket',
    input: bare,
    option: '-vnc',
    expected: [`unix:/data/servers/${SERVER}/s/vnc,share=force-shared`],
  },
  {
    says: 'a comma in a path stays one',
    input: { ...bare, files: serverFiles('/d,x', SERVER) },
    option: '-vnc',
    expected: [`unix:/d,,x/${SERVER}/s/vnc,share=force-shared`],
  },
]

for (const { says, input, option, expected } of table) {
  test(`qemuArgs: ${says}`, () => assert.deepEqual(values(qemuArgs(input), option), expected))
}

test('qemuArgs: every layer of the disk has a format and an end, so that none is guessed', () => {
  const [root] = values(qemuArgs(bare), '-blockdev').map((text) => JSON.parse(text))
  assert.equal(root.driver, 'qcow2')
  assert.equal(root.file.filename, `/data/servers/${SERVER}/disk.qcow2`)
  assert.deepEqual(root.backing, {
    driver: 'qcow2',
    'read-only': true,
    backing: null,
    file: { driver: 'file', filename: '/images/tiny/disk.qcow2', 'read-only': true },
  })
})

test('qemuArgs: cards carry their address and MTU, load no boot program, and leave the disk its root port', () => {
  const input = { ...bare, plan: { ...plan, ports: [port(1)] }, tapFds: [3] }
  const card = values(qemuArgs(input), '-device').find((device) => device.includes('virtio-net-pci'))
  assert.equal(
    card,
    'driver=virtio-net-pci,netdev=net-p1,id=card-p1,mac=fa:16:3e:00:00:01,host_mtu=1450,romfile=,bus=rp1',
  )
})

test('qemuArgs: sixteen root ports, each at an address of its own', () => {
  const ports = values(qemuArgs(bare), '-device').filter((device) => device.startsWith('pcie-root-port'))
  const addresses = ports.map((device) => /addr=([0-9.]+)/.exec(device)?.[1])
  assert.equal(new Set(addresses).size, 16)
})

test('qemuArgs: a port without a tap is a mistake of the caller', () => {
  assert.throws(() => qemuArgs({ ...bare, plan: { ...plan, ports: [port(1)] } }), /p1 has no tap/)
})

test('qemuArgs: disks stand in the order the guest names them, the first in the place of the image’s disk when there is none', () => {
  const newDisk = (diskId: string, bootIndex: number | null) =>
    ({ diskId, kind: 'volume', device: 'any', bootIndex }) as const
  const disks = [newDisk('one', 0), newDisk('two', null)]
  const storedDisks = [{ file: '/one' }, { file: '/two' }].map((disk) => ({ ...disk, base: undefined }))
  const places = (input: QemuInput) =>
    values(qemuArgs(input), '-device').flatMap((device) => /^(?=.*virtio-blk).*bus=(rp\d+)/.exec(device)?.[1] ?? [])
  assert.deepEqual(places({ ...bare, plan: { ...plan, disks }, storedDisks }), ['rp0', 'rp8', 'rp9'])
  const withoutImage = { ...bare, baseDisk: undefined, plan: { ...plan, imageId: null, disks }, storedDisks }
  assert.deepEqual(places(withoutImage), ['rp0', 'rp8'])
})

/** A server of this hardware with a card, and as many volumes besides the image's disk. */
function machine(change: Partial<HardwarePlan>, volumes = 1): QemuInput {
  const disks = Array.from({ length: volumes }, (_, i) => ({ diskId: `v${i + 1}`, bootIndex: null }))
  const hardware = { ...DEFAULT_HARDWARE, ...change }
  return {
    ...bare,
    plan: {
      ...{ ...plan, ports: [port(1)], hardware },
      disks: disks.map((disk) => ({ ...disk, kind: 'volume', device: 'any' })),
    },
    storedDisks: disks.map(({ diskId }) => ({ file: `/${diskId}`, base: undefined })),
    tapFds: [3],
  }
}

const machines: { says: string; change: Partial<HardwarePlan>; about: RegExp; expected: string[] }[] = [
  { says: 'pc has no root ports', change: { machine: 'pc' }, about: /root-port/, expected: [] },
  {
    says: 'pc has its disks on PCI',
    change: { machine: 'pc' },
    about: /virtio-blk/,
    expected: [
      'virtio-blk-pci,drive=root,id=vda,bus=pci.0,bootindex=1',
      'driver=virtio-blk-pci,drive=d-v1,id=disk-v1,serial=v1,bus=pci.0',
    ],
  },
  {
    says: 'IDE has two disks a channel',
    change: { machine: 'pc', diskBus: 'ide' },
    about: /-hd,|ahci/,
    expected: [
      'ide-hd,drive=root,id=vda,bus=ide.0,unit=0,bootindex=1',
      'driver=ide-hd,drive=d-v1,id=disk-v1,serial=v1,bus=ide.0,unit=1',
    ],
  },
  {
    says: 'q35 brings SATA',
    change: { diskBus: 'sata' },
    about: /-hd,|ahci/,
    expected: [
      'ide-hd,drive=root,id=vda,bus=ide.0,bootindex=1',
      'driver=ide-hd,drive=d-v1,id=disk-v1,serial=v1,bus=ide.1',
    ],
  },
  {
    says: 'pc is given SATA',
    change: { machine: 'pc', diskBus: 'sata' },
    about: /-hd,|ahci/,
    expected: [
      'ahci,id=ahci0',
      'ide-hd,drive=root,id=vda,bus=ahci0.0,bootindex=1',
      'driver=ide-hd,drive=d-v1,id=disk-v1,serial=v1,bus=ahci0.1',
    ],
  },
  {
    says: 'all disks are on one SCSI controller',
    change: { diskBus: 'scsi' },
    about: /scsi/,
    expected: [
      'virtio-scsi-pci,id=scsi0',
      'scsi-hd,drive=root,id=vda,bus=scsi0.0,bootindex=1',
      'driver=scsi-hd,drive=d-v1,id=disk-v1,serial=v1,bus=scsi0.0',
    ],
  },
  ...(['e1000', 'e1000e', 'rtl8139'] as const).map((cardModel) => ({
    says: `${cardModel} is told no MTU`,
    change: { cardModel },
    about: /netdev=/,
    expected: [`driver=${cardModel},netdev=net-p1,id=card-p1,mac=fa:16:3e:00:00:01,romfile=,bus=rp1`],
  })),
  { says: 'no random numbers', change: { hasRandom: false }, about: /rng/, expected: [] },
  { says: 'no port for the agent', change: { hasAgent: false }, about: /serial-pci|virtserialport/, expected: [] },
]

test('qemuArgs: disks are on the bus they ask for, CDs are CDs, and what is read-only cannot be written', () => {
  const { plan: made, ...rest } = machine({})
  const [first] = made.disks
  const disks = [
    { ...first, diskId: 'v1', bus: 'scsi' as const, isReadOnly: true as const },
    { ...first, diskId: 'v2', bus: 'sata' as const, isCd: true as const },
    { ...first, diskId: 'v3', bus: 'sata' as const },
  ].map((disk) => ({ kind: 'volume' as const, device: 'any', bootIndex: null, ...disk }))
  const stored = disks.map(({ diskId }) => ({ file: `/${diskId}`, base: undefined }))
  const args = qemuArgs({ ...rest, plan: { ...made, disks }, storedDisks: stored })
  assert.deepEqual(
    values(args, '-device').filter((device) => /scsi|ide-|virtio-blk/.test(device)),
    [
      'virtio-scsi-pci,id=scsi0',
      'virtio-blk-pci,drive=root,id=vda,bus=rp0,bootindex=1',
      'driver=scsi-hd,drive=d-v1,id=disk-v1,serial=v1,bus=scsi0.0',
      'driver=ide-cd,drive=d-v2,id=disk-v2,serial=v2,bus=ide.0',
      'driver=ide-hd,drive=d-v3,id=disk-v3,serial=v3,bus=ide.1',
    ],
  )
  const nodes = values(args, '-blockdev').map((node) => JSON.parse(node))
  assert.deepEqual(
    nodes.filter((node) => node['node-name'] !== 'root').map((node) => [node['node-name'], node['read-only']]),
    [
      ['d-v1', true],
      ['d-v2', true],
      ['d-v3', undefined],
    ],
  )
})

for (const { says, change, about, expected } of machines) {
  test(`qemuArgs: ${says} where the image says so`, () => {
    const devices = values(qemuArgs(machine(change)), '-device')
    assert.deepEqual(
      devices.filter((device) => about.test(device)),
      expected,
    )
  })
}

test('qemuArgs: UEFI is in the flash of the machine: its code for all, its variables of the server', () => {
  const firmware = { code: '/code', variables: '/variables' }
  const args = qemuArgs({ ...machine({ machine: 'pc', firmware: 'uefi' }), firmware })
  assert.deepEqual(values(args, '-machine'), ['pc,pflash0=firmware-code,pflash1=firmware-variables'])
  const [code, variables] = values(args, '-blockdev').map((text) => JSON.parse(text))
  const file = (filename: string, isReadOnly: boolean) => ({
    ...{ driver: 'raw', 'read-only': isReadOnly },
    file: { driver: 'file', filename, 'read-only': isReadOnly },
  })
  assert.deepEqual(code, { ...file('/code', true), 'node-name': 'firmware-code' })
  assert.deepEqual(variables, { ...file('/variables', false), 'node-name': 'firmware-variables' })
})

const tooMuch: { says: string; change: Partial<HardwarePlan>; volumes: number; message: RegExp }[] = [
  { says: 'IDE on q35', change: { diskBus: 'ide' }, volumes: 0, message: /needs hw_machine_type=pc/ },
  { says: 'five disks on IDE', change: { machine: 'pc', diskBus: 'ide' }, volumes: 4, message: /takes 4 of them/ },
  { says: 'seven disks on SATA', change: { diskBus: 'sata' }, volumes: 6, message: /takes 6 of them/ },
  { says: 'seven on that of a pc', change: { machine: 'pc', diskBus: 'sata' }, volumes: 6, message: /takes 6 of them/ },
]

for (const { says, change, volumes, message } of tooMuch) {
  test(`qemuArgs: ${says} is refused, one less is not`, () => {
    if (volumes > 0) qemuArgs(machine(change, volumes - 1))
    assert.throws(
      () => qemuArgs(machine(change, volumes)),
      (error) => error instanceof HostError && error.failure === 'startFailed' && message.test(error.message),
    )
  })
}
