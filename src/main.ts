import { printConfig } from './commands/config-command.ts'
import { down } from './commands/down.ts'
import { help } from './commands/help.ts'
import { MissingPackagesError } from './commands/system-packages.ts'
import { up } from './commands/up.ts'
import { ConfigError, readConfig } from './config.ts'
import { NewerDatabaseError } from './db/migrations/migrate.ts'
import { HostError } from './host/host-driver.ts'
import { TinyBuildError } from './images/tiny/run-tool.ts'
import { DataDirectoryError } from './lib/data-directory.ts'
import { VERSION } from './lib/version.ts'

/** Failures whose message is for the person at the terminal; all others are bugs and show where they happened. */
const EXPECTED = [ConfigError, NewerDatabaseError, HostError, DataDirectoryError, MissingPackagesError, TinyBuildError]

const [command = 'help', ...args] = process.argv.slice(2)
try {
  switch (command) {
    case 'up':
      await up(readConfig(args, process.env).config)
      break
    case 'down':
      process.exitCode = await down(args)
      break
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
