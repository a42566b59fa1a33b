/** Asking the volume service as Cinder's clients do. */
import assert from 'node:assert/strict'
import type { Answer, Client, TestCloud } from './test-cloud.ts'

export interface Cinder {
  get(path: string): Promise<Answer>
  post(path: string, body?: unknown): Promise<Answer>
  put(path: string, body?: unknown): Promise<Answer>
  delete(path: string): Promise<Answer>
}

/** The volume service for one user, by Cinder's paths. @param version `3.0` when left out. */
export function cinder(client: Client, version = '3.0'): Cinder {
  const send =
    (method: 'GET' | 'POST' | 'PUT' | 'DELETE') =>
    (path: string, body?: unknown): Promise<Answer> =>
      client.request({
        method,
        url: `//volume/v3/${client.projectId}${path}`,
        headers: { 'openstack-api-version': `volume ${version}` },
        ...(body === undefined ? {} : { payload: body as object }),
      })
  return { get: send('GET'), post: send('POST'), put: send('PUT'), delete: send('DELETE') }
}

/** Makes a volume, and lets its bytes be made; its id. */
export async function makeVolume(
  cloud: TestCloud,
  wish: Record<string, unknown> = {},
  client: Client = cloud.member,
): Promise<string> {
  const answer = await cinder(client).post('/volumes', { volume: { size: 1, ...wish } })
  assert.equal(answer.statusCode, 202, answer.body)
  await cloud.settled()
  return answer.json().volume.id
}

/** Makes a snapshot of a volume, and lets it be taken; its id. */
export async function makeSnapshot(cloud: TestCloud, volumeId: string, wish: object = {}): Promise<string> {
  const answer = await cinder(cloud.member).post('/snapshots', { snapshot: { volume_id: volumeId, ...wish } })
  assert.equal(answer.statusCode, 202, answer.body)
  await cloud.settled()
  return answer.json().snapshot.id
}

/** The volume as its owner sees it. */
export async function showVolume(cloud: TestCloud, id: string) {
  const answer = await cinder(cloud.member, '3.71').get(`/volumes/${id}`)
  assert.equal(answer.statusCode, 200, answer.body)
  return answer.json().volume
}

/** Asks for an action of a volume. */
export const actOn = (client: Client, id: string, body: unknown, version = '3.71'): Promise<Answer> =>
  cinder(client, version).post(`/volumes/${id}/action`, body)

/** Asserts that an answer is a quota's refusal, as Cinder tells it. @param what said when it is not. */
export function assertOverQuota(answer: Answer, message: RegExp, what = ''): void {
  assert.equal(answer.statusCode, 413, `${what} ${answer.body}`)
  assert.equal(answer.headers['retry-after'], '0')
  const { code, message: said, retryAfter } = answer.json().overLimit
  assert.deepEqual([code, retryAfter], [413, '0'])
  assert.match(said, message, what)
}
