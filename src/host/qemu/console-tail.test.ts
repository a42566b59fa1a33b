import assert from 'node:assert/strict'
import { appendFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ConsoleTail } from './console-tail.ts'
import { serverFiles } from './server-files.ts'

interface Stage {
  append(text: string): void
  /** As what writes it down does when the log is full. */
  turn(): void
  cut(): void
  follow(bytesBefore: number): () => string
}

function onFiles(body: (stage: Stage) => void): void {
  const directory = mkdtempSync(join(tmpdir(), 'novella-tail-'))
  const files = {
    ...serverFiles(directory, 'x'),
    consoleLog: join(directory, 'newer'),
    olderConsoleLog: join(directory, 'older'),
  }
  const tails: ConsoleTail[] = []
  try {
    body({
      append: (text) => appendFileSync(files.consoleLog, text),
      turn() {
        renameSync(files.consoleLog, files.olderConsoleLog)
        writeFileSync(files.consoleLog, '')
      },
      cut: () => truncateSync(files.consoleLog),
      follow(bytesBefore) {
        const tail = new ConsoleTail(files, bytesBefore)
        tails.push(tail)
        return () => {
          const { bytes, isCut } = tail.read(1024)
          return `${isCut ? '…' : ''}${bytes}`
        }
      },
    })
  } finally {
    for (const tail of tails) tail.close()
    rmSync(directory, { recursive: true })
  }
}

test('a tail begins some bytes before the end, and follows', () =>
  onFiles(({ append, follow }) => {
    append('0123456789')
    const read = follow(4)
    assert.deepEqual([read(), read()], ['6789', ''])
    append('ab')
    assert.deepEqual([read(), read()], ['ab', ''])
  }))

test('what came before may be in the older file', () =>
  onFiles(({ append, turn, follow }) => {
    append('0123')
    turn()
    append('45')
    const read = follow(4)
    assert.deepEqual([read(), read(), read()], ['23', '45', ''])
    const all = follow(1000)
    assert.deepEqual([all(), all(), all()], ['0123', '45', ''])
  }))

test('a console that has said nothing yet is followed from its first word', () =>
  onFiles(({ append, follow }) => {
    const read = follow(10)
    assert.equal(read(), '')
    append('hello')
    assert.equal(read(), 'hello')
  }))

test('nothing is missed where the log becomes the older one', () =>
  onFiles(({ append, turn, follow }) => {
    append('a')
    const read = follow(10)
    assert.equal(read(), 'a')
    append('b')
    turn()
    append('c')
    assert.deepEqual([read(), read(), read()], ['b', 'c', ''])
  }))

test('who is slower than what is kept misses some, and is told', () =>
  onFiles(({ append, turn, follow }) => {
    append('a')
    const read = follow(10)
    assert.equal(read(), 'a')
    for (const text of ['b', 'c', 'd']) {
      append(text)
      turn()
    }
    append('e')
    assert.deepEqual([read(), read(), read()], ['b', '…e', ''])
  }))

test('a log that was cut in place goes on at its start', () =>
  onFiles(({ append, cut, follow }) => {
    append('abc')
    const read = follow(10)
    assert.equal(read(), 'abc')
    cut()
    append('d')
    assert.deepEqual([read(), read()], ['…d', ''])
  }))
