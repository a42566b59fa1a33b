/** The README's first steps, command for command, against a fresh cloud with real guests. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { DataDirectory, HttpClient, NovellaProcess } from '../support/novella-process.ts'

const read = (name: string) => readFileSync(join(import.meta.dirname, '../..', name), 'utf8')
const README = read('README.md')

/** The `sh` blocks of a page, in order. */
const blocksOf = (page: string): string[] =>
  [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map((match) => match[1] ?? '')

const FIRST_STEPS = blocksOf(README.split(/^## /m).find((part) => part.startsWith('First steps\n')) ?? '')

/** Types the blocks into one shell, against a fresh cloud with real guests; they must leave no server behind. */
async function typed(blocks: readonly string[]): Promise<void> {
  using data = new DataDirectory()
  await using novella = new NovellaProcess(data, '--no-first-server')
  const base = await novella.ready()
  const shell = spawn('sh', ['-eu'], {
    cwd: join(import.meta.dirname, '../..'),
    env: { ...process.env, NOVELLA_DATA: data.path },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [shell.stdout, shell.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk
    })
  }
  shell.stdin.end(blocks.join('\n'))
  const code = await new Promise((resolve) => shell.once('close', resolve))
  const client = await HttpClient.logIn(base, data)
  const { servers } = await client.get('/servers')
  for (const { id } of servers) await client.ask('DELETE', `/servers/${id}`)
  for (const { id } of servers) await client.vanishes(id)
  assert.equal(code, 0, output)
  assert.deepEqual(servers, [], 'the last step deletes what the first ones made')
}

test('the first steps of the README work as they are written', async () => {
  assert.ok(FIRST_STEPS.length >= 8, 'the README has its first steps in blocks of sh')
  await typed(FIRST_STEPS)
})

for (const [page, least] of [
  ['networks', 6],
  ['volumes', 5],
] as const) {
  test(`the page about ${page} goes on from there, and works as it is written`, async () => {
    const server = FIRST_STEPS.findIndex((block) => block.includes('api POST servers '))
    const blocks = blocksOf(read(`docs/${page}.md`))
    assert.ok(server > 0 && blocks.length >= least)
    await typed([...FIRST_STEPS.slice(0, server + 1), ...blocks])
  })
}
