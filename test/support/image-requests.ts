/** What tests of images ask again and again. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Answer, Client, TestCloud } from './test-cloud.ts'

export const JSON_PLEASE = { accept: 'application/json' }
export const OCTETS = { 'content-type': 'application/octet-stream' }
export const PATCH = { 'content-type': 'application/openstack-images-v2.1-json-patch' }
export const RAW = { disk_format: 'raw', container_format: 'bare' }

/** Creates an image, and answers its id. */
export async function createImage(client: Client, body: object = {}): Promise<string> {
  const answer = await client.post('//image/v2/images', { name: 'mine', ...RAW, ...body }, JSON_PLEASE)
  assert.equal(answer.statusCode, 201, answer.body)
  return answer.json().id
}

export const upload = (
  client: Client,
  id: string,
  bytes: Buffer,
  headers: Record<string, string> = {},
  part: 'file' | 'stage' = 'file',
): Promise<Answer> =>
  client.request({
    method: 'PUT',
    url: `//image/v2/images/${id}/${part}`,
    payload: bytes,
    headers: { ...JSON_PLEASE, ...OCTETS, ...headers },
  })

/** An image with these bytes, active. */
export async function addActive(client: Client, bytes: Buffer, body: object = {}): Promise<string> {
  const id = await createImage(client, body)
  const answer = await upload(client, id, bytes)
  assert.equal(answer.statusCode, 204, answer.body)
  return id
}

export const patch = (client: Client, id: string, changes: unknown, headers: object = PATCH): Promise<Answer> =>
  client.request({
    method: 'PATCH',
    url: `//image/v2/images/${id}`,
    payload: JSON.stringify(changes),
    headers: { ...JSON_PLEASE, ...headers },
  })

export async function show(client: Client, id: string): Promise<Record<string, unknown>> {
  const answer = await client.get(`//image/v2/images/${id}`, JSON_PLEASE)
  assert.equal(answer.statusCode, 200, answer.body)
  return answer.json()
}

/** Asserts a fault in Glance's shape. */
export function assertImageFault(answer: Answer, status: number, message: RegExp = /./, what = ''): void {
  assert.equal(answer.statusCode, status, `${what} ${answer.body.slice(0, 500)}`)
  const body = answer.json()
  assert.deepEqual(Object.keys(body).sort(), ['code', 'message', 'title'], what)
  assert.match(body.code, new RegExp(`^${status} `), what)
  assert.match(body.message, message, what)
}

/** Files of uploads that belong to an image. */
export function uploadsOf(cloud: TestCloud, id: string): string[] {
  const directory = join(cloud.dataDirectory, 'uploads')
  return existsSync(directory) ? readdirSync(directory).filter((name) => name.startsWith(id)) : []
}

/** Asserts that an image waits for bytes and has none, anywhere. */
export async function assertQueued(cloud: TestCloud, client: Client, id: string): Promise<void> {
  const image = await show(client, id)
  assert.deepEqual([image.status, image.size, image.checksum, image.os_hash_value], ['queued', null, null, null])
  assert.deepEqual(uploadsOf(cloud, id), [])
  assert.ok(!cloud.machine.images.has(id))
}
