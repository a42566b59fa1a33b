/** The filters that are in force in a namespace: whether they are what we put there. */
import { CommandError, run } from '../run-program.ts'
import { FLOW_LIMIT_CHAINS } from './flow-limit.ts'
import { NFT_TIMEOUT_MS } from './namespace.ts'
import { FILTER_FAMILIES, FILTER_TABLE, type Ruleset, replaceScript } from './ruleset.ts'
import { runInNamespace } from './run-tool.ts'

/** Such a group is a megabyte of text. */
const LISTING_LIMIT_BYTES = 64 * 1024 * 1024

const TABLES = FILTER_FAMILIES.map((family) => `table ${family} ${FILTER_TABLE}`)
/** One nft a table: listing two from one script, it knows the first alone (1.0.6). The text is fixed, hence a shell. */
const LIST_TABLES = TABLES.map((table) => `nft --stateless list ${table}`).join(' && ')
const LIST_LIMIT = FLOW_LIMIT_CHAINS.map((chain) => `nft --stateless list chain ${chain}`).join(' && ')

/** Whether both tables of our filters are there; their chains and rules are not looked at. */
export async function hasFilters(namespace: string): Promise<boolean> {
  const tables = (await runInNamespace(namespace, ['nft', 'list', 'tables'])).split('\n')
  return TABLES.every((table) => tables.includes(table))
}

/** Whether the limit of flow-limit.ts is there. */
export async function hasFlowLimit(namespace: string): Promise<boolean> {
  const chains = await list(['ip', 'netns', 'exec', namespace], LIST_LIMIT)
  return chains?.match(/ct count over/g)?.length === 2 * FLOW_LIMIT_CHAINS.length // for each version of IP
}

/** The text of both tables as nft prints them; undefined when one is not there. */
export const readFilters = (namespace: string): Promise<string | undefined> =>
  list(['ip', 'netns', 'exec', namespace], LIST_TABLES)

/**
 * Names of the parts in which the text of a namespace's filters differs from what a ruleset says, as `inet forward`. nft
 * itself is asked how it prints the ruleset, in a namespace that lives as long as the question.
 */
export async function findFilterDrift(text: string | undefined, ruleset: Ruleset): Promise<string[]> {
  if (ruleset.size === 0) return []
  if (text === undefined) return TABLES
  const wanted = await list(['unshare', '--net', '--'], `nft -f - && ${LIST_TABLES}`, replaceScript(ruleset))
  return compareListings(text, wanted ?? '')
}

async function list(inside: string[], command: string, input = ''): Promise<string | undefined> {
  try {
    const options = { timeoutMs: NFT_TIMEOUT_MS, stdoutLimitBytes: LISTING_LIMIT_BYTES, input }
    return await run([...inside, '/bin/sh', '-c', command], options)
  } catch (error) {
    if (error instanceof CommandError && error.stderr.includes('No such file or directory')) return undefined
    throw error
  }
}

/** Names of the parts that two listings of nft do not share, in whatever order each has them. Pure. */
export function compareListings(one: string, other: string): string[] {
  const [a, b] = [readParts(one), readParts(other)]
  return [...new Set([...a.keys(), ...b.keys()])].filter((name) => a.get(name) !== b.get(name)).sort()
}

/** By name, as `chain inet forward`: the lines of each part. */
function readParts(listing: string): Map<string, string> {
  const parts = new Map<string, string>()
  let family = ''
  let name = ''
  for (const line of listing.split('\n')) {
    const [, tableFamily] = /^table (\w+) /.exec(line) ?? []
    const [, kind, own] = /^\t(\w+) (\S+) \{$/.exec(line) ?? []
    if (tableFamily !== undefined) family = tableFamily
    else if (own !== undefined) {
      name = `${kind} ${family} ${own}`
      parts.set(name, '')
    } else if (line.startsWith('\t\t')) parts.set(name, `${parts.get(name)}${line}\n`)
  }
  return parts
}
