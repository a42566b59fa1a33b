/** Uploads that a killed process leaves: whatever it was doing, no image stays on its way for ever. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { NO_BYTES } from '../../src/images/image-store.ts'
import { markDropped, readDropped } from '../../src/images/upload-files.ts'
import { goodQcow2, goodRaw } from '../support/good-images.ts'
import { hangingAt, LOSSES } from '../support/host-faults.ts'
import { addActive, assertQueued, createImage, show, upload, uploadsOf } from '../support/image-requests.ts'
import { DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'
import { until } from '../support/until.ts'

interface Left {
  status: 'queued' | 'saving' | 'uploading' | 'active' | 'killed'
  /** Whether the row has hashes. */
  isHashed?: boolean
  files: ('.part' | '.staged' | '')[]
  /** Whether its bytes were being removed. */
  isDropped?: boolean
  /** What becomes of it: its status and its files. */
  becomes: [Left['status'], Left['files']]
  /** Only where one process has the database. */
  sqliteOnly?: boolean
}

/** Every mixture of a row and files that a kill can leave. */
const LEFT: Left[] = [
  { status: 'saving', files: ['.part'], becomes: ['queued', []] },
  { status: 'saving', files: ['.part', ''], becomes: ['queued', []] },
  { status: 'saving', isDropped: true, files: ['.part'], becomes: ['queued', []] },
  { status: 'saving', isDropped: true, files: [], becomes: ['queued', []] },
  { status: 'uploading', isDropped: true, files: [], becomes: ['queued', []] },
  { status: 'uploading', isDropped: true, isHashed: true, files: [], becomes: ['queued', []] },
  { status: 'uploading', isDropped: true, isHashed: true, files: ['.staged'], becomes: ['uploading', ['.staged']] },
  { status: 'queued', isDropped: true, files: [], becomes: ['queued', []] },
  { status: 'active', isDropped: true, isHashed: true, files: [''], becomes: ['active', ['']] },
  { status: 'saving', files: [], becomes: ['queued', []], sqliteOnly: true },
  { status: 'uploading', files: ['.part'], becomes: ['queued', []] },
  { status: 'uploading', files: ['.staged'], becomes: ['queued', []] },
  { status: 'uploading', files: [], becomes: ['queued', []], sqliteOnly: true },
  { status: 'uploading', isHashed: true, files: ['.staged'], becomes: ['uploading', ['.staged']] },
  { status: 'uploading', isHashed: true, files: [], becomes: ['queued', []], sqliteOnly: true },
  { status: 'queued', files: ['.part'], becomes: ['queued', []] },
  { status: 'queued', files: ['.staged'], becomes: ['queued', []] },
  { status: 'active', isHashed: true, files: ['.part', ''], becomes: ['active', ['']] },
  { status: 'active', isHashed: true, files: ['.staged', ''], becomes: ['active', ['']] },
  { status: 'killed', files: ['.part'], becomes: ['killed', []] },
]

async function leave(cloud: TestCloud, { status, isHashed, isDropped, files }: Left): Promise<string> {
  const id = await createImage(cloud.member)
  const bytes = isHashed ? { sizeBytes: 5, checksum: 'c', hashAlgorithm: 'sha512', hashValue: 'h' } : NO_BYTES
  await cloud.cloud.db.transaction((tx) =>
    tx
      .updateTable('images')
      .set({ status, ...bytes })
      .where('id', '=', id)
      .execute(),
  )
  for (const suffix of files) writeFileSync(join(cloud.dataDirectory, 'uploads', `${id}${suffix}`), 'bytes')
  if (isDropped) await markDropped(cloud.cloud.config, id)
  return id
}

for (const database of DATABASES) {
  test(`${database}: every state that a kill can leave is settled at the next start`, async () => {
    await using cloud = await testCloud({ database, config: { quotaImages: -1 } })
    mkdirSync(join(cloud.dataDirectory, 'uploads'), { recursive: true })
    const cases = LEFT.filter(({ sqliteOnly }) => !sqliteOnly || database === 'sqlite')
    const ids: string[] = []
    for (const left of cases) ids.push(await leave(cloud, left))
    const orphan = '6e1b2a4c-0000-4000-8000-000000000001.part'
    writeFileSync(join(cloud.dataDirectory, 'uploads', orphan), 'bytes')
    await cloud.killAndStart()
    assert.deepEqual(await readDropped(cloud.cloud.config), [])
    for (const [n, { status, files, becomes }] of cases.entries()) {
      const id = ids[n] ?? ''
      const image = await show(cloud.member, id)
      const seen = [image.status, uploadsOf(cloud, id).map((name) => name.slice(id.length))]
      assert.deepEqual(seen, becomes, `${status} with ${JSON.stringify(files)}`)
      if (becomes[0] === 'queued') assert.equal((await upload(cloud.member, id, goodRaw())).statusCode, 204)
      assert.equal((await cloud.member.delete(`//image/v2/images/${id}`)).statusCode, 204)
    }
    assert.ok(!existsSync(join(cloud.dataDirectory, 'uploads', orphan)))
    await cloud.settled()
    assert.equal(cloud.machine.images.size, 0)
  })

  test(`${database}: an upload killed at any host call leaves an image that takes bytes, or has them`, async () => {
    await using cloud = await testCloud({ database, config: { quotaImages: -1 } })
    // The second is refused: then what a host may have of it is removed.
    for (const bytes of [goodQcow2(), goodRaw()]) {
      for (const loss of LOSSES) {
        const id = await createImage(cloud.member, { disk_format: 'qcow2' })
        const { intercept, reached } = hangingAt(0, loss)
        let isReached = false
        reached.then(() => {
          isReached = true
        })
        cloud.host.intercept = intercept
        upload(cloud.member, id, bytes).catch(() => {})
        await until('the host is asked', () => isReached)
        await cloud.killAndStart()
        await assertQueued(cloud, cloud.member, id)
        assert.equal((await upload(cloud.member, id, goodQcow2())).statusCode, 204)
      }
    }
    const id = await addActive(cloud.member, randomBytes(2_000))
    await cloud.killAndStart()
    assert.equal((await show(cloud.member, id)).status, 'active')
  })
}
