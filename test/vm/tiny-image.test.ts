/** The tiny image as a guest: what it must do on any cloud, asked of real boots. */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { buildTiny, type TinyBuild } from '../../src/images/tiny/build-tiny.ts'
import { KEYS } from '../support/public-keys.ts'
import { BareGuest, type BareGuestOptions, run } from './bare-guest.ts'
import { GuestNetwork } from './guest-network.ts'

const cacheDir = process.env.NOVELLA_CACHE_DIR ?? '/var/cache/novella'
let image: TinyBuild
before(async () => {
  image = await buildTiny({ cacheDir })
})

/** A directory with a fresh overlay, from which guests can be started one after the other on the same disk. */
class Bench implements AsyncDisposable {
  readonly directory: string
  readonly disk: string
  #guests = 0

  constructor(directory: string) {
    this.directory = directory
    this.disk = join(directory, 'disk.qcow2')
  }

  async start(options: Partial<BareGuestOptions> = {}): Promise<BareGuest> {
    const directory = join(this.directory, `guest-${++this.#guests}`)
    await mkdir(directory)
    return new BareGuest({ image, boot: 'kernel', disk: this.disk, directory, ...options })
  }

  /** An ISO with metadata as OpenStack writes them; answers its path. */
  async configDrive(metadata: object, userData: string): Promise<string> {
    const tree = await mkdtemp(join(this.directory, 'config-'))
    const latest = join(tree, 'openstack', 'latest')
    await mkdir(latest, { recursive: true })
    await writeFile(join(latest, 'meta_data.json'), JSON.stringify(metadata))
    await writeFile(join(latest, 'user_data'), userData)
    await run('genisoimage', ['-quiet', '-V', 'config-2', '-r', '-J', '-o', `${tree}.iso`, tree])
    return `${tree}.iso`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.directory, { recursive: true, force: true })
  }
}

async function openBench(sizeGib?: number): Promise<Bench> {
  const bench = new Bench(await mkdtemp(join(tmpdir(), 'novella-tiny-')))
  const base = ['-F', 'qcow2', '-b', join(image.directory, 'disk.qcow2')]
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...base, bench.disk, ...(sizeGib ? [`${sizeGib}G`] : [])])
  return bench
}

async function logIn(guest: BareGuest, password: string, from = 0): Promise<void> {
  const prompt = await guest.awaitConsole(/login: $/, from)
  await guest.type('root\n')
  const asked = await guest.awaitConsole(/Password: /, prompt)
  await guest.type(`${password}\n`)
  const shell = await guest.awaitConsole(/# /, asked)
  await guest.type('echo who=$(id -u)\n')
  await guest.awaitConsole(/who=0/, shell)
}

/** A new key, and a way to run a command as root in the first guest of the network with it; the host must stay the same. */
async function openSsh(bench: Bench, network: GuestNetwork) {
  const keyFile = join(bench.directory, 'key')
  await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'me', '-f', keyFile])
  const known = `UserKnownHostsFile=${join(bench.directory, 'known')}`
  const options = [known, 'StrictHostKeyChecking=accept-new', 'BatchMode=yes', 'IdentitiesOnly=yes']
  const ssh = ['ssh', '-F', 'none', ...options.flatMap((option) => ['-o', option]), '-i', keyFile]
  const address = `root@${network.cards[0]?.ipAddress}`
  return {
    publicKey: (await readFile(`${keyFile}.pub`, 'utf8')).trim(),
    ssh: async (command: string) =>
      (await run('ip', ['netns', 'exec', network.namespace, ...ssh, address, command])).stdout,
  }
}

test('with -kernel and no network it comes to a login prompt, takes a password from the agent and obeys the power button', async () => {
  await using bench = await openBench()
  await using guest = await bench.start()
  const prompt = await guest.awaitConsole(/\btiny login: /)
  assert.match(await guest.console(), /novella: ready[\s\S]*Novella tiny/)
  await guest.agent('guest-set-user-password', {
    username: 'root',
    password: Buffer.from("pa'ss $word").toString('base64'),
    crypted: false,
  })
  assert.match(await guest.shell('cat /etc/shadow; ls -l /etc/shadow'), /^root:\$6\$[\s\S]*nobody:\*[\s\S]*-rw------- /)
  await logIn(guest, "pa'ss $word", prompt - 'tiny login: '.length)
  await guest.qmp('system_powerdown')
  assert.equal(await guest.awaitEnd(), 'exit 0')
})

