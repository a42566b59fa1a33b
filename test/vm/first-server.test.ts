/** The very first start, as a newcomer has it: one server boots by itself, and its screen has an address. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DataDirectory, HttpClient, NovellaProcess } from '../support/novella-process.ts'
import { until } from '../support/until.ts'

test('the first start boots a server to its login prompt and prints where its screen is; the second boots none', async () => {
  using data = new DataDirectory()
  await using first = new NovellaProcess(data)
  const base = await first.ready()
  const client = await HttpClient.logIn(base, data)
  try {
    const line = /^the server 'first' runs; its screen: (\S+)$/m
    await until('it says where the screen is', () => line.test(first.output.stdout))
    const url = new URL(line.exec(first.output.stdout)?.[1] ?? '')
    assert.equal(url.origin, base)
    const page = await fetch(url)
    assert.equal(page.status, 200)
    assert.match(page.headers.get('content-type') ?? '', /^text\/html/)
    const { servers } = await client.get('/servers/detail')
    assert.deepEqual(
      servers.map(({ name, status }: { name: string; status: string }) => [name, status]),
      [['first', 'ACTIVE']],
    )
    assert.match(await client.consoleOf(servers[0].id), /first login: *$/)
    await first.stop()

    await using second = new NovellaProcess(data)
    const again = await HttpClient.logIn(await second.ready(), data)
    assert.doesNotMatch(second.output.stdout, /first/)
    assert.equal((await again.get('/servers')).servers.length, 1)
    await again.ask('DELETE', `/servers/${servers[0].id}`)
    await again.vanishes(servers[0].id)
  } finally {
    await first.stop()
  }
})
