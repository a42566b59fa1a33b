import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { generateKey } from './generate-key.ts'
import { KEY_TYPES, parsePublicKey } from './public-key.ts'
import { KeyFormatError, wirePositive, wireString } from './wire-reader.ts'

const run = promisify(execFile)
let directory: string
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'novella-keys-'))
})
after(() => rm(directory, { recursive: true }))

/** Arguments of ssh-keygen for each type it can make without a security key. */
const MADE = {
  'ssh-rsa': ['-t', 'rsa', '-b', '2048'],
  'ssh-dss': ['-t', 'dsa'],
  'ssh-ed25519': ['-t', 'ed25519'],
  'ecdsa-sha2-nistp256': ['-t', 'ecdsa', '-b', '256'],
  'ecdsa-sha2-nistp384': ['-t', 'ecdsa', '-b', '384'],
  'ecdsa-sha2-nistp521': ['-t', 'ecdsa', '-b', '521'],
} as const

async function makeKey(type: keyof typeof MADE, comment = 'me@home'): Promise<string> {
  const path = join(directory, `${type}-${Math.random()}`)
  await run('ssh-keygen', ['-q', ...MADE[type], '-N', '', '-C', comment, '-f', path])
  return readFile(`${path}.pub`, 'utf8')
}

/** What OpenSSH makes of a public key: its MD5 fingerprint. */
async function askSshKeygen(line: string): Promise<string> {
  const path = join(directory, `asked-${Math.random()}`)
  await writeFile(path, line)
  const { stdout } = await run('ssh-keygen', ['-l', '-E', 'md5', '-f', path])
  return /MD5:(\S+)/.exec(stdout)?.[1] ?? stdout
}

const line = (type: string, ...fields: Buffer[]) =>
  `${type} ${Buffer.concat([wireString(type), ...fields]).toString('base64')}`

const blobOf = (key: string) => Buffer.from(key.split(' ')[1] ?? '', 'base64')

describe('keys of ssh-keygen', () => {
  for (const type of Object.keys(MADE) as (keyof typeof MADE)[]) {
    test(`${type} has the fingerprint that ssh-keygen gives it`, async () => {
      const text = await makeKey(type)
      assert.deepEqual(parsePublicKey(text), { type, text, fingerprint: await askSshKeygen(text) })
    })
  }

  test('security keys have the fingerprint that ssh-keygen gives them', async () => {
    const ed25519 = blobOf(await makeKey('ssh-ed25519')).subarray(-32)
    const point = blobOf(await makeKey('ecdsa-sha2-nistp256')).subarray(-65)
    const lines = [
      line('sk-ssh-ed25519@openssh.com', wireString(ed25519), wireString('ssh:')),
      line('sk-ecdsa-sha2-nistp256@openssh.com', wireString('nistp256'), wireString(point), wireString('ssh:work')),
    ]
    for (const text of lines) assert.equal(parsePublicKey(text).fingerprint, await askSshKeygen(text))
    assert.equal(KEY_TYPES.length, Object.keys(MADE).length + lines.length)
  })

  test('the line is kept as it came, but for what surrounds it', async () => {
    const text = await makeKey('ssh-ed25519', 'two words, ünïcode "quoted"')
    const bare = text.trim()
    assert.equal(parsePublicKey(bare).text, bare)
    assert.equal(parsePublicKey(` ${bare}\r\n\n`).text, text)
    const [type, base64] = bare.split(' ')
    assert.equal(parsePublicKey(`${type} ${base64}`).text, `${type} ${base64}`)
    assert.equal(parsePublicKey(`${type}\t ${base64} `).fingerprint, parsePublicKey(bare).fingerprint)
  })
})

