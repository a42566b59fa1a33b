import type { Cloud } from '../cloud.ts'
import type { App } from '../http/app.ts'

/** Hands what is asked below `/compute` to the app of Nova v2.1, and builds that first when nobody asked before. */
export function computeRoutes(app: App, cloud: Cloud): void {
  let built: Promise<App> | undefined
  const compute = (): Promise<App> => {
    built ??= import('../http/compute-app.ts').then(({ buildComputeApp }) => buildComputeApp(cloud))
    return built
  }
  app.addHook('onClose', async () => built?.then((one) => one.close()))
  for (const url of ['/compute', '/compute/*']) {
    app.all(
      url,
      {
        schema: { hide: true },
        config: { isPublic: true, isHandedOver: true },
        // Before the body is read, which is the other app's.
        async onRequest(request, reply) {
          const { routing } = await compute()
          reply.hijack()
          routing(request.raw, reply.raw)
        },
      },
      async () => {},
    )
  }
}
