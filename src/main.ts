import { printConfig } from './commands/config-command.ts'
import { down } from './commands/down.ts'
import { help } from './commands/help.ts'
import { MissingPackagesError } from './commands/system-packages.ts'
import { ConfigError, readConfig } from './config.ts'
import { DatabaseUnavailableError } from './db/database-outage.ts'
import { NewerDatabaseError } from './db/newer-database-error.ts'
import { HostError } from './host/host-driver.ts'
import { TinyBuildError } from './images/tiny/run-tool.ts'
import { DataDirectoryError } from './lib/data-directory.ts'
import { VERSION } from './lib/version.ts'

/** Failures whose message is for the person at the terminal; all others are bugs and show where they happened. */
const EXPECTED = [
  ConfigError,
  DatabaseUnavailableError,
  NewerDatabaseError,
  HostError,
  DataDirectoryError,
  MissingPackagesError,
  TinyBuildError,
]

const [command = 'help', ...args] = process.argv.slice(2)
try {
  switch (command) {
    case 'up': {
      const { config } = readConfig(args, process.env)
      // The rest of Novella is only loaded by the command that needs it: the others answer at once.
      const { up } = await import('./commands/up.ts')
      await up(config)
      break
    }
    case 'down':
      process.exitCode = await down(args)
      break
    case 'doctor': {
      const { doctor } = await import('./commands/doctor.ts')
      process.exitCode = await doctor(args)
      break
    }
    case 'edge': {
      const { runOnEdge } = await import('./commands/edge.ts')
      process.exitCode = await runOnEdge(args)
      break
    }
    case 'image': {
      const { imageCommand } = await import('./commands/image-command.ts')
      process.exitCode = await imageCommand(args, process.env)
      break
    }
    case 'config':
      printConfig(args)
      break
    case 'version':
      console.log(`novella ${VERSION}`)
      break
    case 'help':
      console.log(help())
      break
    default:
      console.error(`novella: there is no command '${command}'.\n\n${help()}`)
      process.exitCode = 2
  }
} catch (error) {
  const isExpected = EXPECTED.some((kind) => error instanceof kind)
  console.error(isExpected ? `novella: ${(error as Error).message}` : error)
  process.exitCode = 1
}
