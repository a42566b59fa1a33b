/** One entry of an initrd: a file with content, or a directory without. */
export interface CpioEntry {
  /** Without a leading slash; a directory comes before what is in it. */
  path: string
  /** Permission bits. */
  mode: number
  content?: Buffer | string
}

const S_IFREG = 0o100000
const S_IFDIR = 0o040000

/**
 * An archive that the Linux kernel unpacks as initramfs ("newc"), owned by root. Not compressed: unpacking costs a
 * guest under TCG more than reading.
 * Source: Documentation/driver-api/early-userspace/buffer-format.rst in the kernel.
 */
export function cpioArchive(entries: readonly CpioEntry[]): Buffer {
  const parts: Buffer[] = []
  const add = (path: string, mode: number, content: Buffer, index: number) => {
    const name = Buffer.from(`${path}\0`)
    // inode, mode, uid, gid, links, mtime, size, device (2), special device (2), name size, checksum
    const fields = [index, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length, 0]
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`
    parts.push(padded(Buffer.concat([Buffer.from(header), name])), padded(content))
  }
  entries.forEach(({ path, mode, content }, index) => {
    if (content === undefined) add(path, S_IFDIR | mode, Buffer.alloc(0), index + 1)
    else add(path, S_IFREG | mode, Buffer.from(content), index + 1)
  })
  add('TRAILER!!!', 0, Buffer.alloc(0), 0)
  return Buffer.concat(parts)
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)])
}
