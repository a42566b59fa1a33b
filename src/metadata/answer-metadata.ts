import type { Database } from '../db/database.ts'
import type { MetadataAnswer, MetadataQuestion } from '../host/host-driver.ts'
import type { SecretBox } from '../lib/secret-box.ts'
import { findGuest } from './guest-facts.ts'
import { metadataTree, type Tree } from './metadata-tree.ts'

const text = (status: number, body: string | Buffer, contentType = 'text/plain; charset=utf-8'): MetadataAnswer => ({
  status,
  contentType,
  body,
})

/** Answers a guest's question about itself; a guest that nobody knows learns nothing. */
export async function answerMetadata(
  db: Database,
  box: SecretBox,
  { networkId, ipAddress, method, path }: MetadataQuestion,
): Promise<MetadataAnswer> {
  if (method !== 'GET' && method !== 'HEAD') return text(405, 'Only GET and HEAD are answered here.\n')
  const guest = await findGuest(db, box, networkId, ipAddress)
  if (!guest) return text(404, 'No server has this address.\n')
  const found = walk(metadataTree(guest), path)
  if (found === undefined) return text(404, 'There is nothing under this path.\n')
  if (typeof found !== 'string' && !Buffer.isBuffer(found)) return text(200, listing(found))
  if (Buffer.isBuffer(found)) return text(200, found, 'application/octet-stream')
  return text(200, found, path.split('?', 1)[0]?.endsWith('.json') ? 'application/json' : undefined)
}

/** The branch or leaf under a path; undefined when there is none. `0` finds the member `0=name`, as EC2 clients ask. */
export function walk(root: Tree, path: string): Tree | string | Buffer | undefined {
  let here: Tree | string | Buffer | undefined = root
  for (const part of (path.split('?', 1)[0] ?? '').split('/').filter(Boolean)) {
    if (here === undefined || typeof here === 'string' || Buffer.isBuffer(here)) return undefined
    const name: string | undefined = Object.hasOwn(here, part)
      ? part
      : Object.keys(here).find((key) => key.startsWith(`${part}=`))
    const next: Tree[string] | undefined = name === undefined ? undefined : here[name]
    here = typeof next === 'function' ? next() : next
  }
  return here
}

/** Members of a branch, one a line; branches end in a slash, but for keys, which EC2 lists bare. */
function listing(branch: Tree): string {
  return Object.entries(branch)
    .map(([name, member]) => (typeof member === 'function' || name.includes('=') ? name : `${name}/`))
    .join('\n')
}
