import assert from 'node:assert/strict'

const UUID = '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}'

/** What texts of the API look like. A text that no row knows is free. */
const FORMATS = [
  new RegExp(`^${UUID}$`),
  /^[0-9a-f]{32}$/,
  /^[0-9a-f]{56}$/,
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$/,
  /^fa:16:3e(:[0-9a-f]{2}){3}$/,
  /^\d{1,3}(\.\d{1,3}){3}$/,
  /^instance-[0-9a-f]{8}$/,
  /^[A-Za-z0-9]{12}$/,
  ...['servers', 'images', 'flavors'].flatMap((collection) => [
    new RegExp(`^https?://[^/]+/v2/[0-9a-f]{32}/${collection}/${UUID}$`),
    new RegExp(`^https?://[^/]+/[0-9a-f]{32}/${collection}/${UUID}$`),
  ]),
]
/** Words that mean something, and so are the same in every answer of this kind. */
const WORDS = ['self', 'bookmark', 'ACTIVE', 'BUILD', 'active', 'building', 'spawning', 'fixed', 'MANUAL', 'default']

/** Asserts that the texts of an answer have the formats of those of an example, and that numbers and flags are equal. */
export function assertSameFormat(answer: unknown, example: unknown, place = 'answer'): void {
  if (typeof answer === 'object' && answer !== null && typeof example === 'object' && example !== null) {
    for (const [key, value] of Object.entries(answer)) {
      assertSameFormat(value, (example as Record<string, unknown>)[key], `${place}.${key}`)
    }
  } else if (typeof example === 'string' && example !== '' && !WORDS.includes(example)) {
    const formats = FORMATS.filter((format) => format.test(example))
    for (const format of formats) assert.match(String(answer), format, place)
  } else {
    assert.equal(answer, example, place)
  }
}
