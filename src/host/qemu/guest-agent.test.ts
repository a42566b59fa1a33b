import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { AgentError, cleanText, GuestAgent, refusalWithout } from './guest-agent.ts'
import { readHealth } from './guest-health.ts'

/** What one command is answered with; undefined: nothing. */
type Answer = (command: { execute: string; arguments: Record<string, unknown> }, socket: Socket) => string | undefined

const inStep: Answer = ({ execute, arguments: { id } }) =>
  execute === 'guest-sync-delimited' ? `\xff{"return": ${id}}\n` : undefined

/** Who sits on the other side of the socket: it answers what it wants. Everything of it is closed at the end. */
async function agentThat(answer: Answer, body: (path: string, callers: () => number) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'novella-agent-'))
  const path = join(directory, 'agent')
  const callers = new Set<Socket>()
  const server = createServer((socket) => {
    callers.add(socket)
    socket.on('close', () => callers.delete(socket)).on('error', () => {})
    socket.setEncoding('latin1').on('data', (text: string) => {
      for (const line of text.replaceAll('\xff', '').split('\n').filter(Boolean)) {
        const said = answer(JSON.parse(line), socket)
        if (said !== undefined) socket.write(Buffer.from(said, 'latin1'))
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  try {
    await body(path, () => callers.size)
  } finally {
    for (const socket of callers) socket.destroy()
    server.close()
    await rm(directory, { recursive: true })
  }
}

async function untilLeft(callers: () => number): Promise<void> {
  for (const deadline = performance.now() + 5_000; callers() > 0; await pause(5)) {
    assert.ok(performance.now() < deadline, 'the conversation was left open')
  }
}

const MS = 200

const flood = (text: string): Answer =>
  function more(_command, socket) {
    const again = (): void => {
      while (!socket.destroyed && socket.write(Buffer.from(text, 'latin1'))) {}
    }
    socket.on('drain', again)
    again()
    return undefined
  }

const NOT_IN_STEP: [says: string, answer: Answer][] = [
  ['nothing', () => undefined],
  ['garbage', () => '\xff\x00\x01}{\n'],
  ['half an answer', () => '\xff{"return": '],
  ['an answer to somebody else', () => '\xff{"return": -1}\n'],
  ['a list of what is asked for', ({ arguments: { id } }) => `\xff[{"return": ${id}}]\n`],
  ['no sentinel', ({ arguments: { id } }) => `{"return": ${id}}\n`],
  ['one line without an end', flood('x'.repeat(65_536))],
  ['lines without an end', flood('\n'.repeat(65_536))],
  ['sentinels without an end', flood('\xff\n'.repeat(32_768))],
  ['a bomb of brackets', () => `\xff${'['.repeat(900_000)}\n`],
  [
    'a byte now and then',
    (_command, socket) => {
      const timer = setInterval(() => socket.write('\xff', 'latin1'), 10)
      socket.on('close', () => clearInterval(timer))
      return undefined
    },
  ],
  ['good-bye', (_command, socket) => void socket.end()],
]

for (const [says, answer] of NOT_IN_STEP) {
  test(`GuestAgent: an agent that says ${says} is none, and is left`, () =>
    agentThat(answer, async (path, callers) => {
      await assert.rejects(GuestAgent.connect(path, MS))
      await untilLeft(callers)
    }))
}

/** An object in an object, and so on. */
const nested = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`

const BAD_ANSWERS: [says: string, answer: Answer, error?: RegExp][] = [
  ['nothing', () => undefined],
  ['half an answer', () => '{"return": '],
  ['no JSON', () => 'ok\n', /no JSON/],
  ['neither a result nor an error', () => '{}\n', /neither/],
  ['a number', () => '17\n', /no JSON/],
  ['a line without an end', flood('x'.repeat(65_536)), /too much/],
  ['a bomb of brackets', () => `{"return": ${'['.repeat(900_000)}\n`, /no JSON/],
  ['a deep answer', () => `{"return": ${nested(50)}}\n`, /no JSON/],
]

for (const [says, answer, error = /./] of BAD_ANSWERS) {
  test(`GuestAgent: a command that is answered with ${says} fails in time`, () =>
    agentThat(
      (command, socket) => inStep(command, socket) ?? answer(command, socket),
      async (path, callers) => {
        {
          using agent = await GuestAgent.connect(path, 5_000)
          const refused = (thrown: unknown) => !(thrown instanceof AgentError) && error.test(String(thrown))
          await assert.rejects(agent.execute('guest-ping', {}, MS), refused)
        }
        await untilLeft(callers)
      },
    ))
}

const REFUSALS: [error: string, shown: string][] = [
  ['{"class": "GenericError", "desc": "there is no user"}', 'there is no user'],
  ['{"class": "CommandNotFound", "desc": "unknown"}', 'CommandNotFound: unknown'],
  ['{"desc": "two\\nlines\\u001b[31m and \\u202e more"}', 'two lines [31m and   more'],
  [`{"desc": "${'x'.repeat(1000)}"}`, 'x'.repeat(300)],
  [`{"desc": ${nested(20)}}`, 'no reason given'],
  [nested(20), 'no reason given'],
  ['null', 'no reason given'],
  ['17', 'no reason given'],
]

test('GuestAgent: a refusal is shown by its own words, whatever they are', async () => {
  for (const [error, shown] of REFUSALS) {
    await agentThat(
      (command, socket) => inStep(command, socket) ?? `{"error": ${error}}\n`,
      async (path) => {
        using agent = await GuestAgent.connect(path, 5_000)
        await assert.rejects(agent.execute('guest-ping', {}, 5_000), { name: 'AgentError', message: shown })
      },
    )
  }
})

test('GuestAgent: a refusal shows no secret that the guest was told, nor a part of one', async () => {
  const secret = 'open\u200bsesame '
  const told: [says: string, shown: string][] = [
    ['no such user', 'no such user'],
    [`bad password ${secret}`, 'no reason that could be shown'],
    ['bad password open sesame', 'no reason that could be shown'],
    [`${'x'.repeat(290)} ${secret}`, 'no reason that could be shown'],
    [`x${'\u0007'.repeat(1_190)}${secret}`, 'no reason that could be shown'],
  ]
  for (const [desc, shown] of told) {
    const refuse: Answer = (command, socket) =>
      inStep(command, socket) ?? Buffer.from(`${JSON.stringify({ error: { desc } })}\n`).toString('latin1')
    await agentThat(refuse, async (path) => {
      using agent = await GuestAgent.connect(path, 5_000)
      await assert.rejects(agent.execute('guest-set-user-password', {}, 5_000), (error) => {
        assert.ok(error instanceof AgentError)
        assert.equal(refusalWithout([secret], error), shown)
        // Nobody has anything to hide.
        assert.equal(refusalWithout([], error), error.message)
        return true
      })
    })
  }
})

test('GuestAgent: an answer that came too late is not taken for the next one', () => {
  const late: string[] = []
  return agentThat(
    (command, socket) => {
      if (command.execute === 'slow') return void late.push('{"return": "late"}\n')
      return late.splice(0).join('') + (inStep(command, socket) ?? '{"return": "in time"}\n')
    },
    async (path) => {
      using agent = await GuestAgent.connect(path, 5_000)
      await assert.rejects(agent.execute('slow', {}, 50))
      await agent.synchronize(5_000)
      assert.equal(await agent.execute('quick', {}, 5_000), 'in time')
    },
  )
})

test('GuestAgent: conversations wait for their turn, and one that gives up does not break in', () =>
  agentThat(
    (command, socket) => inStep(command, socket) ?? `{"return": "${command.execute}"}\n`,
    async (path, callers) => {
      const first = await GuestAgent.connect(path, 5_000)
      const second = GuestAgent.connect(path, 5_000)
      await assert.rejects(GuestAgent.connect(path, 5_000, 20), { name: 'TimeoutError' })
      const fourth = GuestAgent.connect(path, 5_000)
      assert.equal(await first.execute('one', {}, 5_000), 'one')
      assert.equal(callers(), 1)
      first[Symbol.dispose]()
      first[Symbol.dispose]()
      const next = await second
      assert.equal(await next.execute('two', {}, 5_000), 'two')
      next[Symbol.dispose]()
      using last = await fourth
      assert.equal(await last.execute('four', {}, 5_000), 'four')
    },
  ))

test('GuestAgent: one that never answers gives its turn back', () => {
  let isSilent = true
  return agentThat(
    (command, socket) => (isSilent ? undefined : inStep(command, socket)),
    async (path) => {
      const silent = GuestAgent.connect(path, MS)
      const next = GuestAgent.connect(path, 5_000)
      await assert.rejects(silent)
      isSilent = false
      ;(await next)[Symbol.dispose]()
      ;(await GuestAgent.connect(path, 5_000))[Symbol.dispose]()
    },
  )
})

const SAID: Record<string, unknown> = {
  'guest-info': { version: '7.2.22' },
  'guest-fsfreeze-status': 'frozen',
  'guest-get-host-name': { 'host-name': 'web' },
  'guest-get-osinfo': { 'pretty-name': 'Some Linux' },
  'guest-network-get-interfaces': [
    { name: 'lo', 'hardware-address': '00:00:00:00:00:00', 'ip-addresses': [{ 'ip-address': '127.0.0.1' }] },
    {
      name: 'eth0',
      'hardware-address': 'FA:16:3E:00:00:01',
      'ip-addresses': [{ 'ip-address': '10.0.0.5' }, { 'ip-address': 'fe80::1' }, { 'ip-address': 'no address' }, 5],
    },
    { name: 'tun\u0007', 'hardware-address': 'something' },
    { name: { first: 'no' } },
    null,
  ],
}

const answerFrom =
  (said: Record<string, unknown>): Answer =>
  (command, socket) => {
    const { execute } = command
    const value = execute === 'guest-get-time' ? Date.now() * 1_000_000 : said[execute]
    const error = '{"error": {"class": "CommandNotFound", "desc": "not here"}}\n'
    return inStep(command, socket) ?? (value === undefined ? error : `${JSON.stringify({ return: value })}\n`)
  }

test('readHealth: tells what the guest says', () =>
  agentThat(answerFrom(SAID), async (path) => {
    using agent = await GuestAgent.connect(path, 5_000)
    const { clockOffsetMs, ...health } = await readHealth(agent)
    assert.ok(Math.abs(clockOffsetMs ?? Number.NaN) < 60_000)
    assert.deepEqual(health, {
      agent: 'answers',
      version: '7.2.22',
      hostName: 'web',
      operatingSystem: 'Some Linux',
      fileSystems: 'frozen',
      interfaces: [
        { name: 'eth0', macAddress: 'fa:16:3e:00:00:01', ipAddresses: ['10.0.0.5', 'fe80::1'] },
        { name: 'tun', macAddress: null, ipAddresses: [] },
      ],
    })
  }))

test('readHealth: what the guest refuses, or says in another shape, is not told', () =>
  agentThat(
    answerFrom({
      'guest-info': ['7.2.22'],
      'guest-fsfreeze-status': 'molten',
      'guest-get-host-name': { 'host-name': { deep: 1 } },
      'guest-network-get-interfaces': Array.from({ length: 1_000 }, (_, n) => ({
        name: `eth${n}`,
        'ip-addresses': Array.from({ length: 10 }, () => ({ 'ip-address': '10.0.0.5' })),
      })),
    }),
    async (path) => {
      using agent = await GuestAgent.connect(path, 5_000)
      const health = await readHealth(agent)
      assert.equal(health.interfaces.length, 32)
      assert.deepEqual(
        [health.version, health.fileSystems, health.hostName, health.operatingSystem],
        [null, null, null, null],
      )
    },
  ))

test('readHealth: a question that is never answered leaves the others told', () =>
  agentThat(
    (command, socket) => (command.execute === 'guest-get-host-name' ? undefined : answerFrom(SAID)(command, socket)),
    async (path) => {
      using agent = await GuestAgent.connect(path, 5_000)
      const health = await readHealth(agent)
      assert.deepEqual([health.hostName, health.operatingSystem], [null, 'Some Linux'])
    },
  ))

test('cleanText: a text of a guest is one line of plain characters, or nothing', () => {
  assert.equal(cleanText('  a\r\n\tb\u0000 ', 10), 'a b')
  assert.equal(cleanText('\u200b\u0000', 10), undefined)
  assert.equal(cleanText(5, 10), undefined)
  assert.equal(cleanText('x'.repeat(1_000_000), 3), 'xxx')
  assert.equal(cleanText('ab\u{1f600}', 3)?.isWellFormed(), true)
})
