import { flagOf, SETTINGS } from '../config.ts'

/** What `novella help` prints. */
export function help(): string {
  const few = ['data', 'listen', 'driver', 'firstServer'] as const
  const settings = few.map((name) => {
    const flag = name === 'firstServer' ? '--no-first-server' : `${flagOf(name)} ${name.toUpperCase()}`
    const text = name === 'firstServer' ? 'do not boot a server on the first start' : SETTINGS[name].help
    return `  ${flag.padEnd(24)}${text}`
  })
  return `Novella: a whole compute cloud in one process.

  novella up       start it here, in the foreground; Ctrl-C stops it, servers go on running
  novella down     stop it from elsewhere; with --guests, power the servers off too
  novella test     install what is missing and run every check
  novella doctor   what this machine has and lacks for real guests, and which files belong to nothing;
                   --json for programs, --remove removes such files while Novella is down
  novella edge     run a command as if from outside: novella edge ssh root@FLOATING_IP
  novella image    bring an image of your own: novella image add FILE|URL --name NAME; also list, delete
  novella config   all settings, the value in force, and where it came from
  novella version
  novella help

Settings most often wanted:
${settings.join('\n')}

Each setting is a flag, a variable NOVELLA_…, or a line of novella.toml in the data directory.`
}
