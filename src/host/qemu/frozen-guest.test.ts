import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Freezer } from './frozen-guest.ts'
import { GuestAgent } from './guest-agent.ts'
import { AGENT_CHARDEV } from './qemu-args.ts'

/** What a monitor says of a guest that runs, and whose agent listens. */
const guest = {
  execute: async () => [{ label: AGENT_CHARDEV, 'frontend-open': true }],
  readStatus: async () => 'running' as const,
}

test('an agent that a copy has woken is left to others until the copy needs it, and after that', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'novella-frozen-'))
  const files = { guestAgent: join(directory, 'agent'), frozen: join(directory, 'frozen') }
  const said: string[] = []
  const callers = new Set<Socket>()
  const server = createServer((socket) => {
    callers.add(socket)
    socket.on('error', () => {}).setEncoding('latin1')
    socket.on('data', (text: string) => {
      for (const line of text.replaceAll('\xff', '').split('\n').filter(Boolean)) {
        const { execute, arguments: args } = JSON.parse(line)
        if (execute === 'guest-sync-delimited') socket.write(Buffer.from(`\xff{"return": ${args.id}}\n`, 'latin1'))
        else socket.write(`{"return": ${said.push(execute) && execute.endsWith('status') ? '"thawed"' : 1}}\n`)
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(files.guestAgent, resolve))
  /** Somebody else, as one who changes a password. */
  const speak = async () => (await GuestAgent.connect(files.guestAgent, 5_000, 5_000))[Symbol.dispose]()
  try {
    await using freezer = new Freezer(guest, files, 50)
    assert.equal(await freezer.mayFreeze, true)
    await speak()
    const work = async () => [existsSync(files.frozen), [...said]]
    assert.deepEqual(await freezer.whileFrozen(work), [true, ['guest-fsfreeze-freeze']])
    assert.deepEqual(said, ['guest-fsfreeze-freeze', 'guest-fsfreeze-thaw', 'guest-fsfreeze-status'])
    assert.equal(existsSync(files.frozen), false)
    await speak()
    // Whatever becomes of the work.
    await assert.rejects(
      freezer.whileFrozen(() => Promise.reject(new Error('no'))),
      /no/,
    )
    assert.deepEqual([said.at(-2), existsSync(files.frozen)], ['guest-fsfreeze-thaw', false])
  } finally {
    for (const socket of callers) socket.destroy()
    server.close()
    await rm(directory, { recursive: true })
  }
})
