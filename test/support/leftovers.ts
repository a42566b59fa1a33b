/** What tests may leave behind, and whether these did: processes, namespaces, mounts, devices, groups, files. */
import { randomUUID } from 'node:crypto'
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'

export interface Snapshot {
  /** In the environment of every process of this run, as NOVELLA_TEST_RUN, however it was detached. */
  mark: string
  things: Map<string, string[]>
}

const list = (directory: string): string[] => (existsSync(directory) ? readdirSync(directory) : [])

/** What there is now, by kind. */
function look(): Map<string, string[]> {
  return new Map([
    ['network namespace', list('/run/netns')],
    ['network device', list('/sys/class/net')],
    [
      'mount',
      readFileSync('/proc/self/mounts', 'utf8')
        .split('\n')
        .map((line) => line.split(' ')[1] ?? ''),
    ],
    ['temporary file', list(tmpdir()).filter((name) => /novella|chromium|playwright|tiny/i.test(name))],
    [
      'control group',
      globSync('/sys/fs/cgroup/**/*novella*/**/', { exclude: (name) => String(name).includes('kernel') }),
    ],
  ])
}

export const snapshot = (): Snapshot => ({ mark: randomUUID(), things: look() })

/** How long what is ending may take to end, in milliseconds. */
const PATIENCE_MS = 5_000

/** What is there now and was not before: one line each. */
export async function findLeftovers(before: Snapshot): Promise<string[]> {
  const until = Date.now() + PATIENCE_MS
  for (;;) {
    const found = [...findProcesses(before.mark), ...findThings(before)]
    if (found.length === 0 || Date.now() > until) return found
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

function findThings(before: Snapshot): string[] {
  return [...look()].flatMap(([kind, now]) => {
    const known = new Set(before.things.get(kind))
    return now.filter((thing) => !known.has(thing)).map((thing) => `${kind}: ${thing}`)
  })
}

function findProcesses(mark: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        if (!readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`NOVELLA_TEST_RUN=${mark}`)) return []
        return [`process ${pid}: ${readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').slice(0, 200)}`]
      } catch {
        // It ended while we looked.
        return []
      }
    })
}
