import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { signalGroup, spawnGroup } from '../../lib/process-group.ts'
import { BUILD_TOOLS, MASTER_BOOT_RECORD } from './recipe.ts'

/** Why the image could not be built, in words that say what to do; what a tool said is in `cause`. */
export class TinyBuildError extends Error {
  override readonly name = 'TinyBuildError'
}

/** How long one tool may run, in milliseconds; downloads are the slow ones. */
const TOOL_TIMEOUT_MS = 10 * 60_000

// Some login shells of root leave the sbin directories out.
const searchPath = [process.env.PATH ?? '', '/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'].join(delimiter)

export interface ToolOptions {
  cwd?: string
  /** Kills the tool, and whatever it started. */
  signal?: AbortSignal | undefined
}

/**
 * Runs a program to its end and answers what it wrote to standard output.
 * @throws TinyBuildError naming the program and the end of what it complained about; the signal's reason when that
 * ended it, or kept it from starting.
 */
export async function runTool(tool: string, args: readonly string[], options: ToolOptions = {}): Promise<string> {
  const { cwd, signal } = options
  signal?.throwIfAborted()
  const env = { ...process.env, PATH: searchPath, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' }
  const child = spawnGroup(tool, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const limit = AbortSignal.timeout(TOOL_TIMEOUT_MS)
  const kill = () => signalGroup(child, 'SIGKILL')
  for (const one of [limit, signal]) one?.addEventListener('abort', kill, { once: true })
  const said = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (chunk) => {
      said[name] += chunk
    })
  }
  const how = await new Promise<string | undefined>((resolve) => {
    child.once('error', ({ message }) => resolve(message))
    // Not before all that it started has let go of its output, and so, of the files it was writing.
    child.once('close', (code, by) => resolve(code === 0 ? undefined : `it ended with ${code ?? by}`))
  })
  signal?.removeEventListener('abort', kill)
  limit.removeEventListener('abort', kill)
  if (how === undefined) return said.stdout
  signal?.throwIfAborted()
  const late = `it took longer than ${TOOL_TIMEOUT_MS / 60_000} minutes`
  const complaint = limit.aborted ? late : said.stderr.trim().split('\n').slice(-3).join(' ') || how
  throw new TinyBuildError(`Building the tiny image: ${tool} failed: ${complaint}`, {
    cause: new Error(`${how}; it said: ${said.stderr.trim()}`),
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
