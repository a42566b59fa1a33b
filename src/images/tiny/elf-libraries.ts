/** Which shared libraries a program needs, read from its ELF dynamic section, so no binutils are needed. */
import { readdir, readFile, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { TinyBuildError } from './run-tool.ts'

const PT_LOAD = 1
const PT_DYNAMIC = 2
const PT_INTERP = 3
const DT_NEEDED = 1n
const DT_STRTAB = 5n

export interface ElfNeeds {
  /** File names of libraries, such as `libc.so.6`; empty for a static program. */
  needed: string[]
  /** The loader's absolute path; undefined for a library and a static program. */
  interpreter: string | undefined
}

/**
 * Reads a 64-bit little-endian ELF file.
 * @throws TinyBuildError when it is none.
 * Source: System V ABI, chapters 4 and 5 (elf(5)).
 */
export function readElfNeeds(file: Buffer): ElfNeeds {
  if (file.length < 64 || file.readUInt32BE(0) !== 0x7f454c46 || file[4] !== 2 || file[5] !== 1) {
    throw new TinyBuildError('Building the tiny image: a program that should be x86-64 ELF is not.')
  }
  const tableOffset = Number(file.readBigUInt64LE(32))
  const entrySize = file.readUInt16LE(54)
  const segments = Array.from({ length: file.readUInt16LE(56) }, (_, index) => {
    const at = tableOffset + index * entrySize
    return {
      type: file.readUInt32LE(at),
      offset: Number(file.readBigUInt64LE(at + 8)),
      address: Number(file.readBigUInt64LE(at + 16)),
      size: Number(file.readBigUInt64LE(at + 32)),
    }
  })
  const textAt = (offset: number) => file.toString('latin1', offset, file.indexOf(0, offset))
  const interpreter = segments.find((segment) => segment.type === PT_INTERP)
  const dynamic = segments.find((segment) => segment.type === PT_DYNAMIC)
  const entries: { tag: bigint; value: number }[] = []
  if (dynamic) {
    for (let at = dynamic.offset; at + 16 <= dynamic.offset + dynamic.size; at += 16) {
      entries.push({ tag: file.readBigUInt64LE(at), value: Number(file.readBigUInt64LE(at + 8)) })
    }
  }
  const stringsAddress = entries.find((entry) => entry.tag === DT_STRTAB)?.value ?? 0
  const strings = segments.find(
    ({ type, address, size }) => type === PT_LOAD && stringsAddress >= address && stringsAddress < address + size,
  )
  const stringsOffset = strings ? stringsAddress - strings.address + strings.offset : 0
  return {
    needed: entries.filter((entry) => entry.tag === DT_NEEDED).map((entry) => textAt(stringsOffset + entry.value)),
    interpreter: interpreter && textAt(interpreter.offset),
  }
}

/** Where packages keep libraries, old layout and new. */
const LIBRARY_DIRECTORIES = ['lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu', 'lib', 'usr/lib', 'lib64', 'usr/lib64']

/**
 * Every library that these programs need, at any depth, the loader included: name → file.
 * @param root directory into which the packages were unpacked.
 * @throws TinyBuildError naming the library that no package brought.
 */
export async function findLibraries(root: string, programs: readonly string[]): Promise<Map<string, string>> {
  const available = new Map<string, string>()
  for (const directory of LIBRARY_DIRECTORIES) {
    for (const name of await readdir(join(root, directory)).catch(() => [])) {
      if (!available.has(name)) available.set(name, join(root, directory, name))
    }
  }
  const found = new Map<string, string>()
  const queue = [...programs]
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    const { needed, interpreter } = readElfNeeds(await readFile(file))
    const loader = interpreter?.split('/').at(-1)
    for (const name of loader ? [...needed, loader] : needed) {
      if (found.has(name)) continue
      const path = available.get(name)
      if (!path)
        throw new TinyBuildError(
          `Building the tiny image: no package brought ${name}, which ${file.slice(root.length)} needs.`,
        )
      found.set(name, await realpath(path))
      queue.push(path)
    }
  }
  return found
}
