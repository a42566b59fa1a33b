/**
 * Packages out of the machine's own APT sources, without installing anything. The machine's package lists are used as
 * they are; only when they are empty or too old to download from, fresh ones are fetched into a directory of ours, so
 * that neither the machine's state nor another build is disturbed.
 */
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { runTool } from './run-tool.ts'

export interface DebianPackage {
  name: string
  version: string
  /** The .deb file, absolute. */
  file: string
}

export interface Apt {
  /** What each package depends on directly, alternatives included; packages that the sources do not know are left out. */
  readDependencies(names: readonly string[]): Promise<Map<string, string[]>>
  /** @throws TinyBuildError when one of them cannot be had. */
  download(names: readonly string[]): Promise<DebianPackage[]>
  /**
   * Goes on with fresh package lists.
   * Sources that do not answer are passed over; @throws TinyBuildError when apt cannot work at all.
   */
  refresh(): Promise<void>
}

/**
 * @param directory ours to fill: downloads and, if need be, package lists.
 * @param signal ends what is under way.
 */
export function openApt(directory: string, signal?: AbortSignal): Apt {
  const settings = [
    // As root apt would drop its rights to a user who cannot write here, and warn.
    'APT::Sandbox::User=root',
    // Containers often switch these caches off, and then every question costs a second.
    `Dir::Cache::pkgcache=${join(directory, 'pkgcache.bin')}`,
    `Dir::Cache::srcpkgcache=${join(directory, 'srcpkgcache.bin')}`,
  ]
  const apt = (tool: 'apt-get' | 'apt-cache', args: readonly string[], cwd = directory) =>
    runTool(tool, [...settings.flatMap((setting) => ['-o', setting]), '--quiet', ...args], { cwd, signal })

  return {
    async readDependencies(names) {
      // apt-cache ends with an error when it knows none of them, which is an answer too.
      return parseDependencies(await apt('apt-cache', ['depends', '--', ...names]).catch(() => ''))
    },
    async download(names) {
      const target = join(directory, 'debs')
      // Nothing of an attempt before this one.
      await rm(target, { recursive: true, force: true })
      await mkdir(target)
      await apt('apt-get', ['download', '--', ...names], target)
      return Promise.all((await readdir(target)).map((file) => readPackage(join(target, file))))
    },
    async refresh() {
      const lists = join(directory, 'lists')
      await mkdir(join(lists, 'partial'), { recursive: true })
      settings.push(`Dir::State::lists=${lists}`)
      // A source that does not answer is a warning to apt, and rightly: it may be one that we do not need.
      await apt('apt-get', ['update'])
    },
  }
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
