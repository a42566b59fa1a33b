/** The whole cloud as a user has it: its own process, real guests, real packets inside its own namespaces. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { namespaceName, namespacePrefix } from '../../src/host/linux-network/names.ts'
import { SHARED_NETWORK_ID } from '../../src/networks/seed-networks.ts'
import { DataDirectory, HttpClient, NovellaProcess } from '../support/novella-process.ts'
import { until } from '../support/until.ts'

const run = promisify(execFile)
const PROMPT = /login: *$/
const data = new DataDirectory()
let novella: NovellaProcess
let client: HttpClient
let base = ''

async function start(): Promise<void> {
  novella = new NovellaProcess(data, '--no-first-server')
  base = await novella.ready()
  client = await HttpClient.logIn(base, data)
}

async function make(wish: object = {}): Promise<string> {
  const [{ flavors }, images] = await Promise.all([
    client.get('/flavors'),
    (await fetch(`${base}/v2/images?name=tiny`, { headers: { 'x-auth-token': client.token } })).json() as Promise<{
      images: { id: string }[]
    }>,
  ])
  const flavorRef = flavors.find(({ name }: { name: string }) => name === 'tiny').id
  const { status, body } = await client.ask('POST', '/servers', {
    server: { name: 'web', flavorRef, imageRef: images.images[0]?.id, ...wish },
  })
  assert.equal(status, 202, JSON.stringify(body))
  return body.server.id
}

const namespaces = (): string[] =>
  (existsSync('/run/netns') ? readdirSync('/run/netns') : []).filter((name) =>
    name.startsWith(namespacePrefix(data.path)),
  )

/** QEMU processes whose command line names this server. */
const guestPids = (serverId: string): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
        return /qemu-system/.test(words[0] ?? '') && words.includes(serverId)
      } catch {
        return false
      }
    })
    .map(Number)

/** A command in a guest, by ssh from inside its network's namespace. */
async function ssh(serverId: string, keyFile: string, command: string): Promise<string> {
  const { server } = await client.get(`/servers/${serverId}`)
  const address = server.addresses.shared[0].addr
  const namespace = namespaceName(data.path, SHARED_NETWORK_ID)
  const options = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'BatchMode=yes', 'ConnectTimeout=20']
  const args = options.flatMap((option) => ['-o', option])
  const { stdout } = await run(
    'ip',
    ['netns', 'exec', namespace, 'ssh', '-q', '-i', keyFile, ...args, `root@${address}`, command],
    { timeout: 60_000 },
  )
  return stdout
}

before(start)
after(async () => {
  try {
    const { servers } = await client.get('/servers')
    for (const { id } of servers) await client.ask('DELETE', `/servers/${id}`)
    for (const { id } of servers) await client.vanishes(id)
  } finally {
    await novella.stop()
    data[Symbol.dispose]()
  }
})

test('a guest boots to its prompt; its generated key logs in, its user data ran, its name is its host name', async () => {
  const { body } = await client.ask('POST', '/os-keypairs', { keypair: { name: 'mine' } })
  const keyFile = join(data.path, 'mine.pem')
  writeFileSync(keyFile, body.keypair.private_key, { mode: 0o600 })
  const script = '#!/bin/sh\necho "user data of $(hostname)" > /root/told\n'
  const id = await make({ name: 'Web One', key_name: 'mine', user_data: Buffer.from(script).toString('base64') })
  await client.becomes(id, 'ACTIVE')
  await client.prints(id, PROMPT)
  assert.match(await client.consoleOf(id), /web-one login:/)
  await until('ssh answers', () =>
    ssh(id, keyFile, 'true').then(
      () => true,
      () => false,
    ),
  )
  await until(
    'user data ran',
    async () => (await ssh(id, keyFile, 'cat /root/told || true')) === 'user data of web-one\n',
  )
  assert.match(await ssh(id, keyFile, 'cat /sys/class/net/eth0/address'), /^fa:16:3e:/)

  await client.act(id, { 'os-shutdown': null })
  await client.becomes(id, 'SHUTOFF')
  assert.deepEqual(guestPids(id), [])
  await client.act(id, { 'os-start': null })
  await client.becomes(id, 'ACTIVE')
  await until('ssh answers again', () =>
    ssh(id, keyFile, 'true').then(
      () => true,
      () => false,
    ),
  )

  await client.act(id, { reboot: { type: 'SOFT' } })
  await client.becomes(id, 'ACTIVE')
  await until('ssh answers after the reboot', () =>
    ssh(id, keyFile, 'cat /root/told').then(
      () => true,
      () => false,
    ),
  )

  // The guest ends itself, by its own hand; nobody asked Novella.
  await ssh(id, keyFile, 'poweroff').catch(() => {})
  await client.becomes(id, 'SHUTOFF')
  assert.deepEqual((await client.get(`/servers/${id}`)).server['OS-EXT-STS:power_state'], 4)

  await client.ask('DELETE', `/servers/${id}`)
  await client.vanishes(id)
  assert.deepEqual(namespaces(), [])
  assert.ok(!existsSync(join(data.path, 'servers', id)))
})

