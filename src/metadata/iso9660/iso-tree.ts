/**
 * The directories of an ISO 9660 image, as ECMA-119 wants them: numbered level by level, members in the order of their
 * identifiers, each identifier once. Pure.
 */

/** A file of the image. */
export interface IsoFile {
  /** `openstack/latest/meta_data.json`: names of letters, digits, `.`, `_`, `@`, `+` and `-`, with slashes between. */
  path: string
  content: Buffer
}

export interface IsoDirectory {
  /** '' for the root. */
  name: string
  directories: IsoDirectory[]
  files: { name: string; file: IsoFile }[]
}

/** How many directories may lie in each other, the root and the file's own among them. Source: ECMA-119, 6.8.2.1. */
const MOST_LEVELS = 8
/** As Joliet allows, in UTF-16 units. Source: Joliet Specification, "Joliet Directory Depth and File Name Length". */
const NAME = /^[\w.@+-]{1,64}$/

/**
 * The directories that the paths of the files lie in.
 * @throws Error for a name that cannot be in an image, a path taken twice, or directories too deep in each other.
 */
export function readTree(files: readonly IsoFile[]): IsoDirectory {
  const root: IsoDirectory = { name: '', directories: [], files: [] }
  for (const file of files) {
    const parts = file.path.split('/')
    const name = parts.pop() ?? ''
    if (parts.length >= MOST_LEVELS) throw new Error(`${file.path} lies too deep for ISO 9660.`)
    const wrong = [...parts, name].find((part) => !NAME.test(part) || part === '.' || part === '..')
    if (wrong !== undefined) throw new Error(`${JSON.stringify(wrong)} cannot be a name in an ISO 9660 image.`)
    const directory = parts.reduce(enter, root)
    if (directory.files.some((one) => one.name === name) || directory.directories.some((one) => one.name === name)) {
      throw new Error(`${file.path} is taken already.`)
    }
    directory.files.push({ name, file })
  }
  return root
}

function enter(parent: IsoDirectory, name: string): IsoDirectory {
  if (parent.files.some((one) => one.name === name)) throw new Error(`${name} is a file already.`)
  const known = parent.directories.find((one) => one.name === name)
  if (known) return known
  const made: IsoDirectory = { name, directories: [], files: [] }
  parent.directories.push(made)
  return made
}

/** How a hierarchy of an image calls things: the plain one or Joliet's. */
export interface Naming {
  /** The identifiers of a directory's members, in their order. */
  identifiers(names: readonly { name: string; isDirectory: boolean }[]): Buffer[]
  /** Negative when the first comes first. */
  compare(a: Buffer, b: Buffer): number
}

export interface Member {
  identifier: Buffer
  name: string
  /** Either is set. */
  directory: NumberedDirectory | undefined
  file: IsoFile | undefined
}

export interface NumberedDirectory {
  /** From 1, as path tables count. */
  number: number
  identifier: Buffer
  parent: NumberedDirectory
  /** In the order of their identifiers. */
  members: Member[]
}

const ROOT_IDENTIFIER = Buffer.from([0])

/** All directories in the order of path tables: level by level, and within one by parent and identifier. */
export function numberDirectories(root: IsoDirectory, { identifiers, compare }: Naming): NumberedDirectory[] {
  const first = { number: 1, identifier: ROOT_IDENTIFIER, members: [] } as Partial<NumberedDirectory>
  first.parent = first as NumberedDirectory
  const numbered = [first as NumberedDirectory]
  const sources = [root]
  for (let at = 0; at < sources.length; at++) {
    const directory = numbered[at] as NumberedDirectory
    const { directories, files } = sources[at] as IsoDirectory
    const things = [
      ...directories.map((source) => ({ name: source.name, isDirectory: true, source, file: undefined })),
      ...files.map(({ name, file }) => ({ name, isDirectory: false, source: undefined, file })),
    ]
    const ids = identifiers(things)
    const members = things
      .map((thing, index) => ({ ...thing, identifier: ids[index] as Buffer }))
      .sort((a, b) => compare(a.identifier, b.identifier))
    directory.members = members.map(({ name, identifier, source, file }) => {
      if (!source) return { identifier, name, directory: undefined, file }
      const child: NumberedDirectory = { number: numbered.length + 1, identifier, parent: directory, members: [] }
      numbered.push(child)
      sources.push(source)
      return { identifier, name, directory: child, file: undefined }
    })
  }
  return numbered
}

/** Of the parts of an identifier: a name, its extension, and the version of a file. */
const PLAIN_NAME_LETTERS = 20
const PLAIN_EXTENSION_LETTERS = 8

const plain = (text: string, most: number): string =>
  text
    .toUpperCase()
    .replace(/[^A-Z0-9]/g, '_')
    .slice(0, most)

/** Capitals, digits and `_` alone, 30 of them: what names become where Rock Ridge and Joliet are not known. */
export const PLAIN: Naming = {
  identifiers(things) {
    const taken = new Set<string>()
    return things.map(({ name, isDirectory }) => {
      const dot = isDirectory ? -1 : name.lastIndexOf('.')
      const stem = plain(dot > 0 ? name.slice(0, dot) : name, PLAIN_NAME_LETTERS)
      const ending = isDirectory ? '' : `.${plain(dot > 0 ? name.slice(dot + 1) : '', PLAIN_EXTENSION_LETTERS)};1`
      let identifier = `${stem}${ending}`
      for (let count = 1; taken.has(identifier); count++) {
        identifier = `${stem.slice(0, PLAIN_NAME_LETTERS - String(count).length)}${count}${ending}`
      }
      taken.add(identifier)
      return Buffer.from(identifier, 'latin1')
    })
  },
  // Names and extensions are compared as if filled up with spaces. Source: ECMA-119, 9.3.
  compare: (a, b) => compareTexts(padded(a.toString('latin1')), padded(b.toString('latin1'))),
}

function padded(identifier: string): string {
  const [stem = '', extension = ''] = identifier.replace(/;1$/, '').split('.')
  return stem.padEnd(PLAIN_NAME_LETTERS + 1) + extension
}

const compareTexts = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** The names as they are, in UTF-16 with the high byte first. */
export const JOLIET: Naming = {
  identifiers: (things) =>
    things.map(({ name, isDirectory }) => Buffer.from(isDirectory ? name : `${name};1`, 'utf16le').swap16()),
  compare: (a, b) => Buffer.compare(a, b),
}
