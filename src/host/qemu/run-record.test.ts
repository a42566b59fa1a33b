import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { findPid, howItEnded, readBootId, readRecord, readStartTicks, writeRecord } from './run-record.ts'
import { type ServerFiles, serverFiles } from './server-files.ts'

function withFiles(body: (files: ServerFiles) => void): void {
  const directory = mkdtempSync(join(tmpdir(), 'novella-record-'))
  try {
    const files = serverFiles(directory, 'server')
    mkdirSync(files.directory)
    body(files)
  } finally {
    rmSync(directory, { recursive: true })
  }
}

const shutdown = (reason: string) =>
  `${JSON.stringify({ event: 'SHUTDOWN', data: { guest: reason.startsWith('guest'), reason } })}\n`
const ends: [log: string, power: 'off' | 'crashed'][] = [
  ['', 'crashed'],
  ['{"QMP": {}}\n{"return": {}}\n', 'crashed'],
  [shutdown('guest-shutdown'), 'off'],
  [`{"event": "RESET", "data": {}}\n${shutdown('guest-shutdown')}`, 'off'],
  [shutdown('host-qmp-quit'), 'off'],
  [shutdown('host-signal'), 'crashed'],
  [shutdown('guest-panic'), 'crashed'],
  [shutdown('guest-shutdown') + shutdown('host-signal'), 'off'],
  ['{"event": "SHUTDOWN", "data": {"gue', 'crashed'],
]
for (const [log, power] of ends) {
  test(`howItEnded: ${power} after ${JSON.stringify(log)}`, () =>
    withFiles((files) => {
      writeFileSync(files.eventLog, log)
      assert.equal(howItEnded(files), power)
    }))
}

test('howItEnded: crashed when QEMU wrote nothing down', () =>
  withFiles((files) => assert.equal(howItEnded(files), 'crashed')))

test('readRecord: none, whole, and cut short', () =>
  withFiles((files) => {
    assert.equal(readRecord(files), undefined)
    const record = { pid: 1, startTicks: 2, bootId: 'b', startedAt: 3 }
    writeRecord(files, record)
    assert.deepEqual(readRecord(files), record)
    writeFileSync(files.record, '{"pid": 1')
    assert.equal(readRecord(files)?.pid, null)
  }))

test('findPid: another process under the same id is not the guest', () =>
  withFiles((files) => {
    const record = {
      pid: process.pid,
      startTicks: readStartTicks(process.pid) ?? null,
      bootId: readBootId(),
      startedAt: 0,
    }
    assert.equal(findPid(files, record), process.pid, 'whatever its command line says')
    assert.equal(findPid(files, { ...record, startTicks: 1 }), undefined)
    assert.equal(findPid(files, { ...record, bootId: 'an earlier one' }), undefined)
    assert.equal(findPid(files, { ...record, pid: null }), undefined)
  }))

test('readStartTicks: no number for a process that never was', () => {
  assert.equal(readStartTicks(0x7ffffff), undefined)
  assert.ok(Number.isInteger(readStartTicks(process.pid)))
})
