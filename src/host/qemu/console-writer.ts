/**
 * What writes a guest's console down, and keeps it short whether a Novella runs or not.
 *
 *   QEMU ──(pipe)──► writer ──► console.log ──(full)──► console.older.log
 *
 * QEMU itself would append to a file without end. So its log is a named pipe, and a small process of its own reads that
 * for as long as the guest runs: it outlives this process as QEMU does, and ends with QEMU. It is under the guest's own
 * limits, so a guest that floods its console spends its own share of the machine. Measured: 0.5 MB of memory for each,
 * beside 200 for the guest. A writer that was killed is missed within a second, and replaced.
 *
 * A writer that cannot write, on a full disk for instance, drops what comes and tries again with the next bytes: the
 * pipe must never fill up, for then the guest would stand still.
 */
import { spawn } from 'node:child_process'
import { closeSync, constants, openSync, rmSync } from 'node:fs'
import { COMMAND_ENV, findProgram, run } from '../run-program.ts'
import { CONSOLE_KEPT_BYTES } from './console-log.ts'
import type { ServerFiles } from './server-files.ts'

const MKFIFO_LIMIT_MS = 10_000

/** Arguments: the log, the older log, and how many bytes the log may have before it becomes the older one. */
const WRITER = `
  umask 077;
  my ($log, $older, $most) = @ARGV;
  my $out;
  while (1) {
    my $length = sysread STDIN, my $bytes, 65536;
    next if !defined $length && $! == 4;
    last if !$length;
    if ($out && (-s $out) + $length > $most) { rename $log, $older; undef $out }
    if (!$out) { open $out, '>>', $log or undef $out }
    syswrite $out, $bytes if $out;
  }
`

/** Makes the pipe of a guest that is about to start; one of an earlier start is not used again. */
export async function makeConsolePipe({ consolePipe }: ServerFiles): Promise<void> {
  rmSync(consolePipe, { force: true })
  await run([findProgram('mkfifo') ?? 'mkfifo', '-m', '600', consolePipe], { timeoutMs: MKFIFO_LIMIT_MS })
}

/**
 * Starts a writer on the guest's pipe, and answers its process id and the end that is QEMU's: to be closed here once
 * QEMU has it. The writer ends when nobody holds that end any more.
 * @throws Error of the system call that failed.
 */
export function startConsoleWriter(files: ServerFiles): { pid: number | undefined; writeEnd: number } {
  // Both ways at first: opening one end alone waits for the other.
  const both = openSync(files.consolePipe, 'r+')
  try {
    const readEnd = openSync(files.consolePipe, 'r')
    try {
      closeSync(openSync(files.consoleLog, 'a', 0o600))
      const args = [files.consoleLog, files.olderConsoleLog, String(CONSOLE_KEPT_BYTES)]
      const writer = spawn(findProgram('perl') ?? 'perl', ['-e', WRITER, '--', ...args], {
        cwd: '/',
        env: { ...COMMAND_ENV },
        detached: true,
        stdio: [readEnd, 'ignore', 'ignore'],
      })
      writer.on('error', () => {})
      writer.unref()
      return { pid: writer.pid, writeEnd: openSync(files.consolePipe, 'w') }
    } finally {
      closeSync(readEnd)
    }
  } finally {
    closeSync(both)
  }
}

/**
 * Whether somebody reads the guest's pipe; undefined when it has none: its QEMU writes the log itself, which guests of
 * the first Novella do.
 */
export function hasConsoleWriter({ consolePipe }: ServerFiles): boolean | undefined {
  try {
    closeSync(openSync(consolePipe, constants.O_WRONLY | constants.O_NONBLOCK))
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENXIO') return false
    if (code === 'ENOENT') return undefined
    throw error
  }
}

/** Gives a guest that runs a writer again when it has lost its own; answers the new one's process id. */
export function replaceConsoleWriter(files: ServerFiles): number | undefined {
  if (hasConsoleWriter(files) !== false) return undefined
  const { pid, writeEnd } = startConsoleWriter(files)
  closeSync(writeEnd)
  return pid
}
