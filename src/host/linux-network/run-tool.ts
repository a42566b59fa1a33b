import { spawn } from 'node:child_process'
import { COMMAND_ENV, CommandError } from '../qemu/run.ts'

/** Longest a tool of the kernel's network may take, in milliseconds; they take a few. */
const TOOL_TIMEOUT_MS = 20_000

/**
 * Runs a program without a shell and answers what it printed.
 * @param input given on its standard input.
 * @throws CommandError when it cannot start, exits with anything but 0, or hangs.
 */
export function runTool(program: string, args: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const argv = [program, ...args]
    const child = spawn(program, args, { env: { ...COMMAND_ENV }, timeout: TOOL_TIMEOUT_MS, killSignal: 'SIGKILL' })
    let output = ''
    let complaint = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaint += text
    })
    child.stdin.on('error', () => {}) // it may exit without reading; its exit code tells
    child.on('error', (cause) => reject(new CommandError(`${program} could not be started`, argv, '', { cause })))
    child.on('close', (code, signal) => {
      if (code === 0) resolve(output)
      else reject(new CommandError(`${program} ended with ${code ?? signal}`, argv, complaint))
    })
    child.stdin.end(input)
  })
}

/** Runs a program inside a namespace. */
export const runInNamespace = (namespace: string, command: readonly string[], input?: string): Promise<string> =>
  runTool('ip', ['netns', 'exec', namespace, ...command], input)