describe('what is no public key', () => {
  const ed25519 = wireString(Buffer.alloc(32, 7))
  const modulus = (bits: number) => wirePositive(Buffer.concat([Buffer.of(0xc1), Buffer.alloc(bits / 8 - 1, 1)]))
  const exponent = wireString(Buffer.of(1, 0, 1))
  const good = line('ssh-ed25519', ed25519)
  const refused: Record<string, string> = {
    nothing: '',
    'a word': 'ssh-rsa',
    'an unknown type': line('ssh-foo', ed25519),
    'a member of Object': line('constructor', ed25519),
    'a certificate': line('ssh-ed25519-cert-v01@openssh.com', ed25519),
    'options before the type': `command="/bin/sh" ${good}`,
    'a second line': `${good} me\n${good} you`,
    'a second line behind a carriage return': `${good} me\r${good}`,
    'a second line behind a Unicode separator': `${good} me\u2028${good}`,
    'a second line behind a form feed': `${good} me\f${good}`,
    'a second line behind NEL': `${good} me\u0085${good}`,
    'a NUL': `${good} me\0you`,
    'an escape sequence': `${good} \u001b[2J`,
    'another type inside': `ssh-rsa ${good.split(' ')[1]}`,
    'base64 with a foreign character': good.replace(/.$/, '!'),
    'base64 without its padding': line('ssh-rsa', exponent, modulus(1024)).replace(/=+$/, ''),
    'a private key': '-----BEGIN OPENSSH PRIVATE KEY-----',
    'too short an ed25519 key': line('ssh-ed25519', wireString(Buffer.alloc(31))),
    'bytes behind the last field': line('ssh-ed25519', ed25519, Buffer.of(0)),
    'a length beyond the end': line('ssh-ed25519', Buffer.of(255, 255, 255, 255)),
    'an RSA modulus of 768 bits': line('ssh-rsa', exponent, modulus(768)),
    'an even RSA modulus': line(
      'ssh-rsa',
      exponent,
      wirePositive(Buffer.concat([Buffer.alloc(127, 0xc1), Buffer.of(2)])),
    ),
    'an RSA exponent of 1': line('ssh-rsa', wireString(Buffer.of(1)), modulus(2048)),
    'an even RSA exponent': line('ssh-rsa', wireString(Buffer.of(4)), modulus(2048)),
    'a negative RSA exponent': line('ssh-rsa', wireString(Buffer.of(0x81)), modulus(2048)),
    'an RSA exponent with leading zeros': line('ssh-rsa', wireString(Buffer.of(0, 3)), modulus(2048)),
    'an empty RSA exponent': line('ssh-rsa', wireString(''), modulus(2048)),
    'an RSA modulus of 16392 bits': line('ssh-rsa', exponent, modulus(16_392)),
    'another curve inside': line('ecdsa-sha2-nistp256', wireString('nistp384'), wireString(Buffer.alloc(97, 4))),
    'a point that is not on the curve': line(
      'ecdsa-sha2-nistp256',
      ...[wireString('nistp256'), wireString(Buffer.concat([Buffer.of(4), Buffer.alloc(64, 1)]))],
    ),
    'a compressed point': line('ecdsa-sha2-nistp256', wireString('nistp256'), wireString(Buffer.alloc(33, 2))),
    'a DSA key of small numbers': line('ssh-dss', ...[23, 11, 4, 8].map((n) => wireString(Buffer.of(n)))),
    'a security key without an application': line('sk-ssh-ed25519@openssh.com', ed25519),
    'a line that has no end': `${good} ${'x'.repeat(20_000)}`,
  }
  for (const [what, text] of Object.entries(refused)) {
    test(`${what} is refused`, () => assert.throws(() => parsePublicKey(text), KeyFormatError))
  }

  test('a good one beside them is taken', async () => {
    assert.equal(parsePublicKey(line('ssh-rsa', exponent, modulus(1024))).type, 'ssh-rsa')
    assert.equal(parsePublicKey(good).fingerprint, await askSshKeygen(good))
  })
})

