import assert from 'node:assert/strict'
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { boundConsole, CONSOLE_KEPT_BYTES, cleanConsole, lastLines, readConsoleTail } from './console-log.ts'
import { serverFiles } from './server-files.ts'

const cleaned: [bytes: Buffer, text: string][] = [
  [Buffer.from('a\r\nb\r\n'), 'a\nb\n'],
  [Buffer.from('tab\there'), 'tab\there'],
  [Buffer.from('\x1bc\x1b[?7l\x1b[2J\x1b[01;31mred\x1b[0m\x07\x00\x7f'), 'red'],
  [Buffer.from('\x1b[6n$ '), '$ '],
  [Buffer.from('half an escape \x1b['), 'half an escape ['],
  [Buffer.from([0x61, 0xff, 0xfe, 0x62]), 'a\ufffd\ufffdb'],
  [Buffer.from('Grüße\u009b1m'), 'Grüße1m'],
]
for (const [bytes, text] of cleaned) {
  test(`cleanConsole: ${JSON.stringify(bytes.toString('latin1'))}`, () => assert.equal(cleanConsole(bytes), text))
}

const tails: [text: string, lines: number, tail: string][] = [
  ['', 3, ''],
  ['a\nb\nc\n', 2, 'b\nc\n'],
  ['a\nb\nlogin: ', 2, 'b\nlogin: '],
  ['a\nb\n', 9, 'a\nb\n'],
  ['a\n\n\n', 2, '\n\n'],
  ['\n', 1, '\n'],
  ['a\nb', 0, ''],
  ['a\nb', -1, ''],
  ['a\nb', 1, 'b'],
]
for (const [text, lines, tail] of tails) {
  test(`lastLines: ${lines} of ${JSON.stringify(text)}`, () => assert.equal(lastLines(text, lines), tail))
}

test('boundConsole: a log past its limit is cut in place, and what is read stays whole and bounded', () => {
  const directory = mkdtempSync(join(tmpdir(), 'novella-console-'))
  try {
    const files = {
      ...serverFiles(directory, 'x'),
      consoleLog: join(directory, 'c'),
      olderConsoleLog: join(directory, 'o'),
    }
    writeFileSync(files.consoleLog, `${'x'.repeat(CONSOLE_KEPT_BYTES)}the end\n`)
    boundConsole(files)
    assert.equal(statSync(files.consoleLog).size, 0)
    assert.ok(readConsoleTail(files).toString().endsWith('xthe end\n'))
    appendFileSync(files.consoleLog, 'and on\n')
    boundConsole(files)
    const kept = readConsoleTail(files)
    assert.ok(kept.toString().endsWith('xthe end\nand on\n'))
    assert.equal(kept.length, CONSOLE_KEPT_BYTES)
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test('boundConsole: a log that cannot be kept is cut all the same, and nothing half is left', () => {
  const directory = mkdtempSync(join(tmpdir(), 'novella-console-'))
  try {
    const files = serverFiles(directory, 'x')
    mkdirSync(join(`${files.olderConsoleLog}.unfinished`, 'in the way'), { recursive: true })
    writeFileSync(files.consoleLog, 'x'.repeat(CONSOLE_KEPT_BYTES + 1))
    assert.throws(() => boundConsole(files), { code: 'EISDIR' })
    assert.equal(statSync(files.consoleLog).size, 0)
    assert.equal(existsSync(`${files.olderConsoleLog}.unfinished`), false)
  } finally {
    rmSync(directory, { recursive: true })
  }
})
