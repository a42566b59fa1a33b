import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { HostError } from '../host-driver.ts'
import { MOST_VIEWERS, SerialConsoles } from './serial-consoles.ts'
import { serverFiles } from './server-files.ts'

test('a guest has so many viewers and no more, and a place that is left is free again', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'novella-serial-'))
  const consoles = new SerialConsoles()
  try {
    const [full, other] = ['full', 'other'].map((id) => {
      const files = serverFiles(directory, id)
      mkdirSync(files.sockets, { recursive: true })
      writeFileSync(files.consoleLog, `hello from ${id}\n`)
      // Nobody types, so nobody connects.
      writeFileSync(files.serial, '')
      return files
    })
    assert.ok(full && other)
    const open = () => consoles.open('full', full, () => true)
    const viewers = Array.from({ length: MOST_VIEWERS }, open)
    const isFull = (error: unknown) => error instanceof HostError && error.failure === 'notPlugged'
    assert.throws(open, isFull)
    assert.throws(open, isFull)
    for (const viewer of [...viewers, consoles.open('other', other, () => true)]) {
      const [said] = await once(viewer, 'data')
      assert.match(String(said), /hello from (full|other)/)
    }
    const [first] = viewers
    first?.destroy()
    open()
    assert.throws(open, isFull)
  } finally {
    consoles.close()
    rmSync(directory, { recursive: true })
  }
})
