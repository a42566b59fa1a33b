/** Many test files in few processes: to load Novella and to warm it up costs more than most files of tests. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

export interface Shards extends Disposable {
  /** One file for each process, to be given to the test runner. */
  files: string[]
}

/** A test that ends the process without ending it: what that process had open stays open until it is collected. */
const KILLS = /\bkillAndStart\b/

/**
 * Deals files out to processes: the longest first and one each in turn, so that none has all the long ones. In its
 * process each file is a suite with the file's name, so that its hooks are its own; when it cannot be loaded, its suite
 * fails and the others go on. A file that kills processes in its own gets one for itself.
 * @param root the folder that `files` are relative to.
 * @param inEach modules that are loaded before, whose hooks are those of the whole process.
 */
export function writeShards(root: string, files: string[], count: number, inEach: string[]): Shards {
  const directory = mkdtempSync(join(tmpdir(), 'novella-shards-'))
  const [alone, shared] = [true, false].map((isAlone) =>
    files.filter((file) => KILLS.test(readFileSync(join(root, file), 'utf8')) === isAlone),
  ) as [string[], string[]]
  const sizes = new Map(shared.map((file) => [file, statSync(join(root, file)).size]))
  const sorted = shared.toSorted((a, b) => (sizes.get(b) ?? 0) - (sizes.get(a) ?? 0))
  const dealt = Map.groupBy(sorted.keys(), (index) => index % count)
  const urlOf = (file: string): string => JSON.stringify(pathToFileURL(join(root, file)).href)
  const groups = [
    ...[...dealt.values()].map((indexes) => indexes.map((index) => sorted[index] ?? '')),
    ...alone.map((file) => [file]),
  ]
  return {
    files: groups.map((group, shard) => {
      const path = join(directory, `shard-${shard}.mjs`)
      const lines = [
        "import { describe } from 'node:test'",
        ...inEach.map((file) => `import ${urlOf(file)}`),
        ...group.map((file) => `describe(${JSON.stringify(file)}, async () => void (await import(${urlOf(file)})))`),
      ]
      writeFileSync(path, `${lines.join('\n')}\n`)
      return path
    }),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true }),
  }
}
