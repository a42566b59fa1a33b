/**
 * The compute API is spoken twice: as UOS has it at the root, and as Nova v2.1 has it below `/compute`. Handlers are the
 * same where the shapes are; what differs is named here or has a route of its own.
 */
export interface Dialect {
  name: 'uos' | 'nova'
  /** What all its paths begin with. */
  base: string
  /** Whether members of bodies that nobody knows are refused; otherwise they mean nothing. */
  isStrict: boolean
}

export const UOS: Dialect = { name: 'uos', base: '/v2/:projectId', isStrict: false }

/** Clients may put their project behind the version, or not: it is taken out before a route is looked for. */
export const NOVA: Dialect = { name: 'nova', base: '/compute/v2.1', isStrict: true }
