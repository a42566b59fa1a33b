/**
 * Answers what guests ask at 169.254.169.254, in OpenStack's way and in EC2's.
 *
 *   GET   any path of either tree, with a session token of EC2's IMDSv2 or without
 *   PUT   /latest/api/token                  such a token
 *   POST  /openstack/{version}/password      the password that the guest made for itself, once
 *
 * Who asks is told by network and address, which come from the socket. No header counts but those of the token.
 */
import type { Cloud } from '../cloud.ts'
import type { Row } from '../db/schema.ts'
import type { MetadataAnswer, MetadataQuestion } from '../host/host-driver.ts'
import { keepGuestPassword } from '../servers/guest-password.ts'
import { ec2Tree } from './ec2-tree.ts'
import { findGuest } from './find-guest.ts'
import { readGuestFacts } from './guest-facts.ts'
import { isPasswordPath, openstackTree } from './openstack-tree.ts'
import { isGoodToken, LONGEST_TOKEN_S, newSessionToken, readLifetime } from './session-token.ts'
import { listing, walk } from './tree.ts'

export type MetadataParts = Pick<Cloud, 'config' | 'db' | 'box' | 'clock'>

const TOKEN_PATH = /^\/+latest\/+api\/+token\/*$/
const TOKEN = 'x-aws-ec2-metadata-token'
const LIFETIME = 'x-aws-ec2-metadata-token-ttl-seconds'

const text = (status: number, body: string | Buffer, headers: Record<string, string> = {}): MetadataAnswer => ({
  status,
  contentType: 'text/plain; charset=utf-8',
  body,
  headers,
})

/** Answers a guest's question about itself; a guest that nobody knows learns nothing. */
export async function answerMetadata(parts: MetadataParts, question: MetadataQuestion): Promise<MetadataAnswer> {
  const server = await findGuest(parts.db.read, question.networkId, question.ipAddress)
  if (!server) return text(404, 'No server has this address.\n')
  const [path = ''] = question.path.split('?', 1)
  if (TOKEN_PATH.test(path)) return giveToken(parts, server, question)
  const token = question.headers[TOKEN]
  if (token !== undefined && !isGoodToken(parts.box, String(token), server.id, parts.clock.now())) {
    return text(401, 'The token is not good, or not any more.\n')
  }
  switch (question.method) {
    case 'GET':
    case 'HEAD':
      return tell(parts, server, question.ipAddress, path)
    case 'POST':
      if (isPasswordPath(path)) return keepPassword(parts, server, question)
  }
  const allow = isPasswordPath(path) ? 'GET, HEAD, POST' : 'GET, HEAD'
  return text(405, `Only ${allow} are answered here.\n`, { allow })
}

function giveToken({ box, clock }: MetadataParts, { id }: Row<'servers'>, question: MetadataQuestion): MetadataAnswer {
  if (question.method !== 'PUT') return text(405, 'A token is asked for with PUT.\n', { allow: 'PUT' })
  const seconds = readLifetime(question.headers[LIFETIME])
  if (seconds === undefined) {
    return text(400, `The header ${LIFETIME} must say how many seconds, from 1 to ${LONGEST_TOKEN_S}.\n`)
  }
  return text(200, newSessionToken(box, id, clock.now() + seconds * 1000), { [LIFETIME]: String(seconds) })
}

async function tell(
  parts: MetadataParts,
  server: Row<'servers'>,
  ipAddress: string,
  path: string,
): Promise<MetadataAnswer> {
  const facts = await readGuestFacts(parts, server)
  const found = walk({ ...ec2Tree(facts, ipAddress), openstack: openstackTree(facts) }, path)
  if (found === undefined) return text(404, 'There is nothing under this path.\n')
  if (Buffer.isBuffer(found)) return { status: 200, contentType: 'application/octet-stream', body: found }
  if (typeof found !== 'string') return text(200, listing(found))
  return path.endsWith('.json') ? { status: 200, contentType: 'application/json', body: found } : text(200, found)
}

async function keepPassword(
  { db }: MetadataParts,
  { id }: Row<'servers'>,
  { body }: MetadataQuestion,
): Promise<MetadataAnswer> {
  switch (await keepGuestPassword(db, id, body.toString('latin1'))) {
    case 'kept':
      return text(200, '')
    case 'taken':
      return text(409, 'There is a password already; its user can clear it.\n')
    case 'tooLong':
      return text(413, 'The password is too long.\n')
    case 'noBase64':
      return text(400, 'The password must be encrypted, in base64.\n')
  }
}
