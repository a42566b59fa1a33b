/** A tree of values, walked by paths: a branch lists its members, and a leaf is a text or bytes. Pure. */

/** Leaves are made when they are read: a random seed differs each time. */
export type Tree = { [name: string]: Tree | (() => string | Buffer) }

/** The branch or leaf under a path; undefined when there is none. `0` finds the member `0=name`, as EC2 clients ask. */
export function walk(root: Tree, path: string): Tree | string | Buffer | undefined {
  let here: Tree | string | Buffer | undefined = root
  for (const part of path.split('/').filter(Boolean)) {
    if (here === undefined || typeof here === 'string' || Buffer.isBuffer(here)) return undefined
    const name: string | undefined = Object.hasOwn(here, part)
      ? part
      : Object.keys(here).find((key) => key.startsWith(`${part}=`))
    const next: Tree[string] | undefined = name === undefined ? undefined : here[name]
    here = typeof next === 'function' ? next() : next
  }
  return here
}

/** Members of a branch, one a line; branches end in a slash, but for keys, which EC2 lists bare. */
export function listing(branch: Tree): string {
  return Object.entries(branch)
    .map(([name, member]) => (typeof member === 'function' || name.includes('=') ? name : `${name}/`))
    .join('\n')
}

/** A branch as one value, for JSON: `0=name` becomes `0`, with what it was as `_name`. */
export function branchValue(branch: Tree): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(branch).map(([name, member]) => {
      if (typeof member === 'function') return [name, String(member())]
      const [number = name] = name.split('=', 1)
      return [number, number === name ? branchValue(member) : { _name: name, ...branchValue(member) }]
    }),
  )
}