describe('mutated keys', () => {
  const keys = async () => [
    ...(await Promise.all((Object.keys(MADE) as (keyof typeof MADE)[]).map((type) => makeKey(type)))),
    line('sk-ssh-ed25519@openssh.com', wireString(Buffer.alloc(32, 7)), wireString('ssh:')),
  ]

  test('any change of the text is refused, or is another whole key on one line', async () => {
    const originals = await keys()
    const change = fc.record({
      key: fc.nat({ max: originals.length - 1 }),
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      cut: fc.nat({ max: 9 }),
      put: fc.string({ unit: 'binary', maxLength: 9 }),
    })
    fc.assert(
      fc.property(change, ({ key, at, cut, put }) => {
        const original = (originals[key] ?? '').trim()
        const place = Math.floor(at * original.length)
        const mutated = original.slice(0, place) + put + original.slice(place + cut)
        const parsed = tryParse(mutated)
        if (!parsed) return
        assert.doesNotMatch(parsed.text.trimEnd(), /[\r\n\0\u2028\u2029]/)
        assert.ok(parsed.text.startsWith(`${parsed.type} `) || parsed.text.startsWith(`${parsed.type}\t`))
        // The same blob has the same fingerprint, and another blob has another.
        const isSame = blobOf(parsed.text.replace(/[ \t]+/, ' ')).equals(blobOf(original))
        assert.equal(parsed.fingerprint === parsePublicKey(original).fingerprint, isSame)
      }),
      { numRuns: 3_000 },
    )
  })

  test('a blob that is cut, or has more bytes, is refused', async () => {
    for (const key of await keys()) {
      const type = key.split(' ', 1)[0]
      const blob = blobOf(key)
      for (let length = 0; length < blob.length; length++) {
        assert.equal(tryParse(`${type} ${blob.subarray(0, length).toString('base64')}`), undefined)
      }
      fc.assert(
        fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (more) => {
          assert.equal(tryParse(`${type} ${Buffer.concat([blob, more]).toString('base64')}`), undefined)
        }),
      )
    }
  })

  test('any text at all is refused without a crash', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => assert.equal(tryParse(text), undefined)),
    )
  })

  test('any bytes behind a known type are read without a crash', () => {
    const anyType = fc.constantFrom(...KEY_TYPES)
    fc.assert(
      fc.property(anyType, fc.array(fc.uint8Array({ maxLength: 140 }), { maxLength: 5 }), (type, fields) => {
        tryParse(line(type, ...fields.map((field) => wireString(Buffer.from(field)))))
      }),
      { numRuns: 1_000 },
    )
  })

  /** Undefined when it is refused; any other failure fails the test. */
  function tryParse(text: string) {
    try {
      return parsePublicKey(text)
    } catch (error) {
      if (error instanceof KeyFormatError) return undefined
      throw error
    }
  }
})

describe('generated keys', () => {
  for (const type of ['rsa', 'ed25519'] as const) {
    test(`ssh-keygen finds the public half in the private half of an ${type} key`, async () => {
      const { publicKey, privateKey, fingerprint } = await generateKey(type)
      const path = join(directory, `generated-${type}`)
      await writeFile(path, privateKey, { mode: 0o600 })
      const { stdout } = await run('ssh-keygen', ['-y', '-P', '', '-f', path])
      assert.deepEqual(stdout.trim().split(' ').slice(0, 2), publicKey.split(' ').slice(0, 2))
      assert.equal(fingerprint, await askSshKeygen(publicKey))
      assert.deepEqual(parsePublicKey(publicKey), { type: `ssh-${type}`, text: publicKey, fingerprint })
      assert.match(publicKey, /^ssh-(rsa|ed25519) [A-Za-z0-9+/=]+ Generated by Nova\n$/)
      const label = type === 'rsa' ? 'RSA' : 'OPENSSH'
      const pem = new RegExp(
        `^-----BEGIN ${label} PRIVATE KEY-----\\n([A-Za-z0-9+/=]{1,70}\\n)+-----END ${label} PRIVATE KEY-----\\n$`,
      )
      assert.match(privateKey, pem)
    })

    test(`what an ${type} key signs, its public half proves`, async () => {
      const { publicKey, privateKey } = await generateKey(type)
      const [key, allowed, message] = ['signs', 'allowed', 'message'].map((name) => join(directory, `${type}-${name}`))
      assert.ok(key && allowed && message)
      await writeFile(key, privateKey, { mode: 0o600 })
      await writeFile(`${key}.pub`, publicKey)
      await writeFile(allowed, `me ${publicKey}`)
      await writeFile(message, 'hello')
      await run('ssh-keygen', ['-q', '-Y', 'sign', '-f', key, '-n', 'test', message])
      const verify = ['-Y', 'verify', '-f', allowed, '-I', 'me', '-n', 'test', '-s', `${message}.sig`]
      const checked = run('ssh-keygen', verify)
      checked.child.stdin?.end('hello')
      assert.match((await checked).stdout, /^Good "test" signature for me/)
    })
  }

  test('no two are alike', async () => {
    const keys = await Promise.all([
      generateKey('rsa'),
      generateKey('rsa'),
      generateKey('ed25519'),
      generateKey('ed25519'),
    ])
    assert.equal(new Set(keys.map(({ fingerprint }) => fingerprint)).size, 4)
  })
})
