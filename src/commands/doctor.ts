import { readConfig } from '../config.ts'
import { lookAtDisks } from './doctor-disks.ts'
import { tryKernel } from './doctor-kernel.ts'
import { lookAtMachine } from './doctor-machine.ts'
import { exitCodeOf, type Finding, reportLines } from './doctor-report.ts'
import { lookAtUplink } from './doctor-uplink.ts'

/** Flags of this command alone. */
const FLAGS = ['--json', '--remove']

/**
 * Prints what this machine has and lacks for real guests, and which files of the data directory belong to nothing, a
 * line each; JSON with `--json`. Changes nothing and leaves nothing behind, but that `--remove` removes those files.
 * @returns 0 when nothing that is needed is missing, else 1.
 */
export async function doctor(args: readonly string[]): Promise<number> {
  const { config } = readConfig(
    args.filter((arg) => !FLAGS.includes(arg)),
    process.env,
  )
  const findings: Finding[] = [
    ...(await lookAtMachine(config)),
    ...(await tryKernel()),
    ...(await lookAtUplink(config.uplink)),
    ...(await lookAtDisks(config, args.includes('--remove'))),
  ]
  if (args.includes('--json')) console.log(JSON.stringify(findings, null, 2))
  else for (const line of reportLines(findings)) console.log(line)
  return exitCodeOf(findings)
}
