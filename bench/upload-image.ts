/**
 * A gigabyte brought as an image, half of it zeros and half at random, from the first byte sent until the image is
 * active, on the memory host and on QEMU's, which makes a disk of its own of it; beside copying the same file and hashing
 * it twice by the tools of the system. In turns, ratio of each pair, median.
 */
import { spawn } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { type ClientRequest, request } from 'node:http'
import { join } from 'node:path'
import { CloudProcess, DataDirectory } from './support/cloud-process.ts'
import type { Figure } from './support/figure.ts'
import { median, readResidentMb, timed } from './support/statistics.ts'

const SIZE_BYTES = 1024 ** 3
const PIECE_BYTES = 16 * 1024 * 1024
/** What the client reads and sends at once, always from the same memory: a client that costs little. */
const SENT_BYTES = 1024 * 1024
const ROUNDS = 5
const REACH = 0.7
const DRIVERS = ['memory', 'qemu'] as const
/** How much the process may grow, in MB: some connections' worth, and nothing that grows with the image. */
const FLAT_MB = 32

interface Cost {
  ms: number
  cpuMs: number
}

export async function measure(): Promise<Figure[]> {
  await using data = await DataDirectory.make()
  const file = join(data.path, 'gigabyte.raw')
  await fill(file)
  const figures: Figure[] = []
  for (const driver of DRIVERS) figures.push(...(await measureOn(driver, file)))
  return figures
}

async function measureOn(driver: (typeof DRIVERS)[number], file: string): Promise<Figure[]> {
  await using data = await DataDirectory.make()
  await using cloud = await CloudProcess.start(data, ['--driver', driver])
  // The first of each finds nothing warm.
  await upload(cloud, file)
  const before = readResidentMb(cloud.pid)
  forgetPeak(cloud.pid)
  const pairs: { ours: Cost; floor: Cost }[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const ours = await upload(cloud, file)
    pairs.push({ ours, floor: await copyAndHash(file, `${file}.copy`) })
  }
  const growth = readPeakMb(cloud.pid) - before
  const ratio = median(pairs.map(({ ours, floor }) => floor.ms / ours.ms))
  return [
    {
      name: `upload of 1 GiB, half zeros, half random, until active, ${driver} host, ms (floor by ours)`,
      ours: median(pairs.map(({ ours }) => ours.ms)),
      floor: median(pairs.map(({ floor }) => floor.ms)),
      ratio,
      reach: `≥ ${REACH}`,
      isReached: ratio >= REACH,
    },
    {
      name: 'the same, processor time, ms (floor by ours)',
      ours: median(pairs.map(({ ours }) => ours.cpuMs)),
      floor: median(pairs.map(({ floor }) => floor.cpuMs)),
      ratio: median(pairs.map(({ ours, floor }) => floor.cpuMs / ours.cpuMs)),
    },
    {
      name: `resident memory, at most during ${ROUNDS} of these, more than before, MB`,
      ours: growth,
      reach: `≤ ${FLAT_MB} MB`,
      isReached: growth <= FLAT_MB,
    },
  ]
}

async function fill(path: string): Promise<void> {
  const piece = Buffer.alloc(PIECE_BYTES)
  await using file = await open(path, 'w')
  for (let at = 0; at < SIZE_BYTES; at += PIECE_BYTES) {
    if ((at / PIECE_BYTES) % 2 === 0) randomFillSync(piece)
    else piece.fill(0)
    await file.write(piece)
  }
}

async function upload(cloud: CloudProcess, path: string): Promise<Cost> {
  const created = await fetch(`${cloud.url}/image/v2/images`, {
    method: 'POST',
    headers: { ...cloud.headers, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'gigabyte', disk_format: 'raw', container_format: 'bare' }),
  })
  const { id } = (await created.json()) as { id: string }
  const cpuBefore = readFamilyCpuMs(cloud.pid)
  const ms = await timed(() => putFile(cloud, id, path))
  const cpuMs = readFamilyCpuMs(cloud.pid) - cpuBefore
  const headers = { 'x-auth-token': cloud.headers['x-auth-token'] ?? '' }
  const deleted = await fetch(`${cloud.url}/image/v2/images/${id}`, { method: 'DELETE', headers })
  if (deleted.status !== 204) throw new Error(`The image was not deleted: ${deleted.status}.`)
  return { ms, cpuMs }
}

async function putFile(cloud: CloudProcess, id: string, path: string): Promise<void> {
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
  await using file = await open(path, 'r')
  const memory = Buffer.alloc(SENT_BYTES)
  for (;;) {
    const { bytesRead } = await file.read(memory)
    if (bytesRead === 0) break
    await send(outgoing, memory.subarray(0, bytesRead))
  }
  outgoing.end()
  if ((await status) !== 204) throw new Error(`The upload was answered ${await status}.`)
}

const send = (outgoing: ClientRequest, bytes: Buffer): Promise<void> =>
  new Promise((resolve, reject) => {
    outgoing.write(bytes, (error) => (error ? reject(error) : resolve()))
  })

/** `times` of the shell says what its children took. */
async function copyAndHash(file: string, copy: string): Promise<Cost> {
  const report = `${copy}.times`
  const script = 'cp "$1" "$2" && sha512sum "$1" >"$3" && md5sum "$1" >"$3" && times >"$3"'
  const ms = await timed(() => run('sh', '-c', script, 'sh', file, copy, report))
  const [, , ...children] = [...readFileSync(report, 'utf8').matchAll(/(\d+)m([\d.]+)s/g)]
  const cpuMs = children.reduce((sum, [, minutes, seconds]) => sum + (Number(minutes) * 60 + Number(seconds)) * 1000, 0)
  await Promise.all([rm(copy), rm(report)])
  return { ms, cpuMs }
}

function run(program: string, ...args: string[]): Promise<void> {
  const child = spawn(program, args, { stdio: 'ignore' })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`${program} ended with ${code}`))))
  })
}

/**
 * Processor time of a process and of all its children that ended, in milliseconds.
 * Source: proc_pid_stat(5), fields utime, stime, cutime, cstime.
 */
function readFamilyCpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ')
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks) * 10, 0)
}

/** From now on, the peak is what comes. Source: proc_pid_clear_refs(5). */
function forgetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5')
}

const readPeakMb = (pid: number): number =>
  (Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024) / 1e6
