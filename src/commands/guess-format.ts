import { findDisks, findPacked } from '../images/formats/known-formats.ts'

/** What the end of a name says, where the bytes say nothing: disks without a magic. */
const BY_NAME: Readonly<Record<string, string>> = { raw: 'raw', img: 'raw', bin: 'raw', dd: 'raw' }

/**
 * What a file of a person is most likely: only ever a proposal, which the service then checks.
 * @returns the format, and by what; no format, and what to do.
 */
export function guessFormat(name: string, head: Buffer): { format: string | undefined; why: string } {
  const packed = findPacked(head)
  if (packed)
    return { format: undefined, why: `it looks like ${packed.label}. Unpack it first, and add the disk in it.` }
  const [disk] = findDisks(head, Buffer.alloc(0))
  if (disk) return { format: disk.format, why: `it begins like ${disk.label}` }
  const ending = /\.([a-z0-9]+)$/i.exec(name)?.[1]?.toLowerCase() ?? ''
  const format = BY_NAME[ending]
  if (format) return { format, why: `it has no known beginning, and is called .${ending}` }
  return { format: undefined, why: 'nothing tells its format. Say it with --disk-format raw, qcow2, vmdk, …' }
}
