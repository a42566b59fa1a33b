/**
 * The nft rules of a network as a value, and the script that makes one such value of another. Pure.
 *
 * A script names only what differs, so that a change costs what it changes and not what there is. nft applies it as one
 * transaction: a packet meets the rules before it or those after it.
 */

/** What our tables are called, in each of their families. */
export const FILTER_TABLE = 'novella'
export const FILTER_FAMILIES = ['bridge', 'inet'] as const
export type Family = (typeof FILTER_FAMILIES)[number]

export type Part =
  /** `hook` makes it a base chain; it never changes. */
  | { kind: 'chain'; hook?: string; rules: readonly string[] }
  /** Addresses and prefixes that do not overlap. */
  | { kind: 'set'; type: string; elements: readonly string[] }
  /** Key → verdict. */
  | { kind: 'map'; type: string; elements: ReadonlyMap<string, string> }

/** Parts by family and name, as `inet forward`. */
export type Ruleset = ReadonlyMap<string, Part>

/** How many elements stand in one command: nft reads a line whole. */
const ELEMENTS_A_COMMAND = 1_000

/** Replaces both tables, whatever is in them, for `nft -f -`. */
export function replaceScript(ruleset: Ruleset): string {
  const tables = FILTER_FAMILIES.map((family) => `table ${family} ${FILTER_TABLE}`)
  // Named once before, so that deleting them never fails.
  const anew = tables.flatMap((table) => [`add ${table}`, `delete ${table}`, `add ${table}`])
  return [...anew, changeScript(new Map(), ruleset)].join('\n')
}

/** Makes of `before` what `after` says; empty when both say the same. */
export function changeScript(before: Ruleset, after: Ruleset): string {
  const changed = [...after].filter(([name, part]) => before.get(name) !== part)
  const gone = [...before].filter(([name]) => !after.has(name))
  const lines = [
    ...changed.filter(([name]) => !before.has(name)).map(declare),
    ...changed.flatMap(([name, part]) => fill(name, before.get(name), part)),
    ...gone.filter(([, { kind }]) => kind === 'chain').map(([name]) => `flush chain ${at(name)}`),
    ...gone.filter(([, { kind }]) => kind === 'map').map(([name]) => `delete map ${at(name)}`),
    ...gone.filter(([, { kind }]) => kind === 'chain').map(([name]) => `delete chain ${at(name)}`),
    ...gone.filter(([, { kind }]) => kind === 'set').map(([name]) => `delete set ${at(name)}`),
  ]
  return lines.map((line) => `${line}\n`).join('')
}

/** `inet forward` as nft addresses it. */
const at = (name: string): string => name.replace(' ', ` ${FILTER_TABLE} `)

function declare([name, part]: [string, Part]): string {
  if (part.kind === 'set') return `add set ${at(name)} { type ${part.type}; flags interval; }`
  if (part.kind === 'map') return `add map ${at(name)} { type ${part.type} : verdict; }`
  return `add chain ${at(name)}${part.hook === undefined ? '' : ` { ${part.hook} }`}`
}

function fill(name: string, before: Part | undefined, after: Part): string[] {
  if (after.kind === 'chain') {
    const known = before?.kind === 'chain' ? before.rules : []
    if (isSame(known, after.rules)) return []
    const flush = known.length > 0 ? [`flush chain ${at(name)}`] : []
    return [...flush, ...after.rules.map((rule) => `add rule ${at(name)} ${rule}`)]
  }
  if (after.kind === 'set') {
    const known = before?.kind === 'set' ? before.elements : []
    if (isSame(known, after.elements)) return []
    const flush = known.length > 0 ? [`flush set ${at(name)}`] : []
    return [...flush, ...elementCommands('add', name, after.elements)]
  }
  const known: ReadonlyMap<string, string> = before?.kind === 'map' ? before.elements : new Map()
  const differs = ([key, verdict]: [string, string], other: ReadonlyMap<string, string>) => other.get(key) !== verdict
  return [
    ...elementCommands('delete', name, [...known].filter((entry) => differs(entry, after.elements)).map(entryText)),
    ...elementCommands('add', name, [...after.elements].filter((entry) => differs(entry, known)).map(entryText)),
  ]
}

const entryText = ([key, verdict]: [string, string]): string => `${key} : ${verdict}`

function elementCommands(verb: 'add' | 'delete', name: string, elements: readonly string[]): string[] {
  const commands: string[] = []
  for (let first = 0; first < elements.length; first += ELEMENTS_A_COMMAND) {
    const some = elements.slice(first, first + ELEMENTS_A_COMMAND)
    commands.push(`${verb} element ${at(name)} { ${some.join(', ')} }`)
  }
  return commands
}

const isSame = (a: readonly string[], b: readonly string[]): boolean =>
  a === b || (a.length === b.length && a.every((line, index) => line === b[index]))
