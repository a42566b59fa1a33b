import { readConfig } from '../config.ts'
import { tryKernel } from './doctor-kernel.ts'
import { lookAtMachine } from './doctor-machine.ts'
import { exitCodeOf, type Finding, reportLines } from './doctor-report.ts'
import { lookAtUplink } from './doctor-uplink.ts'

/**
 * Prints what this machine has and lacks for real guests, a line each; JSON with `--json`. Changes nothing, and leaves
 * nothing behind.
 * @returns 0 when nothing that is needed is missing, else 1.
 */
export async function doctor(args: readonly string[]): Promise<number> {
  const { config } = readConfig(
    args.filter((arg) => arg !== '--json'),
    process.env,
  )
  const findings: Finding[] = [
    ...(await lookAtMachine(config)),
    ...(await tryKernel()),
    ...(await lookAtUplink(config.uplink)),
  ]
  if (args.includes('--json')) console.log(JSON.stringify(findings, null, 2))
  else for (const line of reportLines(findings)) console.log(line)
  return exitCodeOf(findings)
}
