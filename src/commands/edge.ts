import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { constants } from 'node:os'
import { readConfig } from '../config.ts'
import { readNamespace } from '../host/linux-network/namespace.ts'
import { readEdges } from '../host/linux-network/routers.ts'
import { readUplink } from '../host/linux-network/uplink-setting.ts'

/**
 * Runs a command as if it stood on the external network, outside of all routers: floating IPs are reached from there
 * with whatever uplink. Flags of Novella come before the command.
 * @returns the command's exit code; 1, with a word on standard error, when there is no edge to run it on.
 */
export async function runOnEdge(args: readonly string[]): Promise<number> {
  const { flags, command } = splitArguments(args)
  const { config } = readConfig(flags, process.env)
  const refuse = (why: string) => {
    console.error(`novella: ${why}`)
    return 1
  }
  const [program, ...rest] = command
  if (program === undefined) return refuse('edge needs a command: novella edge ssh root@FLOATING_IP')
  if (process.getuid?.() !== 0) return refuse('edge needs root, to enter a network namespace. Try it with sudo.')
  const uplink = readUplink(config.uplink)
  if (uplink.kind === 'bridge') {
    return refuse(`with uplink = bridge=${uplink.bridge} the outside is your own network: run ${program} there.`)
  }
  const edges = existsSync(config.data) ? await readEdges(await realpath(config.data)) : []
  for (const { namespace } of edges) {
    if ((await readNamespace(namespace)) !== undefined) return await runInside(namespace, program, rest)
  }
  return refuse(
    `no edge is there for ${config.data}. It comes with the first server, and goes with the last; after a restart of ` +
      'this machine it comes once Novella is up.',
  )
}

/** What comes before the first word that is no flag is Novella's; `--` ends it too. */
export function splitArguments(args: readonly string[]): { flags: string[]; command: string[] } {
  let at = 0
  while (args[at]?.startsWith('--') && args[at] !== '--') {
    at += args[at]?.includes('=') || args[at]?.startsWith('--no-') ? 1 : 2
  }
  return { flags: args.slice(0, at), command: args.slice(args[at] === '--' ? at + 1 : at) }
}

function runInside(namespace: string, program: string, args: readonly string[]): Promise<number> {
  const child = spawn('ip', ['netns', 'exec', namespace, program, ...args], { stdio: 'inherit' })
  // Ctrl-C is for the command, which the terminal tells itself.
  const ignore = () => {}
  process.on('SIGINT', ignore)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      process.off('SIGINT', ignore)
      resolve(code ?? 128 + (signal ? constants.signals[signal] : 0))
    })
  })
}
