/** The README's first steps, command for command, against a fresh cloud with real guests. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { DataDirectory, HttpClient, NovellaProcess } from '../support/novella-process.ts'

const README = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8')

/** The `sh` blocks below a heading of the second level, in order. */
function blocksOf(heading: string): string[] {
  const section = README.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? ''
  return [...section.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map((match) => match[1] ?? '')
}

test('the first steps of the README work as they are written', async () => {
  const blocks = blocksOf('First steps')
  assert.ok(blocks.length >= 8, 'the README has its first steps in blocks of sh')
  using data = new DataDirectory()
  await using novella = new NovellaProcess(data, '--no-first-server')
  const base = await novella.ready()
  const shell = spawn('sh', ['-eu'], {
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
})
