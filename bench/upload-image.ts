/**
 * A gigabyte brought as an image, half of it zeros and half at random, from the first byte sent until the image is
 * active, on the memory host; beside copying the same file and hashing it twice by the tools of the system.
 */
import { spawn } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import { createReadStream, readFileSync } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { CloudProcess, DataDirectory } from './support/cloud-process.ts'
import type { Figure } from './support/figure.ts'
import { median, timed } from './support/statistics.ts'

const SIZE_BYTES = 1024 ** 3
const PIECE_BYTES = 16 * 1024 * 1024
const ROUNDS = 3
const REACH = 0.7

export async function measure(): Promise<Figure[]> {
  await using data = await DataDirectory.make()
  await using cloud = await CloudProcess.start(data)
  const file = join(data.path, 'gigabyte.raw')
  await writeFile(file)
  // The first of each finds nothing warm.
  await upload(cloud, file)
  const before = residentMb(cloud.pid)
  let highest = before
  const watch = setInterval(() => {
    highest = Math.max(highest, residentMb(cloud.pid))
  }, 100)
  const pairs: { ours: number; floor: number }[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const ours = await timed(() => upload(cloud, file))
    const floor = await timed(() => copyAndHash(file, `${file}.copy`))
    pairs.push({ ours, floor })
  }
  clearInterval(watch)
  const ratio = median(pairs.map(({ ours, floor }) => floor / ours))
  return [
    {
      name: 'upload of 1 GiB, half zeros, half random, until active, ms (floor by ours)',
      ours: median(pairs.map(({ ours }) => ours)),
      floor: median(pairs.map(({ floor }) => floor)),
      ratio,
      reach: `≥ ${REACH}`,
      isReached: ratio >= REACH,
    },
    { name: 'resident memory meanwhile, at most, by before, MB', ours: highest, floor: before },
  ]
}

async function writeFile(path: string): Promise<void> {
  const piece = Buffer.alloc(PIECE_BYTES)
  await using file = await open(path, 'w')
  for (let at = 0; at < SIZE_BYTES; at += PIECE_BYTES) {
    if ((at / PIECE_BYTES) % 2 === 0) randomFillSync(piece)
    else piece.fill(0)
    await file.write(piece)
  }
}

async function upload(cloud: CloudProcess, path: string): Promise<void> {
  const created = await fetch(`${cloud.url}/image/v2/images`, {
    method: 'POST',
    headers: { ...cloud.headers, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'gigabyte', disk_format: 'raw', container_format: 'bare' }),
  })
  const { id } = (await created.json()) as { id: string }
  const outgoing = request(`${cloud.url}/image/v2/images/${id}/file`, {
    method: 'PUT',
    headers: { ...cloud.headers, 'content-type': 'application/octet-stream', 'content-length': SIZE_BYTES },
  })
  const status = new Promise<number | undefined>((resolve, reject) => {
    outgoing.once('error', reject)
    outgoing.once('response', (answer) => {
      answer.resume()
      resolve(answer.statusCode)
    })
  })
  await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), outgoing)
  if ((await status) !== 204) throw new Error(`The upload was answered ${await status}.`)
  await fetch(`${cloud.url}/image/v2/images/${id}`, { method: 'DELETE', headers: cloud.headers })
}

async function copyAndHash(file: string, copy: string): Promise<void> {
  await run('cp', file, copy)
  await run('sha512sum', file)
  await run('md5sum', file)
  await rm(copy)
}

function run(program: string, ...args: string[]): Promise<void> {
  const child = spawn(program, args, { stdio: 'ignore' })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`${program} ended with ${code}`))))
  })
}

const residentMb = (pid: number): number =>
  (Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024) / 1e6