test('its disk boots by itself, also when it was made larger, and shuts down when the agent is asked to', async () => {
  await using bench = await openBench(2)
  {
    await using guest = await bench.start({ boot: 'disk' })
    await guest.awaitConsole(/\btiny login: /)
    await guest.agent('guest-shutdown', {}, { answers: false })
    assert.equal(await guest.awaitEnd(), 'exit 0')
  }
  // A clean end leaves nothing to repair.
  await using again = await bench.start({ boot: 'disk' })
  await again.awaitConsole(/\btiny login: /)
  assert.doesNotMatch(await again.shell('dmesg'), /recover|not properly unmounted|EXT4-fs error/)
})

test('a config drive names it, gives root a password and keys, and its user data runs once an instance', async () => {
  await using bench = await openBench()
  const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0 one@example'
  const metadata = {
    uuid: '6f1f4a0e-3f0c-4d4c-8a53-4f3a1d2b7c01',
    hostname: 'web-1.example.test',
    admin_pass: 'it\'s "quite" $secret: \\x',
    public_keys: { one: key, two: 'ssh-rsa AAAAB3NzaC1yc2E= two@example' },
  }
  const userData = '#!/bin/bash\necho "user data on $(hostname) as $(id -un)"\n'
  // Each reading of the metadata has another seed.
  const start = async (seed: string) =>
    bench.start({ configDrive: await bench.configDrive({ ...metadata, random_seed: seed }, userData) })
  const remembered = 'stat -c %i /var/lib/novella/instance'
  let writtenOnce = ''
  {
    await using guest = await start('c2VlZA==')
    await guest.awaitConsole(/\bweb-1 login: /)
    await guest.awaitConsole(/user data on web-1 as root/)
    await logIn(guest, metadata.admin_pass)
    assert.equal(
      await guest.shell('grep -v "^#" /root/.ssh/authorized_keys; ls -ld /root/.ssh | cut -c1-10'),
      `${key}\nssh-rsa AAAAB3NzaC1yc2E= two@example\ndrwx------\n`,
    )
    assert.equal(await guest.shell('hostname -f; grep -rl "secret" /var /etc /run'), 'web-1.example.test\n')
    writtenOnce = await guest.shell(remembered)
    await guest.shell('echo kept >/etc/dropbear/dropbear_ed25519_host_key; sync')
    // A cut of the power, not a shutdown.
  }
  {
    await using guest = await start('b3RoZXI=')
    await logIn(guest, metadata.admin_pass, (await guest.awaitConsole(/\bweb-1 login: /)) - 'login: '.length)
    assert.equal(await guest.shell('cat /etc/dropbear/*'), 'kept\n')
    assert.doesNotMatch(await guest.console(), /user data on/)
    assert.equal(await guest.shell(remembered), writtenOnce, 'nothing was new, so nothing is written')
  }
  const other = { uuid: '0b7e0a52-6a57-4c43-9d0e-9c4c6d9c8f02', name: 'copy' }
  await using guest = await bench.start({ configDrive: await bench.configDrive(other, 'not a script') })
  await guest.awaitConsole(/\bcopy login: /)
  assert.match(await guest.console(), /user data is not a script/)
  assert.equal(
    await guest.shell('cat /root/.ssh/authorized_keys /etc/dropbear/* | grep -v "^#"; head -n 1 /etc/shadow'),
    '\nroot:*:20000:0:99999:7:::\n',
  )
})

