import { accessSync, constants, existsSync } from 'node:fs'
import { readFile, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Config } from '../config.ts'
import { findProgram } from '../host/run-program.ts'
import { type Finding, missing, ok, warn } from './doctor-report.ts'
import { FOR_GUESTS } from './system-packages.ts'

/** Below this a guest of 512 MiB does not start beside Novella itself, MiB. */
const LITTLE_MEMORY_MIB = 1_024
/** Below these: the built-in image cannot be made; a few guests fill it. MiB. */
const NO_SPACE_MIB = 512
const LITTLE_SPACE_MIB = 5_120

/** Rights, programs, memory, space and the accelerator. */
export async function lookAtMachine(config: Pick<Config, 'data'>): Promise<Finding[]> {
  return [lookAtRights(), ...lookAtPrograms(), await lookAtMemory(), await lookAtSpace(config.data), lookAtKvm()]
}

function lookAtRights(): Finding {
  const [name, note] = ['root', 'network namespaces, and users for guests']
  return process.getuid?.() === 0 ? ok(name, note) : missing(name, note, 'run Novella as root (sudo)')
}

function lookAtPrograms(): Finding[] {
  return FOR_GUESTS.map(({ program, package: name }) => {
    const isThere = program.includes('/') ? existsSync(program) : findProgram(program) !== undefined
    const note = `from the package ${name}`
    return isThere
      ? ok(program, note)
      : missing(program, note, `apt-get install ${name} ('novella up' does it as root)`)
  })
}

async function lookAtMemory(): Promise<Finding> {
  const text = await readFile('/proc/meminfo', 'utf8').catch(() => '')
  const mib = Math.floor(Number(/^MemAvailable:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) / 1024)
  const note = `${mib} MiB free for guests`
  return mib < LITTLE_MEMORY_MIB
    ? warn('memory', note, 'free some; a guest takes its own and about 128 MiB')
    : ok('memory', note)
}

async function lookAtSpace(directory: string): Promise<Finding> {
  let path = directory
  while (!existsSync(path) && path !== dirname(path)) path = dirname(path)
  const { bavail, bsize } = await statfs(path)
  const mib = Math.floor((bavail * bsize) / 1024 ** 2)
  const note = `${mib} MiB free below ${directory}`
  const advice = 'free some, or choose another place with --data'
  if (mib < NO_SPACE_MIB) return missing('disk', note, advice)
  return mib < LITTLE_SPACE_MIB ? warn('disk', note, advice) : ok('disk', note)
}

function lookAtKvm(): Finding {
  const [name, slow] = ['/dev/kvm', 'without it guests run in software (TCG), several times slower']
  if (!existsSync(name)) return warn(name, slow, 'turn on virtualization in the firmware, or nested virtualization')
  try {
    accessSync(name, constants.R_OK | constants.W_OK)
    return ok(name, 'is there; accelerator = auto times it, and takes TCG where that is quicker')
  } catch {
    return warn(name, slow, 'it is there and cannot be opened: run Novella as root')
  }
}
