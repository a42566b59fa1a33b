import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { pino } from 'pino'
import { until } from '../../../test/support/until.ts'
import type { MetadataAnswer } from '../host-driver.ts'
import { createMetadataServer } from './metadata-server.ts'

const log = pino({ level: 'silent' })
const ok: MetadataAnswer = { status: 200, contentType: 'text/plain', body: 'ok' }
const GET = 'GET /openstack HTTP/1.1\r\nhost: metadata\r\n\r\n'

/** A metadata server on loopback, whose answers wait until `open` is called, and guests that are 127.0.0.x. */
async function openServer() {
  const asked: string[] = []
  let open = () => {}
  const gate = new Promise<void>((resolve) => {
    open = resolve
  })
  const server = createMetadataServer(
    'net',
    async ({ ipAddress }) => {
      asked.push(ipAddress)
      await gate
      return ok
    },
    log,
    // Stands still, so that no guest gets questions back while the machine is slow.
    () => 0,
  )
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const sockets: Socket[] = []
  return {
    asked,
    open: () => open(),
    /** A connection of a guest, with all that came back on it so far. */
    guest(localAddress: string) {
      const socket = connect({ port, host: '127.0.0.1', localAddress })
      const guest = { socket, heard: '', isClosed: false }
      socket.setEncoding('latin1').on('data', (text) => {
        guest.heard += text
      })
      socket
        .on('error', () => {})
        .on('close', () => {
          guest.isClosed = true
        })
      sockets.push(socket)
      return guest
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

test('a guest that pipelines is cut off with one question asked, and others are answered', async () => {
  await using metadata = await openServer()
  const floods = Array.from({ length: 4 }, () => metadata.guest('127.0.0.2'))
  for (const { socket } of floods) socket.write(GET.repeat(2_000))
  await until('all are cut off', () => floods.every(({ isClosed }) => isClosed))
  assert.deepEqual(metadata.asked, Array(4).fill('127.0.0.2'))

  const honest = metadata.guest('127.0.0.3')
  metadata.open()
  for (const count of [1, 2]) {
    honest.socket.write(GET)
    await until('it is answered', () => honest.heard.split('200 OK').length === count + 1)
  }
})

test('questions whose connection was cut still count: a guest has four open at most, and more are refused', async () => {
  await using metadata = await openServer()
  for (let count = 1; count <= 4; count++) {
    const { socket } = metadata.guest('127.0.0.2')
    socket.write(GET)
    await until('it is asked', () => metadata.asked.length === count)
    socket.resetAndDestroy()
  }
  const fifth = metadata.guest('127.0.0.2')
  fifth.socket.write(GET)
  await until('it is refused', () => fifth.isClosed)
  assert.match(fifth.heard, /^HTTP\/1\.1 503 .*\r\nretry-after: 1\r\n/)
  assert.equal(metadata.asked.length, 4)

  metadata.open()
  const next = metadata.guest('127.0.0.2')
  next.socket.write(GET)
  await until('there is room again', () => next.heard.includes('200 OK'))
})

test('a network has a bound of its own, whichever guests ask', async () => {
  await using metadata = await openServer()
  const guests = Array.from({ length: 17 * 4 }, (_, index) => metadata.guest(`127.0.0.${2 + (index % 17)}`))
  for (const { socket } of guests) socket.write(GET)
  await until('some are refused', () => guests.filter(({ isClosed }) => isClosed).length === 4)
  assert.equal(metadata.asked.length, 64)
})

test('a guest holds sixteen connections at most', async () => {
  await using metadata = await openServer()
  const guests = Array.from({ length: 17 }, () => metadata.guest('127.0.0.2'))
  await until('one is cut off', () => guests.some(({ isClosed }) => isClosed))
  assert.equal(guests.filter(({ isClosed }) => !isClosed).length, 16)
})

test('a guest that asks without end is told to wait, and loses its connection; its neighbour is answered', async () => {
  await using metadata = await openServer()
  metadata.open()
  const flood = metadata.guest('127.0.0.2')
  let sent = 0
  while (!flood.isClosed && sent < 300) {
    sent += 1
    flood.socket.write(GET)
    await until('it is answered', () => flood.isClosed || flood.heard.split('HTTP/1.1 ').length > sent)
  }
  assert.match(flood.heard, /HTTP\/1\.1 429 .*\r\nretry-after: 1\r\n/)
  assert.equal(metadata.asked.length, 200)

  const honest = metadata.guest('127.0.0.3')
  honest.socket.write(GET)
  await until('it is answered', () => honest.heard.includes('200 OK'))
})
