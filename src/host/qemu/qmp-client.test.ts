import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { QmpClient, QmpError, type QmpEvent } from './qmp-client.ts'

const GREETING = '{"QMP": {"version": {}, "capabilities": []}}\r\n'
type Answer = (command: { execute: string; id: number }, socket: Socket) => void

/** A monitor that greets and agrees to capabilities; `answer` gets every other command. */
async function monitor(answer: Answer, body: (path: string, events: QmpEvent[]) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'novella-qmp-'))
  const path = join(directory, 'qmp')
  const server = createServer((socket) => {
    socket.write(GREETING)
    socket.setEncoding('utf8').on('data', (text: string) => {
      for (const line of text.trim().split('\n')) {
        const command = JSON.parse(line)
        if (command.execute === 'qmp_capabilities') socket.write(`{"return": {}, "id": ${command.id}}\r\n`)
        else answer(command, socket)
      }
    })
    socket.on('error', () => {})
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  try {
    await body(path, [])
  } finally {
    server.close()
    await rm(directory, { recursive: true })
  }
}

const never = new AbortController().signal

test('QmpClient: answers find their commands whatever their order and however the bytes are cut', () =>
  monitor(
    (command, socket) => {
      if (command.execute !== 'second') return
      const answers = `{"return": "two", "id": ${command.id}}\r\n{"return": "one", "id": ${command.id - 1}}\r\n`
      for (const byte of answers) socket.write(byte)
    },
    async (path) => {
      const client = await QmpClient.connect(path, () => {}, never)
      const both = [client.execute('first'), client.execute('second')]
      assert.deepEqual(await Promise.all(both), ['one', 'two'])
      client.close()
    },
  ))

test("QmpClient: QEMU's refusal carries its class, and the connection lives on", () =>
  monitor(
    ({ execute, id }, socket) =>
      socket.write(
        execute === 'bad'
          ? `{"error": {"class": "CommandNotFound", "desc": "no"}, "id": ${id}}\n`
          : `{"return": 1, "id": ${id}}\n`,
      ),
    async (path) => {
      const client = await QmpClient.connect(path, () => {}, never)
      await assert.rejects(client.execute('bad'), (e) => e instanceof QmpError && e.qmpClass === 'CommandNotFound')
      assert.equal(await client.execute('good'), 1)
      client.close()
    },
  ))

test('QmpClient: events arrive between answers', () =>
  monitor(
    ({ id }, socket) => socket.write(`{"event": "STOP", "timestamp": {}}\n{"return": 1, "id": ${id}}\n`),
    async (path, events) => {
      const client = await QmpClient.connect(path, (event) => events.push(event), never)
      await client.execute('x')
      assert.deepEqual(events, [{ event: 'STOP', data: {} }])
      client.close()
    },
  ))

test('QmpClient: a command that is not answered in time fails, and its late answer harms nobody', () =>
  monitor(
    ({ execute, id }, socket) => {
      if (execute === 'now') socket.write(`{"return": "late", "id": ${id - 1}}\n{"return": "now", "id": ${id}}\n`)
    },
    async (path) => {
      const client = await QmpClient.connect(path, () => {}, never)
      await assert.rejects(client.execute('slow', {}, 1), /did not answer within 1 ms/)
      assert.equal(await client.execute('now'), 'now')
      client.close()
    },
  ))

const ends: [says: string, answer: Answer][] = [
  ['hangs up', (_, socket) => socket.destroy()],
  ['speaks something else', (_, socket) => socket.write('HTTP/1.1 400\n')],
  ['answers with an error that is none', ({ id }, socket) => socket.write(`{"id": ${id}, "error": null}\n`)],
  ['names its error by a number', ({ id }, socket) => socket.write(`{"id": ${id}, "error": {"class": 1}}\n`)],
  ['reports an event that is none', (_, socket) => socket.write('{"event": {}}\n')],
  ['reports an event without its data', (_, socket) => socket.write('{"event": "STOP", "data": null}\n')],
  ['says an array', (_, socket) => socket.write('[]\n')],
  ['writes a line without end', (_, socket) => socket.write('x'.repeat(2 * 1024 * 1024))],
]
for (const [says, answer] of ends) {
  test(`QmpClient: commands fail and the connection is over when the monitor ${says}`, () =>
    monitor(answer, async (path) => {
      const client = await QmpClient.connect(path, () => {}, never)
      await assert.rejects(client.execute('x'), /monitor closed/)
      await client.closed
      await assert.rejects(client.execute('y'), /monitor closed/)
    }))
}

test('QmpClient: nobody listening is an error', async () => {
  await assert.rejects(
    QmpClient.connect(join(tmpdir(), 'novella-no-such-socket'), () => {}, never),
    /ENOENT/,
  )
})

test('QmpClient: waiting for a greeting can be given up', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'novella-qmp-'))
  const path = join(directory, 'qmp')
  const giveUp = new AbortController()
  const server = createServer(() => giveUp.abort())
  await new Promise<void>((resolve) => server.listen(path, resolve))
  try {
    await assert.rejects(QmpClient.connect(path, () => {}, giveUp.signal))
  } finally {
    server.close()
    await rm(directory, { recursive: true })
  }
})
