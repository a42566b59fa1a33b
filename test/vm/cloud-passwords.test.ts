/** Passwords and keys of servers as a user changes them: the API on one side, ssh into real guests on the other. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { namespaceName } from '../../src/host/linux-network/names.ts'
import { TINY_IMAGE_ID } from '../../src/images/image-store.ts'
import { buildTiny } from '../../src/images/tiny/build-tiny.ts'
import { SHARED_NETWORK_ID } from '../../src/networks/seed-networks.ts'
import { DataDirectory, HttpClient, NovellaProcess } from '../support/novella-process.ts'
import { until } from '../support/until.ts'

const run = promisify(execFile)
const cacheDir = process.env.NOVELLA_CACHE_DIR ?? '/var/cache/novella'
const OPTIONS = [
  'StrictHostKeyChecking=no',
  'UserKnownHostsFile=/dev/null',
  'ConnectTimeout=10',
  'NumberOfPasswordPrompts=1',
]
const PROMPT = /login: *$/
const data = new DataDirectory()
let novella: NovellaProcess
let base: string
let client: HttpClient
const serverIds: string[] = []

type Credentials = { password: string } | { key: string }

const keyFile = (name: string): string => join(data.path, `${name}.pem`)

/** Whether these log in to a guest as root. */
async function letsIn(serverId: string, credentials: Credentials): Promise<boolean> {
  const { server } = await client.get(`/servers/${serverId}`)
  const isPassword = 'password' in credentials
  const how = isPassword
    ? ['-o', 'PreferredAuthentications=password', '-o', 'PubkeyAuthentication=no']
    : ['-o', 'PreferredAuthentications=publickey', '-o', 'BatchMode=yes', '-i', keyFile(credentials.key)]
  const args = ['-F', 'none', '-q', ...OPTIONS.flatMap((option) => ['-o', option]), ...how]
  const enter = ['netns', 'exec', namespaceName(data.path, SHARED_NETWORK_ID)]
  const address = `root@${server.addresses.shared[0].addr}`
  const askpass = { SSH_ASKPASS: join(data.path, 'askpass'), SSH_ASKPASS_REQUIRE: 'force' }
  const env = { PATH: process.env.PATH, ...askpass, ...(isPassword ? { SECRET: credentials.password } : {}) }
  return run('ip', [...enter, 'ssh', ...args, address, 'echo in'], { env, timeout: 60_000 }).then(
    ({ stdout }) => stdout === 'in\n',
    () => false,
  )
}

/** The tiny image once more, as one that says that no agent is in it. */
async function makeAgentlessImage(): Promise<string> {
  const headers = { 'x-auth-token': client.token }
  const wish = { name: 'agentless', disk_format: 'qcow2', container_format: 'bare', hw_qemu_guest_agent: 'no' }
  const created = await fetch(`${base}/v2/images`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify(wish),
  })
  const { id } = (await created.json()) as { id: string }
  const { directory } = await buildTiny({ cacheDir })
  const uploaded = await fetch(`${base}/v2/images/${id}/file`, {
    method: 'PUT',
    headers: { ...headers, 'content-type': 'application/octet-stream' },
    body: readFileSync(join(directory, 'disk.qcow2')),
  })
  assert.equal(uploaded.status, 204, await uploaded.text())
  return id
}

async function make(name: string, imageRef: string): Promise<{ id: string; adminPass: string }> {
  const { flavors } = await client.get('/flavors')
  const flavorRef = flavors.find((flavor: { name: string }) => flavor.name === 'tiny').id
  const wish = { name, flavorRef, imageRef, key_name: 'mine' }
  const { status, body } = await client.ask('POST', '/servers', { server: wish })
  assert.equal(status, 202, JSON.stringify(body))
  serverIds.push(body.server.id)
  return body.server
}

before(async () => {
  novella = new NovellaProcess(data, '--no-first-server')
  base = await novella.ready()
  client = await HttpClient.logIn(base, data)
  writeFileSync(join(data.path, 'askpass'), '#!/bin/sh\nprintf "%s\\n" "$SECRET"\n', { mode: 0o700 })
  for (const name of ['mine', 'other']) {
    const { body } = await client.ask('POST', '/os-keypairs', { keypair: { name, key_type: 'ed25519' } })
    writeFileSync(keyFile(name), body.keypair.private_key, { mode: 0o600 })
  }
})
after(async () => {
  try {
    for (const id of serverIds) await client.ask('DELETE', `/servers/${id}`)
    for (const id of serverIds) await client.vanishes(id)
  } finally {
    await novella.stop()
    data[Symbol.dispose]()
  }
})

test('a new password and new keys are true inside: at once where an agent runs, at the next boot where none does', async () => {
  const [agentless, asked] = await Promise.all([
    makeAgentlessImage().then((image) => make('plain', image)),
    make('asked', TINY_IMAGE_ID),
  ])
  for (const { id } of [asked, agentless]) {
    await client.becomes(id, 'ACTIVE')
    await client.prints(id, PROMPT)
  }

  // With an agent.
  const { id } = asked
  const mine = { key: 'mine' }
  const other = { key: 'other' }
  await until('the key logs in', () => letsIn(id, mine))
  assert.equal(await letsIn(id, other), false)
  assert.equal(await letsIn(id, { password: asked.adminPass }), true)
  const change = { changePassword: { adminPass: 'new $(word) é' } }
  await until(
    'its agent answers',
    async () => (await client.ask('POST', `/servers/${id}/action`, change)).status === 202,
  )
  await client.becomes(id, 'ACTIVE')
  assert.equal(await letsIn(id, { password: change.changePassword.adminPass }), true)
  assert.equal(await letsIn(id, { password: asked.adminPass }), false)

  await client.act(id, { attachKeypairs: { key_names: ['other', 'mine'] } })
  await until('the attached key logs in', () => letsIn(id, other))
  assert.equal(await letsIn(id, mine), true)
  await client.act(id, { detachKeypairs: { key_names: ['mine'] } })
  await until('the detached key does not log in', async () => !(await letsIn(id, mine)))
  assert.equal(await letsIn(id, other), true)
  assert.equal((await client.get(`/servers/${id}`)).server.key_name, 'other')

  // Without.
  const plain = agentless.id
  await until('the key logs in', () => letsIn(plain, mine))
  assert.equal(await letsIn(plain, { password: agentless.adminPass }), true)
  const refused = await client.ask('POST', `/servers/${plain}/action`, change)
  assert.deepEqual([refused.status, Object.keys(refused.body)], [501, ['notImplemented']])
  await client.act(plain, { attachKeypairs: { key_names: ['other'] } })
  await client.act(plain, { detachKeypairs: { key_names: ['mine'] } })
  assert.deepEqual([await letsIn(plain, mine), await letsIn(plain, other)], [true, false])
  await client.act(plain, { reboot: { type: 'HARD' } })
  await client.becomes(plain, 'ACTIVE')
  await until('the attached key logs in after the boot', () => letsIn(plain, other))
  assert.equal(await letsIn(plain, mine), false)
  assert.equal(await letsIn(plain, { password: agentless.adminPass }), true)

  // Not even in the files of the cloud.
  const files = readdirSync(data.path).filter((name) => /^novella\.(db|log)/.test(name))
  assert.ok(files.length >= 2)
  for (const name of files) {
    const text = data.read(name)
    for (const secret of [asked.adminPass, agentless.adminPass, '$(word)']) assert.ok(!text.includes(secret), name)
  }
})
