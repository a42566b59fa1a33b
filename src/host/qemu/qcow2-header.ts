import { open } from 'node:fs/promises'

/** What the first bytes of a qcow2 file say. */
export interface Qcow2Header {
  virtualBytes: number
  /** The file below this overlay as written in the header; undefined when it stands alone. */
  backingFile: string | undefined
  /** Whether its data lie in another file, which a file of ours never has. */
  hasDataFile: boolean
}

const FIXED_BYTES = 80
const MAGIC = 0x514649fb
const EXTERNAL_DATA = 1n << 2n
const LONGEST_BACKING_FILE = 1023

/**
 * Reads a qcow2 header without any tool.
 * @throws Error when the file is not qcow2 version 2 or 3. A missing file fails with ENOENT.
 * Source: docs/interop/qcow2.txt of QEMU.
 */
export async function readQcow2Header(path: string): Promise<Qcow2Header> {
  await using file = await open(path, 'r')
  const { buffer, bytesRead } = await file.read(Buffer.alloc(FIXED_BYTES), 0, FIXED_BYTES, 0)
  if (bytesRead < 72 || buffer.readUInt32BE(0) !== MAGIC) throw new Error(`${path} is not a qcow2 file`)
  const version = buffer.readUInt32BE(4)
  if (version !== 2 && version !== 3) throw new Error(`${path} is qcow2 of version ${version}`)
  const nameOffset = buffer.readBigUInt64BE(8)
  const nameBytes = buffer.readUInt32BE(16)
  let backingFile: string | undefined
  if (nameOffset !== 0n) {
    if (nameBytes > LONGEST_BACKING_FILE) throw new Error(`${path} names a backing file of ${nameBytes} bytes`)
    const name = await file.read(Buffer.alloc(nameBytes), 0, nameBytes, Number(nameOffset))
    backingFile = name.buffer.toString('utf8')
  }
  return {
    virtualBytes: Number(buffer.readBigUInt64BE(24)),
    backingFile,
    hasDataFile: version === 3 && (buffer.readBigUInt64BE(72) & EXTERNAL_DATA) !== 0n,
  }
}
