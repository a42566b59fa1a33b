import { execFile } from 'node:child_process'
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { BUILD_TOOLS, MASTER_BOOT_RECORD } from './recipe.ts'

/** Why the image could not be built, in words that say what to do; what a tool said is in `cause`. */
export class TinyBuildError extends Error {
  override readonly name = 'TinyBuildError'
}

/** How long one tool may run, in milliseconds; downloads are the slow ones. */
const TOOL_TIMEOUT_MS = 10 * 60_000

// Some login shells of root leave the sbin directories out.
const searchPath = [process.env.PATH ?? '', '/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'].join(delimiter)

/**
 * Runs a program to its end and answers what it wrote to standard output.
 * @throws TinyBuildError naming the program and the end of what it complained about.
 */
export function runTool(tool: string, args: readonly string[], options: { cwd?: string } = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(
      tool,
      args,
      {
        ...options,
        env: { ...process.env, PATH: searchPath, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
        timeout: TOOL_TIMEOUT_MS,
        maxBuffer: 64 * 1024 * 1024,
      },
      (error, stdout, stderr) => {
        if (!error) return resolve(stdout)
        const complaint = stderr.trim().split('\n').slice(-3).join(' ') || error.message
        reject(new TinyBuildError(`Building the tiny image: ${tool} failed: ${complaint}`, { cause: error }))
      },
    )
  })
}

/**
 * Looks for all that a build needs of this machine before it starts.
 * @throws TinyBuildError saying what to install, or to run this as root.
 */
export async function checkMachine(): Promise<void> {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new TinyBuildError(
      `The tiny image can be built on Linux on x86-64 only, not on ${process.platform} ${process.arch}.`,
    )
  }
  if (process.getuid?.() !== 0) {
    throw new TinyBuildError(
      'Building the tiny image needs root, since its files belong to root: run this once with sudo.',
    )
  }
  const missing = new Set<string>()
  for (const [tool, debianPackage] of Object.entries(BUILD_TOOLS)) {
    if (!(await isOnPath(tool))) missing.add(debianPackage)
  }
  if (!(await isReadable(MASTER_BOOT_RECORD.file))) missing.add(MASTER_BOOT_RECORD.package)
  if (missing.size > 0) {
    throw new TinyBuildError(`Building the tiny image needs more packages: apt-get install ${[...missing].join(' ')}`)
  }
}

async function isOnPath(tool: string): Promise<boolean> {
  for (const directory of searchPath.split(delimiter)) {
    if (directory && (await isReadable(join(directory, tool), constants.X_OK))) return true
  }
  return false
}

const isReadable = (path: string, mode = constants.R_OK): Promise<boolean> =>
  access(path, mode).then(
    () => true,
    () => false,
  )
