/**
 * Copies of a disk while its guest runs: QEMU writes what the disk holds at one moment into another file, and sees to it
 * that what the guest writes meanwhile does not get in. The guest runs on.
 *
 *   (leftovers go) → target node → job → job and node go
 *
 * A guest that has an agent is frozen for the moment that counts, and that is soon over: what was written while the disk
 * was copied as it came is copied once more. Meanwhile the agent, which may sleep for a while, was woken.
 *
 *   … → bitmap of writes → job: all of it → frozen: job of what the bitmap has begins → job, bitmap and node go
 *
 * One copy of a disk at a time; job, bitmap and target are named after the disk's node, so that those of a killed process
 * are found.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { HostError } from '../host-driver.ts'
import { diskNode } from './disk-args.ts'
import type { Freezer } from './frozen-guest.ts'
import type { Guest } from './guest.ts'
import { readNodes, removeNode } from './guest-disks.ts'
import { QmpError, readObjects } from './qmp-client.ts'

const COPY_PREFIX = 'copy-'
const BITMAP_PREFIX = 'since-'
const TARGET_PREFIX = 'to-'
/** How soon a job is looked at again: after a tenth of the time it has taken so far, within these. */
const LOOK_FIRST_MS = 3
const LOOK_LAST_MS = 250
/** How long a job may take to end that was cancelled. */
const CANCEL_MS = 30_000

const copyIds = (node: string) => ({
  job: `${COPY_PREFIX}${node}`,
  bitmap: `${BITMAP_PREFIX}${node}`,
  target: `${TARGET_PREFIX}${node}`,
})

/**
 * Copies a disk of a guest.
 * @param make makes the target: an empty qcow2 file of so many bytes, which QEMU may write.
 * @throws HostError `noSpace`; QmpError, Error of a monitor that does not answer, or of a job that failed.
 */
export async function copyDisk(
  guest: Guest,
  node: string,
  target: { file: string; make: (bytes: number) => Promise<void> },
  freezer: Pick<Freezer, 'mayFreeze' | 'whileFrozen'>,
): Promise<void> {
  const ids = copyIds(node)
  await removeCopy(guest, node)
  const source = (await readNodes(guest)).find(({ name }) => name === node)
  if (!source) throw new HostError('noDisk', 'The server has no such disk.')
  await target.make(source.virtualBytes)
  try {
    await guest.execute('blockdev-add', diskNode(ids.target, { file: target.file, base: undefined }))
    if (!(await freezer.mayFreeze)) return await backUp(guest, node, { sync: 'full' })
    await guest.execute('block-dirty-bitmap-add', { node, name: ids.bitmap })
    await backUp(guest, node, { sync: 'full' })
    const rest = { sync: 'bitmap', bitmap: ids.bitmap, 'bitmap-mode': 'never' }
    await backUp(guest, node, rest, (begin) => freezer.whileFrozen(begin))
  } finally {
    if (guest.pid !== undefined) await removeCopy(guest, node)
  }
}

/** Copies what a disk holds when the job begins. @param still does what it is given at the right moment. */
async function backUp(
  guest: Guest,
  node: string,
  what: object,
  still: (begin: () => Promise<unknown>) => Promise<unknown> = (begin) => begin(),
): Promise<void> {
  const { job, target } = copyIds(node)
  await still(() => beginBackup(guest, { 'job-id': job, device: node, target, 'auto-dismiss': false, ...what }))
  await untilConcluded(guest, job)
  await guest.execute('job-dismiss', { id: job })
}

/**
 * One piece after the other: as many as QEMU has at once by default keep its main loop so busy that the guest stands
 * still, at the beginning for a tenth of a second and more. And small ones: on virtual machines that give unused memory
 * back to their host, memory for larger ones must be asked for anew, at three times the processor time in all.
 */
const GENTLY = { 'max-workers': 1, 'max-chunk': 256 * 1024 }

async function beginBackup(guest: Guest, job: object): Promise<void> {
  try {
    await guest.execute('blockdev-backup', { ...job, 'x-perf': GENTLY })
  } catch (error) {
    // Not part of what QEMU promises to keep: one that does not know it has its own ways.
    if (!(error instanceof QmpError)) throw error
    await guest.execute('blockdev-backup', job)
  }
}

/** Ends every copy that somebody who is gone had begun; what they wrote is of no use. */
export async function removeCopies(guest: Guest): Promise<void> {
  const jobs = (await readJobs(guest)).map(({ id }) => afterPrefix(COPY_PREFIX, id))
  const nodes = await readNodes(guest)
  const targets = nodes.map(({ name }) => afterPrefix(TARGET_PREFIX, name))
  const bitmaps = nodes.flatMap((node) => node.bitmaps.map((name) => afterPrefix(BITMAP_PREFIX, name)))
  for (const node of new Set([...jobs, ...targets, ...bitmaps])) if (node !== undefined) await removeCopy(guest, node)
}

const afterPrefix = (prefix: string, name: string): string | undefined =>
  name.startsWith(prefix) ? name.slice(prefix.length) : undefined

async function removeCopy(guest: Guest, node: string): Promise<void> {
  const ids = copyIds(node)
  const deadline = performance.now() + CANCEL_MS
  for (;;) {
    const job = (await readJobs(guest)).find(({ id }) => id === ids.job)
    if (!job) break
    if (performance.now() > deadline) throw new Error(`${ids.job} does not end`)
    // Each is refused in another state of the job: it is looked at again.
    const command = job.status === 'concluded' ? 'job-dismiss' : 'job-cancel'
    await guest.execute(command, { id: ids.job }).catch((error: unknown) => {
      if (!(error instanceof QmpError)) throw error
    })
    if (command === 'job-cancel') await pause(LOOK_FIRST_MS)
  }
  const source = (await readNodes(guest)).find(({ name }) => name === node)
  if (source?.bitmaps.includes(ids.bitmap)) {
    await guest.execute('block-dirty-bitmap-remove', { node, name: ids.bitmap })
  }
  await removeNode(guest, ids.target)
}

interface Job {
  id: string
  status: string
  error: string | undefined
}

/** Source: QAPI JobInfo. */
async function readJobs(guest: Guest): Promise<Job[]> {
  const jobs = readObjects(await guest.execute('query-jobs'))
  return jobs.map(({ id, status, error }) => ({
    id: String(id),
    status: String(status),
    error: error === undefined ? undefined : String(error),
  }))
}

async function untilConcluded(guest: Guest, id: string): Promise<void> {
  const since = performance.now()
  for (;;) {
    const job = (await readJobs(guest)).find((one) => one.id === id)
    if (!job) throw new Error(`somebody ended ${id}`)
    if (job.status === 'concluded') {
      if (job.error === undefined) return
      const cause = new Error(job.error)
      // QEMU tells failures apart in words only; these are strerror(3)'s.
      if (/No space left|Disk quota/.test(job.error)) {
        throw new HostError('noSpace', 'The host has no space left for the copy.', { cause })
      }
      throw cause
    }
    await pause(Math.min(Math.max((performance.now() - since) / 10, LOOK_FIRST_MS), LOOK_LAST_MS))
  }
}
