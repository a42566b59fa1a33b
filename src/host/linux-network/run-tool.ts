import { run } from '../run-program.ts'

/** Longest a tool of the kernel's network may take, in milliseconds; they take a few. */
const TOOL_TIMEOUT_MS = 20_000

/**
 * Runs a tool of the kernel's network and answers what it printed.
 * @param input given on its standard input.
 * @throws CommandError when it cannot start, exits with anything but 0, or hangs.
 */
export const runTool = (program: string, args: readonly string[], input = ''): Promise<string> =>
  run([program, ...args], { timeoutMs: TOOL_TIMEOUT_MS, input })

/** Runs a program inside a namespace. */
export const runInNamespace = (namespace: string, command: readonly string[], input?: string): Promise<string> =>
  runTool('ip', ['netns', 'exec', namespace, ...command], input)
