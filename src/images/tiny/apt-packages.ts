/**
 * Packages out of the machine's own APT sources, without installing anything. The machine's package lists are used as
 * they are; only when they are empty or too old to download from, fresh ones are fetched into a directory of ours, so
 * that neither the machine's state nor another build is disturbed.
 */
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { runTool, TinyBuildError } from './run-tool.ts'

export interface DebianPackage {
  name: string
  version: string
  /** The .deb file, absolute. */
  file: string
}

export interface Apt {
  /** What each package depends on directly, alternatives included; packages that the sources do not know are left out. */
  readDependencies(names: readonly string[]): Promise<Map<string, string[]>>
  /** @throws TinyBuildError when one of them cannot be had, even with fresh lists. */
  download(names: readonly string[]): Promise<DebianPackage[]>
}

/** @param directory ours to fill: downloads and, if need be, package lists. */
export async function openApt(directory: string, onProgress: (message: string) => void): Promise<Apt> {
  const settings = [
    // As root apt would drop its rights to a user who cannot write here, and warn.
    'APT::Sandbox::User=root',
    // Containers often switch these caches off, and then every question costs a second.
    `Dir::Cache::pkgcache=${join(directory, 'pkgcache.bin')}`,
    `Dir::Cache::srcpkgcache=${join(directory, 'srcpkgcache.bin')}`,
  ]
  let options = settings.flatMap((setting) => ['-o', setting])
  let isFresh = false

  async function refresh(): Promise<void> {
    onProgress('fetching package lists')
    const lists = join(directory, 'lists')
    await mkdir(join(lists, 'partial'), { recursive: true })
    options = [...options, '-o', `Dir::State::lists=${lists}`]
    isFresh = true
    await runTool('apt-get', [...options, '-q', 'update'])
  }

  async function readDependencies(names: readonly string[]): Promise<Map<string, string[]>> {
    // apt-cache ends with an error when it knows none of them, which is an answer too.
    const text = await runTool('apt-cache', [...options, 'depends', '--', ...names]).catch(() => '')
    return parseDependencies(text)
  }

  async function download(names: readonly string[]): Promise<DebianPackage[]> {
    const target = join(directory, 'debs')
    await mkdir(target, { recursive: true })
    const fetchAll = () => runTool('apt-get', [...options, '-q', 'download', '--', ...names], { cwd: target })
    try {
      await fetchAll()
    } catch (error) {
      if (isFresh) throw unavailable(names, error)
      await refresh()
      await fetchAll().catch((again) => {
        throw unavailable(names, again)
      })
    }
    const files = (await readdir(target)).filter((file) => file.endsWith('.deb'))
    return Promise.all(files.map((file) => readPackage(join(target, file))))
  }

  return {
    async readDependencies(names) {
      const found = await readDependencies(names)
      if (found.size > 0 || isFresh) return found
      await refresh()
      return readDependencies(names)
    },
    download,
  }
}

function unavailable(names: readonly string[], cause: unknown): TinyBuildError {
  return new TinyBuildError(
    `Building the tiny image: these packages could not be downloaded, is the machine's list of APT sources in order? ${names.join(' ')}`,
    { cause },
  )
}

async function readPackage(file: string): Promise<DebianPackage> {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-deb's own placeholders
  const format = '--showformat=${Package} ${Version}'
  const [name = '', version = ''] = (await runTool('dpkg-deb', ['--show', format, file])).trim().split(' ')
  return { name, version, file }
}

/** Reads what `apt-cache depends` prints: a package's name at the margin, below it one relation a line. */
export function parseDependencies(text: string): Map<string, string[]> {
  const found = new Map<string, string[]>()
  let dependencies: string[] = []
  for (const line of text.split('\n')) {
    if (/^[a-z0-9]/.test(line)) {
      dependencies = []
      found.set(line.trim(), dependencies)
    }
    const relation = /^ [ |](?:Pre)?Depends: ([a-z0-9][^ :]*)/.exec(line)
    if (relation?.[1]) dependencies.push(relation[1])
  }
  return found
}
