/**
 * The image that Novella brings along: a Linux that boots in seconds under TCG and does what a cloud guest must do
 * (DHCP, metadata, host name, keys, password, user data, ssh, power button, guest agent, login on serial and VGA).
 * It is put together from Debian packages on the machine that runs it; what happens inside is in `guest/`.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { copyFile, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { makeDirectory } from '../../lib/make-directory.ts'
import { type DebianPackage, openApt } from './apt-packages.ts'
import { openBuildDirectory, publish, removeDeadBuilds } from './build-directory.ts'
import { fetchPackages } from './choose-packages.ts'
import { writeDisk } from './disk-image.ts'
import { buildInitrd, findKernel, layOutRoot } from './guest-tree.ts'
import { KERNEL_ARGUMENTS } from './recipe.ts'
import { checkMachine, runTool, TinyBuildError } from './run-tool.ts'

/** A finished image. */
export interface TinyBuild {
  /** Holds `disk.qcow2`, `kernel`, `initrd`, `cmdline` and `facts.json` ({@link TinyFacts}). */
  directory: string
  /** The recipe's key: 12 hex digits that change whenever the recipe does. */
  version: string
}

/** What `facts.json` says. */
export interface TinyFacts {
  /** Of `disk.qcow2`. */
  sizeBytes: number
  /** Of the disk that a guest sees. */
  virtualSizeBytes: number
  /** Hex, of `disk.qcow2`. */
  md5: string
  sha512: string
  /** Debian packages in it: name → version. */
  packages: Record<string, string>
}

const FILES = ['disk.qcow2', 'kernel', 'initrd', 'cmdline', 'facts.json'] as const

/**
 * Finds the image in the cache, or builds it there. A finished one is found by the recipe alone, in a few milliseconds
 * and without asking APT: newer packages do not make a new image by themselves (`facts.json` records which went in;
 * removing the directory makes the next call build afresh). Older recipes' images are left, since guests may run on
 * them. May run in several processes at once.
 * @param options.cacheDir made when it is not there.
 * @param options.onProgress told in a few words what takes time, for people.
 * @param options.signal ends a build; nothing is left of it.
 * @throws TinyBuildError saying which package or right is missing, or which tool failed and how; the signal's reason.
 */
export async function buildTiny(options: {
  cacheDir: string
  onProgress?: (message: string) => void
  signal?: AbortSignal
}): Promise<TinyBuild> {
  const { cacheDir, onProgress = () => {}, signal } = options
  const version = await readRecipeKey()
  const name = `tiny-${version}`
  const directory = join(cacheDir, name)
  await removeDeadBuilds(cacheDir)
  if (await stat(join(directory, 'facts.json')).catch(() => undefined)) return { directory, version }

  await checkMachine()
  makeCacheDirectory(cacheDir)
  const build = await openBuildDirectory(cacheDir, name)
  try {
    await fillBuild(build, onProgress, signal)
    await publish(build, directory, FILES)
  } finally {
    await rm(build, { recursive: true, force: true })
  }
  return { directory, version }
}

function makeCacheDirectory(cacheDir: string): void {
  try {
    makeDirectory(cacheDir)
  } catch (error) {
    throw new TinyBuildError(
      `The cache directory ${cacheDir} cannot be made: ${(error as Error).message}. Choose another with --cache.`,
      { cause: error },
    )
  }
}

async function fillBuild(
  build: string,
  onProgress: (message: string) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const work = join(build, 'work')
  const root = join(work, 'root')
  const unpacked = join(work, 'unpacked')
  const file = (name: (typeof FILES)[number]) => join(build, name)
  await mkdir(root, { recursive: true })
  await mkdir(unpacked)

  const packages = await fetchPackages(openApt(work, signal), onProgress)
  onProgress('unpacking')
  for (const { file: deb } of packages) await runTool('dpkg-deb', ['--extract', deb, unpacked], { signal })

  const kernel = await findKernel(unpacked)
  onProgress('putting the guest together')
  await layOutRoot(unpacked, kernel, root)
  await copyFile(kernel.image, file('kernel'))
  await writeFile(file('initrd'), await buildInitrd(unpacked, kernel))
  await writeFile(file('cmdline'), `${KERNEL_ARGUMENTS}\n`)
  onProgress('writing the disk')
  await writeDisk(work, { root, kernel: file('kernel'), initrd: file('initrd') }, file('disk.qcow2'), signal)
  await writeFile(file('facts.json'), `${JSON.stringify(await readFacts(file('disk.qcow2'), packages), null, 2)}\n`)
  await rm(work, { recursive: true })
}

async function readFacts(disk: string, packages: readonly DebianPackage[]): Promise<TinyFacts> {
  const info = JSON.parse(await runTool('qemu-img', ['info', '-f', 'qcow2', '--output=json', disk]))
  return {
    sizeBytes: (await stat(disk)).size,
    virtualSizeBytes: info['virtual-size'],
    md5: await hashFile('md5', disk),
    sha512: await hashFile('sha512', disk),
    packages: Object.fromEntries(packages.map(({ name, version }) => [name, version])),
  }
}

async function hashFile(algorithm: string, file: string): Promise<string> {
  const hash = createHash(algorithm)
  await pipeline(createReadStream(file), hash)
  return hash.digest('hex')
}

/** Every file here and below counts but the tests, comments too: simpler than knowing which would not matter. */
async function readRecipeKey(): Promise<string> {
  const entries = await readdir(import.meta.dirname, { recursive: true, withFileTypes: true })
  const paths = entries
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.test.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
  const hash = createHash('sha256')
  for (const path of paths.sort()) {
    const content = await readFile(path)
    hash.update(`${path.slice(import.meta.dirname.length)}\0${content.length}\0`).update(content)
  }
  return hash.digest('hex').slice(0, 12)
}
