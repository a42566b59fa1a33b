/**
 * Every setting of Novella in one table. Nothing else reads the environment or the command line.
 * What wins, in this order: the flag, the environment, `novella.toml` (in the data directory, or where `--config` says),
 * the default.
 */
import { existsSync, readFileSync } from 'node:fs'
import { availableParallelism, homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { parse as parseToml } from 'smol-toml'
import { UPLINK_FORM } from './host/linux-network/uplink-setting.ts'

type Kind = 'text' | 'path' | 'whole' | 'number' | 'flag'

interface Setting<Value> {
  kind: Kind
  /** The words a text may be; any when absent. */
  choices?: readonly string[]
  /** What a text must look like, in a pattern and in words; anything when absent. */
  form?: { pattern: RegExp; words: string }
  default: Value
  help: string
}

const isRoot = process.getuid?.() === 0
const text = (byDefault: string, help: string): Setting<string> => ({ kind: 'text', default: byDefault, help })
const path = (byDefault: string, help: string): Setting<string> => ({ kind: 'path', default: byDefault, help })
const whole = (byDefault: number, help: string): Setting<number> => ({ kind: 'whole', default: byDefault, help })
const number = (byDefault: number, help: string): Setting<number> => ({ kind: 'number', default: byDefault, help })
const flag = (byDefault: boolean, help: string): Setting<boolean> => ({ kind: 'flag', default: byDefault, help })
const url = (schemes: string[], byDefault: string, help: string): Setting<string> => ({
  ...text(byDefault, help),
  form: {
    pattern: new RegExp(`^$|^(${schemes.join('|')})://\\S+$`),
    words: `empty, or a URL that begins with ${schemes[0]}://`,
  },
})
const choice = <const C extends string>(choices: readonly C[], byDefault: C, help: string): Setting<C> => ({
  kind: 'text',
  choices,
  default: byDefault,
  help,
})

/** The settings: the name in code; the flag, the variable and the key in the file follow from it. */
export const SETTINGS = {
  data: path(
    isRoot ? '/var/lib/novella' : join(homedir(), '.local/share/novella'),
    'directory that holds everything: database, disks, keys, logs',
  ),
  cache: path(
    isRoot ? '/var/cache/novella' : join(homedir(), '.cache/novella'),
    'directory for what can be made again: the built-in image',
  ),
  listen: text('127.0.0.1:8774', 'address and port of the API and the web page'),
  publicUrl: url(
    ['https', 'http'],
    '',
    'scheme and host that links begin with; empty: those of the request. Set it behind a proxy on this ' +
      'machine, which then also says by X-Forwarded-For who asks; without it that header counts for nothing',
  ),
  driver: choice(['qemu', 'memory'], 'qemu', 'what runs servers: real guests, or a pretence in memory for tests'),
  firstServer: flag(true, 'boot one server on the first start'),
  database: url(['postgres', 'postgresql'], '', 'postgres:// URL; empty: SQLite in the data directory'),
  region: text('bj1', 'name of the region in the catalogue'),
  hostName: text('', 'name of this compute host; empty: the machine’s at the first start, kept since'),
  hypervisorSuffix: text('', 'what OS-EXT-SRV-ATTR:hypervisor_hostname adds to the host name'),
  availabilityZone: text('nova', 'availability zone of this host'),
  accelerator: choice(['auto', 'tcg', 'kvm'], 'auto', 'how guests run; auto times both and keeps the faster'),
  concurrentBoots: whole(availableParallelism(), 'guests that boot at once; the others wait their turn'),
  qemuUser: text('novella-qemu', 'the unprivileged user that QEMU runs as'),
  uplink: {
    ...text(
      'none',
      'how external networks meet the world: none; nat, by this machine’s own address; or bridge=NAME, by a bridge of ' +
        'this machine that leads to a network which has the addresses of the external subnet to give',
    ),
    form: { pattern: UPLINK_FORM, words: 'none, nat, or bridge=NAME' },
  },
  cpuRatio: number(16, 'virtual CPUs given out for each real one'),
  ramRatio: number(1, 'memory given out for each MiB there is'),
  diskRatio: number(4, 'disk given out for each GiB there is (disks grow as they are written)'),
  quotaServers: whole(100, 'servers a project may have; -1: no limit'),
  quotaVcpus: whole(400, 'virtual CPUs a project may have; -1: no limit'),
  quotaRamMib: whole(204_800, 'memory of all servers of a project, MiB; -1: no limit'),
  quotaKeypairs: whole(100, 'keypairs a user may have; -1: no limit'),
  quotaMetadata: whole(128, 'metadata items a server may have; -1: no limit'),
  quotaImages: whole(100, 'images a project may have; -1: no limit'),
  quotaImageGib: whole(1_000, 'GiB of all images of a project, as they were uploaded; -1: no limit'),
  largestImageGib: whole(1_000, 'GiB that an uploaded image may have, and the disk in it'),
  webDownload: flag(false, 'let users have Novella itself download images from public addresses'),
  webDownloadInside: text(
    '',
    'addresses besides the public ones that images may be downloaded from, with ports and commas between: ' +
      '10.0.0.5:80,10.0.0.6:8443',
  ),
  quotaVolumes: whole(100, 'volumes a project may have; -1: no limit'),
  quotaSnapshots: whole(100, 'volume snapshots a project may have; -1: no limit'),
  quotaVolumeGib: whole(1_000, 'GiB of all volumes and snapshots of a project; -1: no limit'),
  defaultVolumeType: text('ssd', 'type of volumes that wish for none'),
  forceConfigDrive: flag(false, 'give every server a config drive, whether it wishes for one or not'),
  vendorData: text('', 'file with a JSON object that every guest finds as its vendor data; empty: none'),
  externalCidr: {
    ...text(
      '172.24.4.0/24',
      'addresses of the external network BGP on the first start: its gateway is the first of them',
    ),
    form: {
      pattern: /^((25[0-5]|2[0-4]\d|1?\d?\d)(\.(?!\/)|(?=\/))){4}\/([89]|1\d|2[0-8])$/,
      words: 'an IPv4 network of 16 addresses or more, for example 172.24.4.0/24',
    },
  },
  defaultRules: choice(
    ['uos', 'neutron'],
    'uos',
    'what a new security group allows: uos: everything out by IPv4, ping, ssh and web in; neutron: everything out, and ' +
      'into the group `default` what its own members send',
  ),
  tokenMinutes: whole(720, 'how long a token lasts, in minutes'),
  consoleMinutes: whole(10, 'how long a console link can be opened, in minutes'),
  resumeGuests: flag(true, 'after a restart of the machine, start the servers again that ran'),
  log: text('', 'file for the log; `-` for standard error; empty: novella.log in the data directory'),
  logLevel: choice(['trace', 'debug', 'info', 'warn', 'error'], 'info', 'the least important thing that is logged'),
} satisfies Record<string, Setting<string | number | boolean>>

export type Config = { [Name in keyof typeof SETTINGS]: (typeof SETTINGS)[Name]['default'] }
export type Source = 'flag' | 'environment' | 'file' | 'default'

/** A setting has a value it cannot have; the message names it, where it came from and what it may be. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
/** `quotaServers` → `--quota-servers`. */
export const flagOf = (name: string): string => `--${kebab(name)}`
/** `quotaServers` → `NOVELLA_QUOTA_SERVERS`. */
export const variableOf = (name: string): string => `NOVELLA_${kebab(name).replaceAll('-', '_').toUpperCase()}`
/** `quotaServers` → `quota_servers`. */
export const keyOf = (name: string): string => kebab(name).replaceAll('-', '_')

/**
 * Reads all settings.
 * @param args what follows the subcommand, for example `['--data', '/srv/novella', '--no-first-server']`.
 * @returns the values, and for each where it came from.
 * @throws ConfigError for an unknown flag or key, or an impossible value.
 */
export function readConfig(
  args: readonly string[],
  env: Record<string, string | undefined>,
): { config: Config; sources: Record<keyof Config, Source> } {
  const flags = readFlags(args)
  const given = (name: string) => flags.get(name) ?? env[variableOf(name)]
  const dataDir = resolve(String(given('data') ?? SETTINGS.data.default))
  const file = readFile(flags.get('config') ?? join(dataDir, 'novella.toml'), flags.has('config'))

  const config: Record<string, unknown> = {}
  const sources: Record<string, Source> = {}
  for (const [name, setting] of Object.entries(SETTINGS) as [string, Setting<unknown>][]) {
    const fromEnv = env[variableOf(name)]
    const [source, raw, label]: [Source, unknown, string] = flags.has(name)
      ? ['flag', flags.get(name), flagOf(name)]
      : fromEnv !== undefined
        ? ['environment', fromEnv, variableOf(name)]
        : file.has(name)
          ? ['file', file.get(name), `${keyOf(name)} in novella.toml`]
          : ['default', setting.default, name]
    config[name] = source === 'default' ? raw : readValue(setting, raw, label)
    sources[name] = source
  }
  return { config: config as Config, sources: sources as Record<keyof Config, Source> }
}

function readFlags(args: readonly string[]): Map<string, string> {
  const byFlag = new Map([...Object.keys(SETTINGS), 'config'].map((name) => [flagOf(name), name]))
  const flags = new Map<string, string>()
  for (let i = 0; i < args.length; i++) {
    const [word = '', inline] = (args[i] ?? '').split(/=(.*)/s)
    const name = byFlag.get(word)
    const negated = word.startsWith('--no-') ? byFlag.get(`--${word.slice(5)}`) : undefined
    const isFlag = (n: string) => (SETTINGS as Record<string, Setting<unknown>>)[n]?.kind === 'flag'
    if (negated && isFlag(negated)) {
      flags.set(negated, 'false')
    } else if (name && isFlag(name)) {
      flags.set(name, inline ?? 'true')
    } else if (name) {
      const value = inline ?? args[++i]
      if (value === undefined) throw new ConfigError(`${word} needs a value: ${word} VALUE.`)
      flags.set(name, value)
    } else {
      throw new ConfigError(`There is no setting ${word}. 'novella config' lists them all.`)
    }
  }
  return flags
}

function readFile(path: string, isNamed: boolean): Map<string, unknown> {
  if (!existsSync(path)) {
    if (isNamed) throw new ConfigError(`--config: there is no file ${path}.`)
    return new Map()
  }
  const byKey = new Map(Object.keys(SETTINGS).map((name) => [keyOf(name), name]))
  let parsed: Record<string, unknown>
  try {
    parsed = parseToml(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new ConfigError(`${path} is not TOML: ${(error as Error).message}`, { cause: error })
  }
  return new Map(
    Object.entries(parsed).map(([key, value]) => {
      const name = byKey.get(key)
      if (!name) throw new ConfigError(`${path}: there is no setting ${key}. 'novella config' lists them all.`)
      return [name, value]
    }),
  )
}

function readValue(setting: Setting<unknown>, raw: unknown, label: string): unknown {
  const wrong = (what: string) => new ConfigError(`${label} is ${JSON.stringify(raw)}; it must be ${what}.`)
  const word = String(raw).trim()
  switch (setting.kind) {
    case 'flag':
      if (/^(1|true|yes|on)$/i.test(word)) return true
      if (/^(0|false|no|off|)$/i.test(word)) return false
      throw wrong('true or false')
    case 'whole':
      if (!/^-?\d+$/.test(word)) throw wrong('a whole number')
      return Number(word)
    case 'number':
      if (!/^\d+(\.\d+)?$/.test(word)) throw wrong('a number')
      return Number(word)
    case 'path':
      if (word === '') throw wrong('a path')
      return resolve(word)
    case 'text':
      if (typeof raw !== 'string') throw wrong('a text')
      if (setting.choices && !setting.choices.includes(word)) throw wrong(setting.choices.join(', '))
      if (setting.form && !setting.form.pattern.test(word)) throw wrong(setting.form.words)
      return word
  }
}

/**
 * Host and port of `listen`.
 * @throws ConfigError when it is not `host:port`.
 */
export function readListen(listen: string): { host: string; port: number } {
  const [, host, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(listen)?.filter((part) => part !== undefined) ?? []
  if (!host || !port || Number(port) > 65_535) {
    throw new ConfigError(`listen is "${listen}"; it must be address:port, for example 127.0.0.1:8774.`)
  }
  return { host, port: Number(port) }
}
