/** Reads ISO 9660 images with a tool that is not ours. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** The files of an image by their paths, without a slash in front, as Rock Ridge names them; and the label. */
export async function readIso(image: Buffer, only = /^/): Promise<{ label: string; files: Map<string, Buffer> }> {
  const directory = await mkdtemp(join(tmpdir(), 'novella-iso-'))
  try {
    const path = join(directory, 'image.iso')
    await writeFile(path, image)
    const isoinfo = async (...args: string[]) =>
      (await run('isoinfo', ['-i', path, ...args], { encoding: 'buffer', maxBuffer: 2 ** 26 })).stdout
    const [, label = ''] = /^Volume id: (.*)$/m.exec((await isoinfo('-d')).toString('latin1')) ?? []
    const listing = (await isoinfo('-l', '-R')).toString('utf8')
    const files = new Map<string, Buffer>()
    let below = ''
    for (const line of listing.split('\n')) {
      const [, named] = /^Directory listing of (.*)$/.exec(line) ?? []
      if (named !== undefined) below = named
      const [, size, name] = /^-\S+ +\d+ +\d+ +\d+ +(\d+) .*\] +(\S+) *$/.exec(line) ?? []
      if (name === undefined || !only.test(`${below}${name}`.slice(1))) continue
      files.set(
        `${below}${name}`.slice(1),
        size === '0' ? Buffer.alloc(0) : await isoinfo('-R', '-x', `${below}${name}`),
      )
    }
    return { label, files }
  } finally {
    await rm(directory, { recursive: true })
  }
}
