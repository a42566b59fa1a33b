import { type Config, flagOf, keyOf, readConfig, SETTINGS, variableOf } from '../config.ts'

/**
 * Prints all settings with the value in force and where it came from: a table for people, tab-separated when the
 * output is no terminal, JSON with `--json`.
 */
export function printConfig(args: readonly string[]): void {
  const asJson = args.includes('--json')
  const { config, sources } = readConfig(
    args.filter((arg) => arg !== '--json'),
    process.env,
  )
  const rows = (Object.keys(SETTINGS) as (keyof Config)[]).map((name) => ({
    key: keyOf(name),
    value: shown(name, config[name]),
    source: sources[name],
    flag: flagOf(name),
    variable: variableOf(name),
    help: SETTINGS[name].help,
  }))
  if (asJson) {
    console.log(JSON.stringify(rows, null, 2))
  } else if (!process.stdout.isTTY) {
    for (const row of rows) console.log([row.key, row.value, row.source].join('\t'))
  } else {
    const width = Math.max(...rows.map((row) => row.key.length))
    const valueWidth = Math.min(40, Math.max(...rows.map((row) => String(row.value).length)))
    for (const row of rows) {
      console.log(
        `${row.key.padEnd(width)}  ${String(row.value).padEnd(valueWidth)}  ${row.source.padEnd(11)}  ${row.help}`,
      )
    }
  }
}

/** A database URL may hold a password, which a terminal is no place for. */
function shown(name: keyof Config, value: Config[keyof Config]): Config[keyof Config] {
  return name === 'database' ? String(value).replace(/(\/\/[^:/@]*):[^@]*@/, '$1:…@') : value
}
