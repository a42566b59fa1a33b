/** By which bytes disks, and things mistaken for disks, are known. Pure. */

interface Signature {
  /** A declared format, or a name of its own for what is never taken. */
  format: string
  /** How a person would call it, after "it looks like". */
  label: string
  /** From the beginning; negative: from the end. */
  offset: number
  bytes: Buffer
}

const ascii = (text: string): Buffer => Buffer.from(text, 'latin1')

const signature = (format: string, label: string, offset: number, bytes: string): Signature => ({
  format,
  label,
  offset,
  bytes: ascii(bytes),
})

/** What a tool that guesses would open as a disk. Source: the probe functions of QEMU's block drivers. */
const DISKS: Signature[] = [
  signature('qcow2', 'a QCOW2 disk', 0, 'QFI\xfb'),
  signature('qed', 'a QED disk', 0, 'QED\0'),
  signature('vmdk', 'a VMDK disk', 0, 'KDMV'),
  signature('vmdk', 'a VMDK disk', 0, 'COWD'),
  signature('vdi', 'a VDI disk', 0x40, '\x7f\x10\xda\xbe'),
  signature('vhd', 'a VHD disk', 0, 'conectix'),
  signature('vhd', 'a VHD disk', -512, 'conectix'),
  signature('vhdx', 'a VHDX disk', 0, 'vhdxfile'),
  signature('luks', 'a LUKS-encrypted disk', 0, 'LUKS\xba\xbe'),
  ...[0x4000, 0x8000].map((offset) => signature('luks', 'a LUKS-encrypted disk', offset, 'SKUL\xba\xbe')),
  signature('iso', 'an ISO 9660 image', 0x8001, 'CD001'),
  signature('parallels', 'a Parallels disk', 0, 'WithoutFreeSpace'),
  signature('parallels', 'a Parallels disk', 0, 'WithouFreSpacExt'),
  signature('bochs', 'a Bochs disk', 0, 'Bochs Virtual HD Image'),
  signature('cloop', 'a cloop image', 0, '#!/bin/sh\n#V2.0 Format\n'),
  signature('dmg', 'an Apple disk image', -512, 'koly'),
]

/** What people upload in place of a disk. Harmless, and useless as a disk. */
const PACKED: Signature[] = [
  signature('gzip', 'a gzip-compressed file', 0, '\x1f\x8b\x08'),
  signature('xz', 'an xz-compressed file', 0, '\xfd7zXZ\0'),
  signature('zstd', 'a zstd-compressed file', 0, '\x28\xb5\x2f\xfd'),
  signature('bzip2', 'a bzip2-compressed file', 0, 'BZh91AY&SY'),
  signature('zip', 'a zip archive', 0, 'PK\x03\x04'),
  signature('7z', 'a 7z archive', 0, "7z\xbc\xaf'\x1c"),
]

/** Something the bytes can be taken for. */
export interface Likeness {
  format: string
  label: string
}

/** Each disk format that these bytes can be taken for, once; the beginning and the end of a file decide. */
export function findDisks(head: Buffer, tail: Buffer): Likeness[] {
  const found = new Map<string, Likeness>()
  for (const one of DISKS) if (isAt(one, head, tail)) found.set(one.format, one)
  if (isVmdkText(head)) found.set('vmdk', { format: 'vmdk', label: 'a VMDK descriptor, a text that names other files' })
  return [...found.values()].map(({ format, label }) => ({ format, label }))
}

/** The compressed file or archive that these bytes are; an OVA is a tar whose first member is an OVF. */
export function findPacked(head: Buffer): Likeness | undefined {
  const found = PACKED.find((one) => isAt(one, head, head))
  if (found) return { format: found.format, label: found.label }
  const isTar = head.subarray(257, 262).equals(TAR)
  return isTar && /^[^\0]{1,96}\.ovf\0/.test(head.toString('latin1', 0, 100))
    ? { format: 'ova', label: 'an OVA archive' }
    : undefined
}

const TAR = ascii('ustar')

function isAt({ offset, bytes }: Signature, head: Buffer, tail: Buffer): boolean {
  const where = offset < 0 ? tail : head
  const from = offset < 0 ? tail.length + offset : offset
  return from >= 0 && from + bytes.length <= where.length && bytes.compare(where, from, from + bytes.length) === 0
}

const DESCRIPTOR_HEADING = ascii('# Disk DescriptorFile')
/** How much of a text is looked at, in bytes. QEMU looks at 2048. */
const TEXT_BYTES = 4096

/**
 * Whether a tool that guesses takes it for a VMDK descriptor: after comments and empty lines, the first line is a
 * version. Source: vmdk_probe of QEMU.
 */
export function isVmdkText(head: Buffer): boolean {
  if (startsWith(head, DESCRIPTOR_HEADING)) return true
  const first = head[0]
  // Only these can begin such a text; boot sectors and file systems are not worth a regular expression.
  if (first === undefined || !'# \n\rvV'.includes(String.fromCharCode(first))) return false
  const line = head
    .toString('latin1', 0, TEXT_BYTES)
    .split('\n')
    .find((one) => !/^(#.*|\s*)$/.test(one))
  return line !== undefined && /^\s*version\s*=\s*[0-9]/i.test(line)
}

/** Whether a VMDK descriptor lies anywhere in the first bytes of something that is no VMDK. */
export const hidesVmdkText = (head: Buffer): boolean => head.includes(DESCRIPTOR_HEADING)

const startsWith = (bytes: Buffer, beginning: Buffer): boolean =>
  bytes.length >= beginning.length && beginning.compare(bytes, 0, beginning.length) === 0
