import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import type { App } from '../http/app.ts'
import { type Dialect, UOS } from '../http/dialect.ts'

const Params = Type.Object({ serverId: Type.String() })
/** Since when diagnostics have one shape for all hosts, with no place for more. */
const FIXED_SHAPE = 48

/**
 * What a server does, from its host, and how the system inside says it is. For admins where clients of Nova expect that;
 * at the root, which has nothing of the kind otherwise, for whoever may see the server.
 */
export function diagnosticsRoutes(app: App, cloud: Cloud, dialect: Dialect = UOS): void {
  const operation = dialect === UOS ? 'servers:read' : 'servers:diagnose'
  app.get(
    `${dialect.base}/servers/:serverId/diagnostics`,
    { schema: { params: Params }, config: { operation } },
    async ({ caller, params, microversion }) => {
      const { diagnoseServer } = await import('./diagnose-server.ts')
      const { diagnosticsView, healthView, oldDiagnosticsView } = await import('./diagnostics-view.ts')
      const diagnosis = await diagnoseServer(cloud, caller, params.serverId)
      if (dialect !== UOS && microversion >= FIXED_SHAPE) return diagnosticsView(diagnosis)
      const view = dialect === UOS ? diagnosticsView(diagnosis) : oldDiagnosticsView(diagnosis)
      return { ...view, 'novella:guest': healthView(diagnosis.health) }
    },
  )
}
