import type { Static } from 'typebox'
import type { Cloud } from '../cloud.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import { type Dialect, UOS } from '../http/dialect.ts'
import type { Links } from '../http/links.ts'
import { nextLink } from '../http/paging.ts'
import type { Caller } from '../http/policy.ts'
import { readFlavorQuery } from './flavor-query.ts'
import { BriefFlavorList, FlavorAnswer, FlavorListQuery, FlavorPath, FullFlavorList } from './flavor-schema.ts'
import { type Flavor, findVisibleFlavor, listFlavors } from './flavor-store.ts'
import { briefFlavorView, fullFlavorView } from './flavor-view.ts'

/** S22 to S24: the sizes on offer. */
export function flavorRoutes(app: App, cloud: Cloud, { name, base }: Dialect = UOS): void {
  const path = `${base}/flavors`
  const config = { operation: 'flavors:read' } as const

  app.get(
    path,
    { schema: { querystring: FlavorListQuery, response: { 200: BriefFlavorList } }, config },
    async ({ query, caller, links }) => listAnswer(cloud, caller, query, links, 'flavors', briefFlavorView),
  )

  app.get(
    `${path}/detail`,
    { schema: { querystring: FlavorListQuery, response: { 200: FullFlavorList } }, config },
    async ({ query, caller, links }) => listAnswer(cloud, caller, query, links, 'flavors/detail', fullFlavorView),
  )

  app.get(
    `${path}/:flavorId`,
    { schema: { params: FlavorPath, response: { 200: FlavorAnswer } }, config },
    async ({ params, caller, links }) => {
      const flavor = await findVisibleFlavor(cloud.db.read, caller, params.flavorId)
      if (!flavor) throw new ApiError('itemNotFound', `Flavor ${params.flavorId} could not be found.`)
      return { flavor: fullFlavorView(flavor, links) }
    },
  )

  // Clients ask for these with every flavor they show. Flavors of this cloud have none.
  if (name === 'nova') {
    app.get(`${path}/:flavorId/os-extra_specs`, { schema: { params: FlavorPath }, config }, async (request) => {
      const { flavorId } = request.params
      if (!(await findVisibleFlavor(cloud.db.read, request.caller, flavorId))) {
        throw new ApiError('itemNotFound', `Flavor ${flavorId} could not be found.`)
      }
      return { extra_specs: {} }
    })
  }
}

async function listAnswer<View>(
  cloud: Cloud,
  caller: Caller,
  query: Static<typeof FlavorListQuery>,
  links: Links,
  path: string,
  view: (flavor: Flavor, links: Links) => View,
) {
  const wish = readFlavorQuery(query, caller)
  const page = await listFlavors(cloud.db.read, wish)
  const next = nextLink(links.url(path), query, page, wish.limit)
  return { flavors: page.map((flavor) => view(flavor, links)), ...(next ? { flavors_links: next } : {}) }
}
