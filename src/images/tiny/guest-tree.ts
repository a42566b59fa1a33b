/** Lays out the guest's root file system, and its initrd, from unpacked packages and the files beside this one. */
import { chmod, cp, glob, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { type CpioEntry, cpioArchive } from './cpio-archive.ts'
import { findLibraries } from './elf-libraries.ts'
import { collectModules, type KernelModule, modulesDep } from './kernel-modules.ts'
import { BOOT_MODULES, LATER_MODULES, PROGRAMS } from './recipe.ts'
import { runTool, TinyBuildError } from './run-tool.ts'

const RECIPE = import.meta.dirname

/** Directories of the guest that nothing else makes, with the modes that differ from 0755. */
const DIRECTORIES: Record<string, number> = {
  dev: 0o755,
  proc: 0o755,
  sys: 0o755,
  run: 0o755,
  mnt: 0o755,
  tmp: 0o1777,
  root: 0o700,
  'etc/dropbear': 0o700,
  'var/lib': 0o755,
  'var/log': 0o755,
  'var/tmp': 0o1777,
}

const LINKS: Record<string, string> = {
  'var/run': '/run',
  'etc/resolv.conf': '/run/resolv.conf',
  'etc/mtab': '/proc/mounts',
}

/** An unpacked kernel: its image and its modules. */
export interface Kernel {
  /** As `uname -r` says it. */
  release: string
  /** The bzImage. */
  image: string
  modules: string
}

/**
 * Finds the one kernel among unpacked packages.
 * @throws TinyBuildError when there is none.
 */
export async function findKernel(unpacked: string): Promise<Kernel> {
  const image = (await readdir(join(unpacked, 'boot'))).find((name) => name.startsWith('vmlinuz-'))
  if (!image) throw new TinyBuildError('Building the tiny image: the kernel package brought no vmlinuz.')
  const release = image.slice('vmlinuz-'.length)
  for (const directory of ['lib/modules', 'usr/lib/modules']) {
    const modules = join(unpacked, directory, release)
    if (await stat(modules).catch(() => undefined)) return { release, image: join(unpacked, 'boot', image), modules }
  }
  throw new TinyBuildError(`Building the tiny image: the kernel package brought no modules for ${release}.`)
}

/** Fills the empty directory `root` with everything the guest has on its disk. */
export async function layOutRoot(unpacked: string, kernel: Kernel, root: string): Promise<void> {
  for (const [path, mode] of Object.entries(DIRECTORIES)) {
    await mkdir(join(root, path), { recursive: true })
    await chmod(join(root, path), mode)
  }
  await addBusybox(unpacked, root)
  await addPrograms(unpacked, root)
  await addModules(root, kernel.release, await collectModules(kernel.modules, [...BOOT_MODULES, ...LATER_MODULES]))
  await addGuestFiles(root)
  for (const [path, target] of Object.entries(LINKS)) await symlink(target, join(root, path))
}

/** The initrd: busybox, the modules that a boot needs, and `initrd-init`. */
export async function buildInitrd(unpacked: string, kernel: Kernel): Promise<Buffer> {
  const modules = await collectModules(kernel.modules, BOOT_MODULES)
  const directories = ['bin', 'dev', 'etc', 'lib', 'lib/modules', `lib/modules/${kernel.release}`, 'new', 'proc']
  const entries: CpioEntry[] = [
    ...directories.map((path) => ({ path, mode: 0o755 })),
    { path: 'init', mode: 0o755, content: await readFile(join(RECIPE, 'initrd-init')) },
    { path: 'bin/busybox', mode: 0o755, content: await readFile(await findBusybox(unpacked)) },
    { path: 'etc/modules', mode: 0o644, content: `${modules.map(({ name }) => name).join(' ')}\n` },
    ...moduleFiles(kernel.release, modules).map((file) => ({ ...file, mode: 0o644 })),
  ]
  return cpioArchive(entries)
}

async function findBusybox(unpacked: string): Promise<string> {
  for (const path of ['bin/busybox', 'usr/bin/busybox']) {
    if (await stat(join(unpacked, path)).catch(() => undefined)) return join(unpacked, path)
  }
  throw new TinyBuildError('Building the tiny image: the package busybox-static brought no busybox.')
}

/** A static program runs on this machine just as well, so busybox itself says what it can do and where it belongs. */
async function addBusybox(unpacked: string, root: string): Promise<void> {
  const busybox = await findBusybox(unpacked)
  await place(busybox, join(root, 'bin/busybox'), 0o755)
  for (const applet of (await runTool(busybox, ['--list-full'])).trim().split('\n')) {
    await mkdir(join(root, dirname(applet)), { recursive: true })
    if (basename(applet) !== 'busybox') await symlink('/bin/busybox', join(root, applet))
  }
}

async function addPrograms(unpacked: string, root: string): Promise<void> {
  for (const [from, to] of Object.entries(PROGRAMS)) await place(join(unpacked, from), join(root, to), 0o755)
  const libraries = await findLibraries(
    unpacked,
    Object.keys(PROGRAMS).map((from) => join(unpacked, from)),
  )
  for (const [name, file] of libraries) {
    // The loader's path is written into every program; the rest is where the loader looks first.
    const directory = name.startsWith('ld-linux') ? 'lib64' : 'lib/x86_64-linux-gnu'
    await place(file, join(root, directory, name), 0o755)
  }
}

const moduleFiles = (release: string, modules: readonly KernelModule[]) => [
  ...modules.map(({ name, content }) => ({ path: `lib/modules/${release}/${name}.ko`, content })),
  { path: `lib/modules/${release}/modules.dep`, content: modulesDep(modules) },
]

async function addModules(root: string, release: string, modules: readonly KernelModule[]): Promise<void> {
  for (const { path, content } of moduleFiles(release, modules)) {
    await mkdir(join(root, dirname(path)), { recursive: true })
    await writeFile(join(root, path), content)
  }
}

/** The plain files beside this one. What begins with `#!` is a program; a link of busybox gives way to ours. */
async function addGuestFiles(root: string): Promise<void> {
  const source = join(RECIPE, 'guest')
  for await (const file of glob('**/*', { cwd: source, withFileTypes: true })) {
    if (!file.isFile()) continue
    const from = join(file.parentPath, file.name)
    const content = await readFile(from)
    const mode = content.subarray(0, 2).toString() === '#!' ? 0o755 : file.name === 'shadow' ? 0o600 : 0o644
    await place(from, join(root, from.slice(source.length)), mode)
  }
}

async function place(from: string, to: string, mode: number): Promise<void> {
  await mkdir(dirname(to), { recursive: true })
  // Never through a link: /sbin/shutdown could be one to busybox, and writing there would replace busybox itself.
  await cp(from, to, { dereference: true, force: true })
  await chmod(to, mode)
}