test('a hard stop cuts the power, a hard reboot boots again, and kill -9 of QEMU is seen as a crash', async () => {
  const id = await make()
  await client.becomes(id, 'ACTIVE')
  const [first] = guestPids(id)
  assert.ok(first)
  await client.act(id, { reboot: { type: 'HARD' } })
  await client.becomes(id, 'ACTIVE')
  const [second] = guestPids(id)
  assert.ok(second)
  assert.notEqual(second, first)
  process.kill(second, 'SIGKILL')
  await client.becomes(id, 'SHUTOFF')
  assert.equal((await client.get(`/servers/${id}`)).server['OS-EXT-STS:power_state'], 6)
  await client.act(id, { 'os-start': null })
  await client.becomes(id, 'ACTIVE')
  await client.act(id, { 'os-stop': null })
  await client.becomes(id, 'SHUTOFF')
  assert.deepEqual(guestPids(id), [])
  await client.ask('DELETE', `/servers/${id}`)
  await client.ask('DELETE', `/servers/${id}`)
  await client.vanishes(id)
})

test('kill -9 of Novella hurts no guest that runs, and one that boots is there when Novella is', async () => {
  const running = await make({ name: 'running' })
  await client.prints(running, PROMPT)
  const pids = guestPids(running)
  const booting = await make({ name: 'booting' })
  await until('the guest is being started', () => guestPids(booting).length > 0)
  await novella.stop('SIGKILL')
  assert.deepEqual(guestPids(running), pids)
  await start()
  await client.becomes(booting, 'ACTIVE')
  assert.equal(guestPids(booting).length, 1)
  assert.deepEqual(guestPids(running), pids)
  assert.equal((await client.get(`/servers/${running}`)).server.status, 'ACTIVE')
  // Its metadata is answered again, too: a guest that boots now gets its name.
  await client.prints(booting, /booting login:|set up as booting/)

  // An orderly stop leaves them alone as well.
  const { code } = await novella.stop()
  assert.equal(code, 0)
  assert.deepEqual(guestPids(running), pids)
  await start()
  for (const id of [running, booting]) {
    await client.ask('DELETE', `/servers/${id}`)
    await client.vanishes(id)
    assert.deepEqual(guestPids(id), [])
  }
})

test('eight creates at once all boot, each with its own address, and leave nothing when deleted', async () => {
  const ids = await Promise.all(Array.from({ length: 8 }, (_, index) => make({ name: `crowd-${index}` })))
  for (const id of ids) await client.becomes(id, 'ACTIVE')
  const { servers } = await client.get('/servers/detail')
  const addresses = servers.map(
    ({ addresses }: { addresses: { shared: { addr: string }[] } }) => addresses.shared[0]?.addr,
  )
  assert.equal(new Set(addresses).size, 8)
  for (const id of ids) await client.prints(id, PROMPT)
  for (const id of ids) await client.ask('DELETE', `/servers/${id}`)
  for (const id of ids) await client.vanishes(id)
  assert.deepEqual(namespaces(), [])
  assert.deepEqual(ids.flatMap(guestPids), [])
  for (const id of ids) assert.ok(!existsSync(join(data.path, 'servers', id)))
})
