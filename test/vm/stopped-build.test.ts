/** A signal while the built-in image is built for the first time: `novella up` ends, and nothing of the build is left. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { namespacePrefix } from '../../src/host/linux-network/names.ts'
import { DataDirectory, NovellaProcess } from '../support/novella-process.ts'
import { until } from '../support/until.ts'

/** Processes that work in a directory, or were told to. */
const processesAt = (directory: string): string[] =>
  readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      return words.includes(directory) || readlinkSync(`/proc/${pid}/cwd`).startsWith(directory)
    } catch {
      return false
    }
  })

for (const [step, tool, signal] of [
  ['downloading', 'apt-get', 'SIGINT'],
  ['writing the disk', 'mke2fs', 'SIGTERM'],
] as const) {
  test(`${signal} while the image is built (${step}) ends novella, and leaves nothing of the image`, async () => {
    using data = new DataDirectory()
    const cache = mkdtempSync(join(tmpdir(), 'novella-cache-'))
    try {
      await using novella = new NovellaProcess(data, '--no-first-server', '--cache', cache)
      const isUnderWay = () =>
        processesAt(cache).some((pid) => {
          try {
            return readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === tool
          } catch {
            return false
          }
        })
      await until(`${tool} is running`, () => novella.output.stderr.includes(step) && isUnderWay())
      assert.equal(readdirSync(cache).length, 1)
      const { code, stdout, stderr } = await novella.stop(signal)
      assert.deepEqual([code, stdout], [0, ''], stderr)
      assert.match(stderr, /\nnovella: stopped before it was ready; .*\n$/)
      assert.doesNotMatch(stderr, /failed/)
      assert.deepEqual(readdirSync(cache), [])
      assert.deepEqual(processesAt(cache), [])
      assert.doesNotMatch(readFileSync('/proc/self/mounts', 'utf8'), new RegExp(cache))
      // Nobody's password is in a file when no user was made.
      assert.ok(!existsSync(join(data.path, 'openrc')))
    } finally {
      rmSync(cache, { recursive: true, force: true })
    }
    const prefix = namespacePrefix(data.path)
    const namespaces = existsSync('/run/netns') ? readdirSync('/run/netns') : []
    assert.deepEqual(
      namespaces.filter((name) => name.startsWith(prefix)),
      [],
    )
  })
}
