/** A Debian brought by a user, as its cloud images are: what it is told from outside arrives, and an image of it boots. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ensureSystemPackages } from '../../src/commands/system-packages.ts'
import { namespaceName } from '../../src/host/linux-network/names.ts'
import { SHARED_NETWORK_ID } from '../../src/networks/seed-networks.ts'
import { DataDirectory, HttpClient, NovellaProcess, novella } from '../support/novella-process.ts'
import { until } from '../support/until.ts'
import { type Credentials, type Login, letsIn, ssh } from '../vm/ssh.ts'
import { makeDebianDisk } from './debian-disk.ts'

/** The boot of a whole system by an emulated processor, on a machine that may have other work. */
const BOOT_MS = 20 * 60_000

const USER_DATA = `#cloud-config
ssh_pwauth: true
write_files:
  - path: /etc/told
    content: |
      user data, word for word: "ä", 'b', $HOME, \\n
`

async function withDirectory(work: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'novella-debian-'))
  try {
    await work(directory)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

test('a Debian with cloud-init is told its name, key, user data and password, and so is an image of it', () =>
  withDirectory(async (directory) => {
    await ensureSystemPackages([{ program: 'mmdebstrap', package: 'mmdebstrap' }], (message) => console.error(message))
    // Made once by whoever works on this test.
    const disk = process.env.NOVELLA_TEST_DEBIAN ?? (await makeDebianDisk(directory))
    using data = new DataDirectory()
    await using up = new NovellaProcess(data, '--no-first-server')
    const base = await up.ready()
    const client = await HttpClient.logIn(base, data)
    const images = async (query: string) => {
      const answer = await fetch(`${base}/v2/images${query}`, { headers: { 'x-auth-token': client.token } })
      return ((await answer.json()) as { images: { id: string; status: string }[] }).images
    }

    const properties = ['os_type=linux', 'os_admin_user=debian', 'hw_qemu_guest_agent=yes']
    const words = properties.flatMap((property) => ['--property', property])
    const added = await novella('image', 'add', disk, '--name', 'debian', '--public', ...words, '--data', data.path)
    assert.equal(added.code, 0, added.stderr)
    const [image = assert.fail('the image is not there')] = await images('?name=debian')

    const { body } = await client.ask('POST', '/os-keypairs', { keypair: { name: 'mine' } })
    const mine = { keyFile: join(directory, 'mine.pem') }
    await writeFile(mine.keyFile, body.keypair.private_key, { mode: 0o600 })
    const { flavors } = await client.get('/flavors')
    const flavorRef = flavors.find(({ name }: { name: string }) => name === 'micro-1').id

    /** A server that has booted to where its key is let in. */
    const boot = async (name: string, imageRef: string, wish: object): Promise<{ id: string; login: Login }> => {
      const server = { name, flavorRef, imageRef, key_name: 'mine', ...wish }
      const made = await client.ask('POST', '/servers', { server })
      assert.equal(made.status, 202, JSON.stringify(made.body))
      const { id } = made.body.server
      await client.becomes(id, 'ACTIVE')
      const { server: shown } = await client.get(`/servers/${id}`)
      const namespace = namespaceName(data.path, SHARED_NETWORK_ID)
      const login = { namespace, userName: 'debian', address: shown.addresses.shared[0].addr }
      try {
        await until(`${name} lets its key in`, () => letsIn(login, mine), BOOT_MS)
        await until(
          `cloud-init has ended in ${name}`,
          async () => /status: (done|error)/.test(await ssh(login, mine, 'cloud-init status || true')),
          BOOT_MS,
        )
      } catch (error) {
        throw new Error(`its console showed:\n${(await client.consoleOf(id)).slice(-5_000)}`, { cause: error })
      }
      return { id, login }
    }
    const remove = async (id: string): Promise<void> => {
      await client.ask('DELETE', `/servers/${id}`)
      await client.vanishes(id)
    }
    const inside = (login: Login, command: string, credentials: Credentials = mine) => ssh(login, credentials, command)

    const servers: string[] = []
    try {
      const user_data = Buffer.from(USER_DATA).toString('base64')
      const first = await boot('Debian One', image.id, { user_data })
      servers.push(first.id)
      assert.match(await inside(first.login, 'cloud-init status --long'), /status: done[\s\S]*DataSourceOpenStack/)
      assert.equal(await inside(first.login, 'hostname'), 'debian-one\n')
      assert.equal(await inside(first.login, 'cat /etc/told'), `user data, word for word: "ä", 'b', $HOME, \\n\n`)
      assert.equal(await inside(first.login, 'sudo id -un'), 'root\n')

      const password = 'set from outside'
      assert.equal(await letsIn(first.login, { password }), false)
      await client.act(first.id, { changePassword: { adminPass: password } })
      await client.becomes(first.id, 'ACTIVE')
      assert.equal(await letsIn(first.login, { password }), true)
      const diagnosis = await client.get(`/servers/${first.id}/diagnostics`)
      const { agent, host_name, operating_system, interfaces } = diagnosis['novella:guest']
      assert.deepEqual([agent, host_name], ['answers', 'debian-one'])
      assert.match(operating_system, /Debian GNU\/Linux 12/)
      const seen = interfaces.flatMap(({ ip_addresses }: { ip_addresses: string[] }) => ip_addresses)
      assert.ok(seen.includes(first.login.address), JSON.stringify(interfaces))
      assert.ok(diagnosis.disk_details[0].read_bytes > 0 && diagnosis.nic_details[0].tx_octets > 0)

      await inside(first.login, 'echo one | sudo tee /var/kept >/dev/null; sync')
      await client.act(first.id, { createImage: { name: 'of-one' } })
      const isDone = async () => (await images('?name=of-one')).find(({ status }) => status === 'active')
      const copy = await until('its image is there', isDone, BOOT_MS)
      assert.ok(copy)
      await remove(first.id)
      const second = await boot('Two', copy.id, {})
      servers.push(second.id)
      assert.equal(await inside(second.login, 'hostname; cat /var/kept'), 'two\none\n')
    } finally {
      for (const id of servers) await remove(id)
    }
  }))
