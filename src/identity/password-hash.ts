import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'

/**
 * Passwords are stored as `$scrypt$ln=14,r=8,p=2$salt$key`: what the hash cost travels with it, so that the cost can
 * be raised without a migration. Source: RFC 7914, and the PHC string format.
 */
interface Cost {
  /** log2 of N. One computation takes 128 · 2^log2N · r bytes of memory. */
  log2N: number
  r: number
  p: number
}

/** 16 MiB and about 65 ms of one core of the development machine. */
const COST: Cost = { log2N: 14, r: 8, p: 2 }
/** A stored hash that asks for more than this is refused rather than computed, in bytes. */
const MEMORY_MAX = 128 * 1024 * 1024
const SALT_BYTES = 16
const KEY_BYTES = 32

const STORED = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([\w-]+)\$([\w-]+)$/

/** What is compared when there is no such user: it costs as much as a real one, and no password has it. */
const NOBODY = format(COST, randomBytes(SALT_BYTES), randomBytes(KEY_BYTES))

/**
 * The text to store for a password.
 * @param log2N the cost, for tests that make many users; verifying costs the same again.
 */
export async function hashPassword(password: string, log2N = COST.log2N): Promise<string> {
  const cost = { ...COST, log2N }
  const salt = randomBytes(SALT_BYTES)
  return format(cost, salt, await derive(password, salt, cost, KEY_BYTES))
}

/**
 * Whether the password is the one that was stored. Takes as long when nothing is stored, so that the time does not
 * tell who exists.
 * @throws Error when the stored text is not ours.
 */
export async function verifyPassword(password: string, stored: string | undefined): Promise<boolean> {
  const [, log2N, r, p, salt, key] = STORED.exec(stored ?? NOBODY) ?? []
  if (salt === undefined || key === undefined) throw new Error('A stored password hash is not in the scrypt format.')
  const cost = { log2N: Number(log2N), r: Number(r), p: Number(p) }
  const wanted = Buffer.from(key, 'base64url')
  const found = await derive(password, Buffer.from(salt, 'base64url'), cost, wanted.length)
  return timingSafeEqual(found, wanted)
}

function format({ log2N, r, p }: Cost, salt: Buffer, key: Buffer): string {
  return `$scrypt$ln=${log2N},r=${r},p=${p}$${salt.toString('base64url')}$${key.toString('base64url')}`
}

function derive(password: string, salt: Buffer, { log2N, r, p }: Cost, bytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    // One form of each letter: the same password typed on another keyboard is the same password.
    scrypt(password.normalize('NFC'), salt, bytes, { N: 2 ** log2N, r, p, maxmem: MEMORY_MAX }, (error, key) =>
      error ? reject(error) : resolve(key),
    )
  })
}
