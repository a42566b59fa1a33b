/** A guest of a test cloud that asks its metadata service, as the listener on its host hands its questions over. */
import assert from 'node:assert/strict'
import type { MetadataAnswer } from '../../src/host/host-driver.ts'
import { answerMetadata } from '../../src/metadata/answer-metadata.ts'
import { SHARED_NETWORK_ID } from '../../src/networks/seed-networks.ts'
import type { TestCloud } from './test-cloud.ts'

export interface AskOptions {
  method?: string
  headers?: Record<string, string>
  body?: string
}

export class AskingGuest {
  readonly id: string
  readonly adminPass: string
  readonly networkId: string
  readonly address: string
  readonly #cloud: TestCloud

  constructor(cloud: TestCloud, facts: { id: string; adminPass: string; networkId: string; address: string }) {
    this.#cloud = cloud
    this.id = facts.id
    this.adminPass = facts.adminPass
    this.networkId = facts.networkId
    this.address = facts.address
  }

  ask(path: string, { method = 'GET', headers = {}, body = '' }: AskOptions = {}): Promise<MetadataAnswer> {
    const { networkId, address: ipAddress } = this
    const question = { networkId, ipAddress, method, path, headers, body: Buffer.from(body) }
    return answerMetadata(this.#cloud.cloud, question)
  }

  async bytes(path: string): Promise<Buffer> {
    const { status, body } = await this.ask(path)
    assert.equal(status, 200, path)
    return Buffer.from(body)
  }

  async read(path: string): Promise<string> {
    return String(await this.bytes(path))
  }

  // biome-ignore lint/suspicious/noExplicitAny: what is in it is what tests look at
  async json(path: string): Promise<any> {
    return JSON.parse(await this.read(path))
  }

  async lines(path: string): Promise<string[]> {
    return (await this.read(path)).split('\n').sort()
  }
}

/** A server of the member's, built, on the shared network unless the wish names another. */
export async function newGuest(cloud: TestCloud, wish: Record<string, unknown> = {}): Promise<AskingGuest> {
  const answer = await cloud.member.post(
    '/servers',
    await cloud.wish({ name: 'Web One', networks: [{ uuid: SHARED_NETWORK_ID }], ...wish }),
  )
  assert.equal(answer.statusCode, 202, answer.body)
  const { id, adminPass } = answer.json().server
  await cloud.settled()
  const [port] = await cloud.cloud.db.read
    .selectFrom('ports')
    .innerJoin('portAddresses', 'portAddresses.portId', 'ports.id')
    .select(['ports.networkId', 'portAddresses.ipAddress as address'])
    .where('ports.deviceId', '=', id)
    .orderBy('ports.position')
    .execute()
  return new AskingGuest(cloud, {
    id,
    adminPass,
    networkId: port?.networkId ?? SHARED_NETWORK_ID,
    address: port?.address ?? '',
  })
}
