import { hash, randomBytes, randomInt, randomUUID } from 'node:crypto'

/** A new UUID with dashes: servers, images, ports and whatever else the API calls "uuid". */
export const newId = (): string => randomUUID()

/** A new identity id: 32 lower-case hex digits without dashes (projects, users, roles). */
export const newHexId = (): string => randomUUID().replaceAll('-', '')

/** A new secret of 256 random bits, URL-safe. */
export const newSecret = (): string => randomBytes(32).toString('base64url')

/** What is stored of a secret: revoking it is deleting this hash. A 256-bit random secret needs no slow hash. */
export const hashSecret = (secret: string): string => hash('sha256', secret, 'hex')

const READABLE = 'ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789'

/** A password a person can type: 12 characters by default, without the ones that look alike (I, l, O, 0, 1). */
export function newPassword(length = 12): string {
  return Array.from({ length }, () => READABLE[randomInt(READABLE.length)]).join('')
}

/** A locally administered MAC address under the prefix OpenStack clouds use, lower case. */
export function newMacAddress(): string {
  return `fa:16:3e:${(randomBytes(3).toString('hex').match(/../g) ?? []).join(':')}`
}

const UUID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i

/** Whether a text has the form of a UUID, with or without dashes, in any case. */
export const isUuidLike = (text: string): boolean => UUID.test(text)
