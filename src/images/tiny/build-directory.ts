/**
 * Directories that appear whole or not at all. A build works in a directory of its own beside the final one, whose name
 * tells who owns it, and is renamed at the end. Whoever comes first wins; a killed build's directory is known by its
 * dead owner and removed by the next one.
 *
 *   .building-NAME.PIDNS-PID-START.RANDOM   →  NAME
 */
import { chmod, mkdtemp, open, readdir, readFile, readlink, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'

const PREFIX = '.building-'
/** After this a directory is dead even if its owner cannot be asked, because it lives in another container. In ms. */
const ABANDONED_MS = 60 * 60_000

/** Makes an empty directory beside the final one. */
export async function openBuildDirectory(parent: string, name: string): Promise<string> {
  const { namespace, start } = await describeProcess('self')
  return mkdtemp(join(parent, `${PREFIX}${name}.${namespace}-${process.pid}-${start}.`))
}

/** Publishes `names` of a build directory as `final`; when somebody else was quicker, theirs stays and ours goes. */
export async function publish(build: string, final: string, names: readonly string[]): Promise<void> {
  // What a rename promises must be on the disk before it: a power cut must not leave a whole name with half a file.
  for (const name of names) {
    await using file = await open(join(build, name), 'r+')
    await file.chmod(0o644)
    await file.sync()
  }
  // mkdtemp keeps others out, and some kernels come unreadable, but QEMU reads the image as a user of its own.
  await chmod(build, 0o755)
  try {
    await rename(build, final)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error
    await rm(build, { recursive: true, force: true })
  }
}

/** Removes what killed builds left in `parent`; builds that are still running are left alone. */
export async function removeDeadBuilds(parent: string): Promise<void> {
  const names = (await readdir(parent).catch(() => [])).filter((name) => name.startsWith(PREFIX))
  if (names.length === 0) return
  const { namespace } = await describeProcess('self')
  for (const name of names) {
    const owner = /\.(\d+)-(\d+)-(\d+)\.[^.]*$/.exec(name)
    const path = join(parent, name)
    const isDead =
      owner?.[1] === namespace
        ? (await describeProcess(owner[2] ?? '').catch(() => undefined))?.start !== owner[3]
        : Date.now() - ((await stat(path).catch(() => undefined))?.mtimeMs ?? Date.now()) > ABANDONED_MS
    if (isDead) await rm(path, { recursive: true, force: true })
  }
}

/** A process is known by its number and its start, since numbers come again; and numbers differ between containers. */
async function describeProcess(pid: string): Promise<{ namespace: string; start: string }> {
  const status = await readFile(`/proc/${pid}/stat`, 'utf8')
  // The second field is the name, which may hold spaces and brackets; the start is the 22nd.
  const fields = status.slice(status.lastIndexOf(')') + 2).split(' ')
  const namespace = /\d+/.exec(await readlink('/proc/self/ns/pid'))?.[0] ?? '0'
  return { namespace, start: fields[19] ?? '0' }
}
