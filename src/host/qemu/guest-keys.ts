/** A line of `authorized_keys` has at most so many characters that we look at; an RSA key of 16384 bits has 2800. */
const LONGEST_LINE = 16 * 1024

/**
 * What to tell an agent that its user's `authorized_keys` become as wished. A key is told by its bytes: with another
 * comment, or with options before it, it is the same key, and would let in its owner just as well.
 * @param present the lines of the file, as a guest says.
 */
export function keyChanges(
  present: unknown,
  wish: { add: string[]; remove: string[] },
): { add: string[]; remove: string[] } {
  const lines = (Array.isArray(present) ? present : []).filter(
    (line): line is string => typeof line === 'string' && line.length <= LONGEST_LINE,
  )
  const kept = new Set(wish.add.map(keyBytes))
  const unwanted = new Set(wish.remove.map(keyBytes).filter((key) => !kept.has(key)))
  const remove = lines.filter((line) => !line.trimStart().startsWith('#') && unwanted.has(keyBytes(line)))
  const free = new Set(lines.filter(isWithoutOptions).map(keyBytes))
  return {
    add: wish.add.filter((key) => !free.has(keyBytes(key))),
    remove: [...new Set([...remove, ...wish.remove.filter((key) => unwanted.has(keyBytes(key)))])],
  }
}

/**
 * The word after the key's type: base64 of its bytes, which begin with a length and so with `AAAA`. Word by word, for one
 * expression over a whole line of a guest's making goes over the rest of it again from each place that looks like a type.
 * Source: RFC 4253, 6.6.
 */
function keyBytes(line: string): string {
  const words = line.split(/\s+/)
  for (let at = 1; at < words.length; at++) {
    const [bytes] = /^AAAA[A-Za-z0-9+/=]+/.exec(words[at] ?? '') ?? []
    if (bytes !== undefined && TYPE.test(words[at - 1] ?? '')) return bytes
  }
  return line
}

const TYPE = /(?:^|[,"])(?:ssh-|ecdsa-|sk-)./
const isWithoutOptions = (line: string): boolean => /^\s*(?:ssh-|ecdsa-|sk-)/.test(line)
