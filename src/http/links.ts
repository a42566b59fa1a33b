export interface Link {
  rel: 'self' | 'bookmark'
  href: string
}

/** Where an API's things are, below scheme and host. */
export interface LinkRoots {
  self: string
  /** The same without a version. */
  bookmark: string
}

export const uosRoots = (projectId: string): LinkRoots => ({ self: `/v2/${projectId}`, bookmark: `/${projectId}` })

/** Builds the links of answers, from the address that the request came to. */
export class Links {
  /** Scheme and host, without a slash at the end. */
  readonly base: string
  readonly #roots: LinkRoots

  constructor(base: string, roots: LinkRoots) {
    this.base = base
    this.#roots = roots
  }

  /** Absolute URL of a list or a thing under the project: `/v2/{project}/{path}`. */
  url(path: string): string {
    return `${this.base}${this.#roots.self}/${path}`
  }

  /** `self` and `bookmark`, in the order clients expect. */
  both(collection: string, id: string): Link[] {
    return [{ rel: 'self', href: this.url(`${collection}/${id}`) }, this.bookmark(collection, id)]
  }

  /** The link without a version, which is all an embedded image or flavor has. */
  bookmark(collection: string, id: string): Link {
    return { rel: 'bookmark', href: `${this.base}${this.#roots.bookmark}/${collection}/${id}` }
  }
}
