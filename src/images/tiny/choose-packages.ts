import type { Apt, DebianPackage } from './apt-packages.ts'
import { KERNEL_PACKAGES, PROGRAM_PACKAGES } from './recipe.ts'
import { TinyBuildError } from './run-tool.ts'

/**
 * Downloads all packages the guest's files come from. When that fails with the machine's own package lists, which may be
 * missing or so old that the files they name are gone, it is tried once more with fresh ones.
 * @throws TinyBuildError when the sources know no kernel, lack a program, or cannot be reached.
 */
export async function fetchPackages(apt: Apt, onProgress: (message: string) => void): Promise<DebianPackage[]> {
  const fetchAll = async () => {
    onProgress('choosing packages')
    const names = await choosePackages(apt)
    onProgress(`downloading ${names.length} packages`)
    return apt.download(names)
  }
  try {
    return await fetchAll()
  } catch {
    onProgress('fetching package lists')
    await apt.refresh()
    return fetchAll()
  }
}

/**
 * The names of all packages the guest's files come from: programs, their libraries at any depth, and the kernel with
 * its modules. Following names instead of a fixed list keeps it right across releases (libglib2.0-0, -0t64).
 * @throws TinyBuildError when the sources know no kernel or lack a program.
 */
async function choosePackages(apt: Apt): Promise<string[]> {
  const roots = await apt.readDependencies([...PROGRAM_PACKAGES, ...KERNEL_PACKAGES])
  const missing = PROGRAM_PACKAGES.filter((name) => !roots.has(name))
  const kernelMeta = KERNEL_PACKAGES.find((name) => roots.has(name))
  if (missing.length > 0 || !kernelMeta) {
    const wanted = [...missing, ...(kernelMeta ? [] : [KERNEL_PACKAGES.join(' or ')])].join(', ')
    throw new TinyBuildError(`Building the tiny image: the machine's APT sources lack ${wanted}, or do not answer.`)
  }
  const libraries = await follow(
    apt,
    roots,
    PROGRAM_PACKAGES,
    (name) => /^z?lib/.test(name) && !/perl|-dev$/.test(name),
  )
  // The meta-package is empty: the kernel is what it depends on, on Ubuntu with the modules apart.
  const kernel = await follow(apt, roots, [kernelMeta], (name) => /^linux-(image|modules)-\d/.test(name))
  return [...PROGRAM_PACKAGES, ...libraries, ...kernel]
}

/** Everything reachable from `start` through dependencies whose name `isWanted`, without `start` itself. */
async function follow(
  apt: Apt,
  known: Map<string, string[]>,
  start: readonly string[],
  isWanted: (name: string) => boolean,
): Promise<string[]> {
  const reached = new Set<string>()
  let level: readonly string[] = start
  let dependencies = known
  while (level.length > 0) {
    const next = new Set<string>()
    for (const name of level) {
      for (const dependency of dependencies.get(name) ?? []) {
        if (isWanted(dependency) && !reached.has(dependency)) next.add(dependency)
      }
    }
    level = [...next]
    if (level.length === 0) break
    dependencies = await apt.readDependencies(level)
    // An alternative that the sources do not have cannot be downloaded; whether it was needed shows when linking.
    level = level.filter((name) => dependencies.has(name))
    for (const name of level) reached.add(name)
  }
  return [...reached]
}
