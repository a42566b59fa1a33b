/**
 * Disks of servers that run: from the POST that attaches a volume until the guest sees it, and from the POST that makes
 * an image of a server until it is active, against QEMU told by hand to copy the same disk. And the disk of a new server
 * of an image of 400 MB.
 */
import { execFile } from 'node:child_process'
import { randomFillSync, randomUUID } from 'node:crypto'
import { mkdir, open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ensureOverlay } from '../src/host/qemu/server-disk.ts'
import { type ServerFiles, serverFiles } from '../src/host/qemu/server-files.ts'
import { CloudProcess, DataDirectory } from './support/cloud-process.ts'
import { copyByHand } from './support/copy-by-hand.ts'
import type { Figure } from './support/figure.ts'
import { median, timed } from './support/statistics.ts'
import { untilHolds } from './support/until-holds.ts'

const run = promisify(execFile)
const ROUNDS = 7
const REACH = { attachMs: 400, snapshot: 1.3, overlayMs: 60 }
const IMAGE_BYTES = 400 * 1000 ** 2
const SEEN = 'the disk is here'
const GONE = 'the disk is gone'
/** Says on the console when the second disk comes and goes. */
const WATCH = `#!/bin/sh
(was=0; while sleep 0.01; do
  if [ -b /dev/vdb ]; then is=1; else is=0; fi
  [ $is = $was ] && continue
  was=$is
  if [ $is = 1 ]; then echo "${SEEN}" >/dev/ttyS0; else echo "${GONE}" >/dev/ttyS0; fi
done) >/dev/null 2>&1 &
`

export async function measure(): Promise<Figure[]> {
  await using data = await DataDirectory.make()
  await using cloud = await CloudProcess.start(data, ['--driver', 'qemu'])
  const withServer = async <T>(
    wish: object,
    work: (serverId: string, files: ServerFiles) => Promise<T>,
  ): Promise<T> => {
    const serverId = await cloud.createServer('disks', 1, wish)
    const files = serverFiles(join(data.path, 'servers'), serverId)
    await untilSaid(files, /login: *$/)
    const result = await work(serverId, files)
    await cloud.deleteServer(serverId)
    return result
  }
  const watching = { user_data: Buffer.from(WATCH).toString('base64') }
  const attachMs = await withServer(watching, (id, files) => measureAttach(cloud, id, files))
  const snapshots = await withServer({}, (id, files) => measureSnapshots(cloud, id, files))
  const overlayMs = await measureOverlay(join(data.path, 'overlays'))
  const ratio = median(snapshots.map(({ ours, floor }) => ours / floor))
  return [
    {
      name: 'POST of an attachment → visible in the guest, p50, ms',
      ours: attachMs,
      reach: `≤ ${REACH.attachMs} ms`,
      isReached: attachMs <= REACH.attachMs,
    },
    {
      name: 'POST of an image of a running server → active, p50, ms (floor: target made, blockdev-backup)',
      ours: median(snapshots.map(({ ours }) => ours)),
      floor: median(snapshots.map(({ floor }) => floor)),
      ratio,
      reach: `≤ ${REACH.snapshot}`,
      isReached: ratio <= REACH.snapshot,
    },
    {
      name: 'disk of a server of an image of 400 MB, p50, ms',
      ours: overlayMs,
      reach: `≤ ${REACH.overlayMs} ms`,
      isReached: overlayMs <= REACH.overlayMs,
    },
  ]
}

async function measureAttach(cloud: CloudProcess, serverId: string, files: ServerFiles): Promise<number> {
  const { volume } = (await (await cloud.ask('POST', '/volumes', { volume: { size: 1 } })).json()) as {
    volume: { id: string }
  }
  const isStatus = async (status: string) => {
    const shown = (await (await cloud.ask('GET', `/volumes/${volume.id}`)).json()) as { volume: { status: string } }
    return shown.volume.status === status
  }
  await untilHolds('the volume is available', () => isStatus('available'))
  const times: number[] = []
  for (let round = 1; round <= ROUNDS; round++) {
    const said = new RegExp(`(${SEEN}[^]*){${round}}`)
    times.push(
      await timed(async () => {
        const volumeAttachment = { volumeId: volume.id }
        await cloud.ask('POST', `/servers/${serverId}/os-volume_attachments`, { volumeAttachment })
        await untilSaid(files, said)
      }),
    )
    await untilHolds('the volume is in use', () => isStatus('in-use'))
    await cloud.ask('DELETE', `/servers/${serverId}/os-volume_attachments/${volume.id}`)
    await untilSaid(files, new RegExp(`(${GONE}[^]*){${round}}`))
    await untilHolds('the volume is available again', () => isStatus('available'))
  }
  await cloud.ask('DELETE', `/volumes/${volume.id}`)
  return median(times)
}

async function measureSnapshots(cloud: CloudProcess, serverId: string, files: ServerFiles) {
  const pairs: { ours: number; floor: number }[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const name = `image-${round}`
    let id = ''
    const ours = await timed(async () => {
      const answer = await cloud.ask('POST', `/servers/${serverId}/action`, { createImage: { name } })
      id = (answer.headers.get('location') ?? '').split('/').at(-1) ?? ''
      await untilHolds('the image is active', async () => (await cloud.readImage(id)).status === 'active')
    })
    await untilHolds('the server is at rest', async () => (await cloud.readServer(serverId)).status === 'ACTIVE')
    const floor = await timed(() => copyByHand(files))
    pairs.push({ ours, floor })
    await cloud.deleteImage(id)
  }
  return pairs
}

async function measureOverlay(directory: string): Promise<number> {
  const imagesDir = join(directory, 'images')
  const imageId = randomUUID()
  await mkdir(join(imagesDir, imageId), { recursive: true })
  const raw = join(directory, 'raw')
  {
    await using file = await open(raw, 'w')
    const piece = Buffer.alloc(IMAGE_BYTES / 100)
    for (let at = 0; at < IMAGE_BYTES; at += piece.length) await file.write(randomFillSync(piece))
  }
  const disk = join(imagesDir, imageId, 'disk.qcow2')
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, disk])
  const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  const times: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const serverId = randomUUID()
    const files = serverFiles(join(directory, 'servers'), serverId)
    await mkdir(join(directory, 'servers'), { recursive: true })
    const host = { imagesDir, findUser: () => owner }
    times.push(await timed(() => ensureOverlay({ serverId, imageId, sizeGib: 20 }, files, host)))
  }
  return median(times)
}

const untilSaid = (files: ServerFiles, words: RegExp): Promise<void> =>
  untilHolds(`the guest says ${words}`, async () =>
    words.test(await readFile(files.consoleLog, 'utf8').catch(() => '')),
  )
