import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asBacklog, isTerminalAnswer } from './terminal-text.ts'

const shown: [said: string, isWhole: boolean, backlog: string][] = [
  ['half a line\nwhole\n', false, 'whole\n'],
  ['first\nsecond\n', true, 'first\nsecond\n'],
  ['no end of a line', false, 'no end of a line'],
  ['\x1b[31mred\x1b[0m \x1b[2J\x1b[10;2Hthere', true, '\x1b[31mred\x1b[0m \x1b[2J\x1b[10;2Hthere'],
  ['~ # \x1b[6n', true, '~ # '],
  ['\x1b[c\x1b[0c\x1b[>c\x1b[?6n\x1b[5n\x1b[18t\x1b[?2026$p\x1bZ\x05', true, ''],
  ['\x1b]10;?\x07a\x1b]2;title\x1b\\b\x1bP$qm\x1b\\c', true, 'abc'],
  ['Grüße', true, 'Grüße'],
]
for (const [said, isWhole, backlog] of shown) {
  test(`asBacklog: ${JSON.stringify(said)}`, () =>
    assert.equal(asBacklog(Buffer.from(said), isWhole).toString(), backlog))
}

const sent: [bytes: string, isAnswer: boolean][] = [
  ['\x1b[24;80R', true],
  ['\x1b[0n\x1b[?1;2c', true],
  ['\x1b[>0;276;0c', true],
  ['\x1b', false],
  ['\x1b[A', false],
  ['\x1b[24;80Rls\r', false],
  ['ls\r', false],
  ['', false],
]
for (const [bytes, isAnswer] of sent) {
  test(`isTerminalAnswer: ${JSON.stringify(bytes)}`, () => assert.equal(isTerminalAnswer(Buffer.from(bytes)), isAnswer))
}
