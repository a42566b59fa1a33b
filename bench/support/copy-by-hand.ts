import { execFile } from 'node:child_process'
import { chown, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { QmpClient, readObjects } from '../../src/host/qemu/qmp-client.ts'
import type { ServerFiles } from '../../src/host/qemu/server-files.ts'
import { untilHolds } from './until-holds.ts'

const run = promisify(execFile)
const PATIENCE_MS = 120_000

/** What making an image of a server comes down to: an empty file of the right size, and one command. */
export async function copyByHand(files: ServerFiles): Promise<void> {
  const target = join(files.directory, 'by-hand.qcow2')
  const { uid, gid } = await stat(files.disk)
  const client = await QmpClient.connect(files.tools, () => {}, AbortSignal.timeout(PATIENCE_MS))
  try {
    const nodes = readObjects(await client.execute('query-named-block-nodes', { flat: true }))
    const root = nodes.find((node) => node['node-name'] === 'root') ?? {}
    const { 'virtual-size': bytes } = root.image as { 'virtual-size': number }
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', target, String(bytes)])
    await chown(target, uid, gid)
    const file = { driver: 'file', filename: target }
    await client.execute('blockdev-add', { driver: 'qcow2', 'node-name': 'by-hand', file })
    const job = { 'job-id': 'by-hand', device: 'root', target: 'by-hand', sync: 'full' }
    await client.execute('blockdev-backup', job)
    await untilHolds('the copy is done', async () => readObjects(await client.execute('query-jobs')).length === 0)
    await client.execute('blockdev-del', { 'node-name': 'by-hand' })
  } finally {
    client.close()
    await rm(target, { force: true })
  }
}
