/** S26 to S28 as a user has them: Novella as its own process, a real guest, and what the guest sees. */
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { namespacePrefix } from '../../src/host/linux-network/names.ts'
import { serverFiles } from '../../src/host/qemu/server-files.ts'
import { DataDirectory, HttpClient, NovellaProcess } from '../support/novella-process.ts'
import { until } from '../support/until.ts'
import { run } from './bare-guest.ts'
import { addressesIn } from './guest-agent.ts'

interface Interface {
  port_id: string
  net_id: string
  mac_addr: string
  port_state: string
  fixed_ips: { ip_address: string }[]
}

test('cards come into a running guest with the address the API told, survive a killed Novella, and go', async () => {
  using data = new DataDirectory()
  let novella = new NovellaProcess(data, '--no-first-server')
  let base = await novella.ready()
  let client = await HttpClient.logIn(base, data)
  try {
    const { flavors } = await client.get('/flavors')
    const listed = await fetch(`${base}/v2/images?name=tiny`, { headers: { 'x-auth-token': client.token } })
    const { images } = (await listed.json()) as { images: { id: string }[] }
    const flavorRef = flavors.find(({ name }: { name: string }) => name === 'tiny').id
    const made = await client.ask('POST', '/servers', { server: { name: 'web', flavorRef, imageRef: images[0]?.id } })
    assert.equal(made.status, 202)
    const id: string = made.body.server.id
    const files = serverFiles(join(data.path, 'servers'), id)
    const list = async (): Promise<Interface[]> =>
      (await client.get(`/servers/${id}/os-interface`)).interfaceAttachments
    const attach = async (interfaceAttachment: object): Promise<Interface> => {
      const { status, body } = await client.ask('POST', `/servers/${id}/os-interface`, { interfaceAttachment })
      assert.equal(status, 200, JSON.stringify(body))
      return body.interfaceAttachment
    }
    const ofNetwork = async (method: string, path: string, body?: object) => {
      const headers = { 'x-auth-token': client.token, 'content-type': 'application/json' }
      const answer = await fetch(`${base}/v2.0${path}`, {
        method,
        headers,
        ...(body && { body: JSON.stringify(body) }),
      })
      assert.ok(answer.ok, `${method} ${path}: ${answer.status}`)
      // biome-ignore lint/suspicious/noExplicitAny: what came over the wire has no type.
      return (await answer.json()) as any
    }
    const guestHas = ({ mac_addr: mac, fixed_ips: addresses }: Interface) =>
      until(`the guest has ${addresses[0]?.ip_address} on ${mac}`, async () =>
        (await addressesIn(files))[mac]?.includes(addresses[0]?.ip_address ?? ''),
      )
    await client.becomes(id, 'ACTIVE')
    const [first = assert.fail()] = await list()
    await guestHas(first)

    const second = await attach({ net_id: first.net_id })
    await guestHas(second)
    await until('the port is active', async () => (await list()).every(({ port_state }) => port_state === 'ACTIVE'))

    const { port } = await ofNetwork('POST', '/ports', { port: { network_id: first.net_id, name: 'mine' } })
    const third = await attach({ port_id: port.id })
    await novella.stop('SIGKILL')
    novella = new NovellaProcess(data, '--no-first-server')
    base = await novella.ready()
    client = await HttpClient.logIn(base, data)
    assert.deepEqual(
      (await list()).map(({ port_id }) => port_id),
      [first, second, third].map(({ port_id }) => port_id),
    )
    await guestHas(third)

    for (const gone of [second, first]) {
      const { status } = await client.ask('DELETE', `/servers/${id}/os-interface/${gone.port_id}`)
      assert.equal(status, 202)
      await until('it is gone', async () => (await list()).every(({ port_id }) => port_id !== gone.port_id))
      assert.equal((await addressesIn(files))[gone.mac_addr], undefined)
    }
    assert.deepEqual(Object.keys(await addressesIn(files)), [third.mac_addr])
    assert.equal((await client.ask('DELETE', `/servers/${id}`)).status, 202)
    await client.vanishes(id)
    const { port: left } = await ofNetwork('GET', `/ports/${port.id}`)
    assert.deepEqual([left.device_id, left.status], ['', 'DOWN'])
    const { ports } = await ofNetwork('GET', '/ports')
    assert.deepEqual(
      ports.filter(({ device_owner: owner }: { device_owner: string }) => owner.startsWith('compute')),
      [],
    )
  } finally {
    const { servers } = await client.get('/servers')
    for (const { id } of servers) await client.ask('DELETE', `/servers/${id}`)
    for (const { id } of servers) await client.vanishes(id)
    await novella.stop()
    await removeNamespaces(data)
  }
})

/** The networks of routers that every cloud begins with outlive Novella, as guests do. */
async function removeNamespaces(data: DataDirectory): Promise<void> {
  const own = readdirSync('/run/netns').filter((name) => name.startsWith(namespacePrefix(data.path)))
  for (const name of own) {
    const pids = (await run('ip', ['netns', 'pids', name])).stdout.split('\n').filter((pid) => pid !== '')
    for (const pid of pids) process.kill(Number(pid))
    await run('ip', ['netns', 'del', name])
  }
}