test('on a network it learns address, routes and metadata, lets the key in by ssh, and takes a card plugged in later', async () => {
  await using bench = await openBench()
  await using network = new GuestNetwork()
  await network.open()
  await network.serveAddresses(bench.directory)
  const [first, second] = network.cards
  assert.ok(first && second)
  const { publicKey, ssh } = await openSsh(bench, network)
  const tell = (keys: Record<string, string>) => {
    network.documents = {
      'meta_data.json': JSON.stringify({ uuid: 'net-1', name: 'net-1', public_keys: { me: publicKey, ...keys } }),
      user_data: '#!/bin/sh\necho user data "$(id -un)"\n',
    }
  }
  tell({ first: KEYS.one })
  await network.serveMetadata()
  {
    await using guest = await bench.start({ namespace: network.namespace, cards: [first] })
    await guest.awaitConsole(/user data root/)
    await guest.awaitConsole(/\bnet-1 login: /)
    const routes = await ssh('ip route; cat /etc/resolv.conf /sys/class/net/eth0/mtu')
    assert.match(routes, /^default via 10\.93\.0\.1 dev eth0/m)
    assert.match(routes, /^198\.51\.100\.0\/24 via 10\.93\.0\.2 dev eth0/m)
    assert.match(routes, /^search example\.test\nnameserver 192\.0\.2\.53\n1450$/m)

    await guest.qmp('netdev_add', { type: 'tap', id: 'late', ifname: second.tap, script: 'no', downscript: 'no' })
    await guest.qmp('device_add', {
      driver: 'virtio-net-pci',
      netdev: 'late',
      mac: second.macAddress,
      bus: 'rp5',
      id: 'late',
    })
    await guest.shell(`until ip -4 addr show dev eth1 | grep -q ${second.ipAddress}/24; do usleep 100000; done`)
    await guest.qmp('device_del', { id: 'late' })
    await guest.shell('while [ -e /sys/class/net/eth1 ] || [ -e /run/novella/card.eth1 ]; do usleep 100000; done')

    const before = (await guest.console()).length
    // One that an agent added, and one of the owner's own.
    for (const line of [KEYS.two, KEYS.three]) await ssh(`echo '${line}' >>/root/.ssh/authorized_keys; sync`)
    tell({ second: KEYS.two })
    await guest.agent('guest-shutdown', { mode: 'reboot' }, { answers: false })
    await guest.awaitConsole(/\bnet-1 login: /, before)
    // The same host key, or ssh would refuse.
    assert.equal(await ssh('cat /etc/hostname'), 'net-1\n')
    assert.equal((await guest.console()).match(/user data root/g)?.length, 1)
    // The keys of the metadata come and go with it, the owner's stay.
    const keys = await ssh("grep -v '^#' /root/.ssh/authorized_keys; ls -l /root/.ssh/authorized_keys")
    assert.match(keys, /\n-rw------- .*\n$/)
    assert.deepEqual(keys.split('\n').slice(0, 3), [publicKey, KEYS.two, KEYS.three])
    assert.doesNotMatch(keys, new RegExp(KEYS.one.slice(-40)))
  }
  assert.deepEqual(network.asked, ['meta_data.json', 'user_data', 'meta_data.json'])
})

test('without metadata on its network it says so, comes to a login prompt, and is set up once there is some', async () => {
  await using bench = await openBench()
  await using network = new GuestNetwork()
  await network.open()
  await network.serveAddresses(bench.directory)
  const { publicKey, ssh } = await openSsh(bench, network)
  await using guest = await bench.start({ namespace: network.namespace, cards: network.cards })
  await guest.awaitConsole(/\btiny login: /)
  assert.match(await guest.console(), /no metadata at 169\.254\.169\.254, going on without/)
  // Its first host keys are another instance's.
  await assert.rejects(ssh('true'), /Permission denied/)
  await rm(join(bench.directory, 'known'))
  const hostKeys = 'cat /etc/dropbear/*_host_key | md5sum'
  const before = await guest.shell(hostKeys)

  network.documents = {
    'meta_data.json': JSON.stringify({ uuid: 'late', name: 'late', public_keys: { me: publicKey } }),
  }
  await network.serveMetadata()
  await guest.awaitConsole(/set up as late/)
  assert.equal(await ssh('hostname'), 'late\n')
  assert.notEqual(await guest.shell(hostKeys), before)
})

test('without DHCP it says so, comes to a login prompt, and is set up once there is an address', async () => {
  await using bench = await openBench()
  await using network = new GuestNetwork()
  await network.open()
  network.documents = { 'meta_data.json': '{"uuid":"late","name":"late"}', user_data: '#!/bin/sh\necho late user data' }
  await network.serveMetadata()
  await using guest = await bench.start({ namespace: network.namespace, cards: network.cards })
  await guest.awaitConsole(/\btiny login: /)
  assert.match(await guest.console(), /no address by DHCP and no config drive, going on without/)
  await network.serveAddresses(bench.directory)
  await guest.awaitConsole(/^late user data/m)
  await guest.awaitConsole(/set up as late/)
})
