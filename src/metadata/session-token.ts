/**
 * Session tokens in the way of EC2's IMDSv2: a guest that took one asks with it. Nothing is kept: what a token says is
 * sealed in it. They protect a guest from programs of its own that fetch whatever URL they are given, and nobody else:
 * without a token every guest is answered too.
 * Source: EC2's user guide, "Use IMDSv2".
 */
import type { SecretBox } from '../lib/secret-box.ts'

/** How long a token may last at most, in seconds. */
export const LONGEST_TOKEN_S = 21_600

/** Says of a sealed text that it is such a token. */
const KIND = 'metadata-token'

/** The lifetime that a header asks for, in seconds; undefined when it is none. */
export function readLifetime(header: string | string[] | undefined): number | undefined {
  if (typeof header !== 'string' || !/^\d{1,5}$/.test(header)) return undefined
  const seconds = Number(header)
  return seconds >= 1 && seconds <= LONGEST_TOKEN_S ? seconds : undefined
}

/** A token for one server. @param expiresAt epoch milliseconds. */
export const newSessionToken = (box: SecretBox, serverId: string, expiresAt: number): string =>
  Buffer.from(box.seal(JSON.stringify([KIND, serverId, expiresAt])), 'base64').toString('base64url')

/** Whether it is a token of this server that is still good. @param now epoch milliseconds. */
export function isGoodToken(box: SecretBox, token: string, serverId: string, now: number): boolean {
  try {
    const [kind, ownerId, expiresAt] = JSON.parse(box.open(Buffer.from(token, 'base64url').toString('base64')))
    return kind === KIND && ownerId === serverId && now < expiresAt
  } catch {
    return false
  }
}
