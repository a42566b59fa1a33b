/** Kernel modules by name, with what they depend on, read from the modules themselves (packages carry no modules.dep). */
import { glob, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import { runTool, TinyBuildError } from './run-tool.ts'

export interface KernelModule {
  name: string
  /** Names of the modules that must be there first. */
  dependencies: string[]
  /** The module, not compressed. */
  content: Buffer
}

// A module may be called virtio-rng in its file name and virtio_rng in its kernel.
const moduleName = (path: string) =>
  basename(path)
    .replace(/\.ko(\.\w+)?$/, '')
    .replaceAll('-', '_')

/**
 * These modules and all they depend on, dependencies first; modules that are built into the kernel are left out.
 * @param directory `lib/modules/VERSION` of an unpacked kernel.
 * @throws TinyBuildError naming the module that this kernel lacks.
 */
export async function collectModules(directory: string, names: readonly string[]): Promise<KernelModule[]> {
  const files = new Map<string, string>()
  for await (const path of glob('**/*.ko*', { cwd: directory })) files.set(moduleName(path), join(directory, path))
  const builtIn = new Set((await readFile(join(directory, 'modules.builtin'), 'utf8')).split('\n').map(moduleName))
  const collected = new Map<string, KernelModule>()

  async function collect(name: string): Promise<void> {
    if (collected.has(name) || builtIn.has(name)) return
    const file = files.get(name)
    if (!file) throw new TinyBuildError(`Building the tiny image: the kernel in ${directory} has no module ${name}.`)
    const content = await readModule(file)
    const dependencies = readDependencies(content).filter((dependency) => !builtIn.has(dependency))
    for (const dependency of dependencies) await collect(dependency)
    collected.set(name, { name, dependencies, content })
  }
  for (const name of names) await collect(name)
  return [...collected.values()]
}

/** The `modules.dep` that modprobe reads, for modules that lie side by side as `NAME.ko`. */
export function modulesDep(modules: readonly KernelModule[]): string {
  const byName = new Map(modules.map((module) => [module.name, module]))
  // modprobe wants the whole chain in each line, the nearest first.
  const chain = (name: string): string[] =>
    (byName.get(name)?.dependencies ?? []).flatMap((dependency) => [dependency, ...chain(dependency)])
  return modules
    .map(({ name }) => `${name}.ko:${[...new Set(chain(name))].map((dependency) => ` ${dependency}.ko`).join('')}\n`)
    .join('')
}

/** The `depends=` entry of the module's .modinfo section, whose entries are separated by zero bytes. */
export function readDependencies(module: Buffer): string[] {
  const at = module.indexOf('\0depends=')
  if (at < 0) return []
  const start = at + '\0depends='.length
  const list = module.toString('latin1', start, module.indexOf(0, start))
  return list.split(',').filter(Boolean).map(moduleName)
}

async function readModule(file: string): Promise<Buffer> {
  if (file.endsWith('.zst')) return zstdDecompressSync(await readFile(file))
  if (file.endsWith('.xz')) await runTool('xz', ['--decompress', file])
  return readFile(file.replace(/\.xz$/, ''))
}
