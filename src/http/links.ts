export interface Link {
  rel: 'self' | 'bookmark'
  href: string
}

/** Builds the links of answers, from the address that the request came to. */
export class Links {
  /** Scheme and host, without a slash at the end. */
  readonly base: string
  readonly #projectId: string

  constructor(base: string, projectId: string) {
    this.base = base
    this.#projectId = projectId
  }

  /** Absolute URL of a list or a thing under the project: `/v2/{project}/{path}`. */
  url(path: string): string {
    return `${this.base}/v2/${this.#projectId}/${path}`
  }

  /** `self` and `bookmark`, in the order clients expect. */
  both(collection: string, id: string): Link[] {
    return [{ rel: 'self', href: this.url(`${collection}/${id}`) }, this.bookmark(collection, id)]
  }

  /** The link without a version, which is all an embedded image or flavor has. */
  bookmark(collection: string, id: string): Link {
    return { rel: 'bookmark', href: `${this.base}/${this.#projectId}/${collection}/${id}` }
  }
}
