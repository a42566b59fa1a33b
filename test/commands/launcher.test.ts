/** The launcher: what a newcomer types. All it brings is there when tests run, so a copy is asked. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

const ROOT = join(import.meta.dirname, '../..')
const NOBODY = 65534

/** A copy of the launcher and the lock file, without packages, and an empty path to put programs on. */
class BareCheckout implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'novella-launcher-'))
  readonly #programs = join(this.path, 'programs')

  constructor() {
    chmodSync(this.path, 0o755)
    mkdirSync(this.#programs)
    for (const name of ['novella', 'package-lock.json']) copyFileSync(join(ROOT, name), join(this.path, name))
    for (const name of ['cat', 'cksum', 'dirname', 'id', 'uname']) {
      const from = ['/usr/bin', '/bin'].map((directory) => join(directory, name)).find((file) => existsSync(file))
      symlinkSync(from ?? '', join(this.#programs, name))
    }
  }

  /** Puts a program on the path in place of the machine's. */
  program(name: string, script: string): void {
    rmSync(join(this.#programs, name), { force: true })
    writeFileSync(join(this.#programs, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  }

  /** Has the packages of this checkout, and its source. Never its own launcher: that might bring packages here. */
  takePackages(): void {
    symlinkSync(join(ROOT, 'src'), join(this.path, 'src'))
    mkdirSync(join(this.path, 'node_modules'))
    const runtime = `node-linux-${process.arch}`
    symlinkSync(join(ROOT, 'node_modules', runtime), join(this.path, 'node_modules', runtime))
    const [sum, size] = spawnSync('cksum', { input: readFileSync(join(this.path, 'package-lock.json')) })
      .stdout.toString()
      .split(/\s+/)
    writeFileSync(join(this.path, 'node_modules', '.novella-packages'), `${sum} ${size} run`)
  }

  run(args: readonly string[], user?: number) {
    const ids = user === undefined ? {} : { uid: user, gid: user }
    // The launcher adds the directories of root itself; what is looked for is in none of them.
    return spawnSync('/bin/sh', [join(this.path, 'novella'), ...args], {
      env: { PATH: this.#programs },
      encoding: 'utf8',
      cwd: '/',
      ...ids,
    })
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true })
  }
}

test('it runs from any directory, and hands over to the Node that came with the packages', () => {
  using checkout = new BareCheckout()
  checkout.takePackages()
  for (const [args, output] of [
    [['version'], /^novella \d+\.\d+\.\d+\n$/],
    [[], /novella up/],
  ] as const) {
    const { status, stdout, stderr } = checkout.run(args)
    assert.deepEqual([status, stderr], [0, ''])
    assert.match(stdout, output)
  }
})

test('a machine it does not run on is named', () => {
  using checkout = new BareCheckout()
  checkout.program('uname', 'case $1 in -s) echo Darwin ;; *) echo arm64 ;; esac')
  const { status, stderr } = checkout.run(['up'])
  assert.deepEqual([status, stderr], [1, 'novella: runs on Linux on x86-64 or arm64, not on Darwin arm64.\n'])
})

test('who may not install npm is told what to install', { skip: process.getuid?.() !== 0 }, () => {
  using checkout = new BareCheckout()
  const { status, stderr } = checkout.run(['up'], NOBODY)
  assert.equal(status, 1)
  assert.equal(stderr, 'novella: npm is missing. Install it (Debian, Ubuntu: apt-get install npm) and try again.\n')
})

test('packages that cannot be had are said so, and the next start tries again', () => {
  using checkout = new BareCheckout()
  checkout.program('npm', 'echo "npm says why" >&2; exit 1')
  for (let tries = 0; tries < 2; tries++) {
    const { status, stderr } = checkout.run(['up'])
    assert.equal(status, 1)
    assert.match(
      stderr,
      /^novella: installing Novella's npm packages \(once\)\nnpm says why\nnovella: npm ci failed; the lines above say why\./,
    )
  }
})

test('packages are brought once, and again when the lock file changes or tests need their tools', () => {
  using checkout = new BareCheckout()
  checkout.program(
    'npm',
    `echo "npm $*" >&2; PATH=/usr/bin:/bin
    mkdir -p node_modules/node-linux-${process.arch}/bin
    printf '#!/bin/sh\\necho "node $*"\\n' >node_modules/node-linux-${process.arch}/bin/node
    chmod 755 node_modules/node-linux-${process.arch}/bin/node`,
  )
  const brought = (args: string[]) => /^npm (.*)$/m.exec(checkout.run(args).stderr)?.[1]
  const quiet = '--loglevel=error --no-audit --no-fund'
  assert.equal(brought(['version']), `ci --omit=dev ${quiet}`)
  assert.equal(brought(['version']), undefined)
  assert.equal(brought(['test', 'pure']), `ci ${quiet}`)
  assert.equal(brought(['version']), undefined)
  writeFileSync(join(checkout.path, 'package-lock.json'), '{}')
  assert.equal(brought(['up']), `ci --omit=dev ${quiet}`)
  assert.match(checkout.run(['up', '--data', 'a b']).stdout, /src\/main\.ts up --data a b\n$/)
})
