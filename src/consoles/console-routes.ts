import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import fastifyStatic from '@fastify/static'
import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import { pageHeaders } from '../web/page-headers.ts'
import { ConsoleSockets, isConsoleRequest, SOCKET_PATHS } from './console-socket.ts'
import type { ConsoleType } from './console-store.ts'
import { checkConsole } from './open-console.ts'

const PAGES = fileURLToPath(new URL('../web/pages/', import.meta.url))
/** The package shows only `core/rfb.js`; what lies beside and below it is what that imports. */
const NOVNC = dirname(dirname(fileURLToPath(import.meta.resolve('@novnc/novnc'))))
const NOVNC_PART = /^(core|vendor)(\/[a-z0-9_-]+)+\.js$/
const XTERM = dirname(dirname(fileURLToPath(import.meta.resolve('@xterm/xterm'))))
const XTERM_FIT = dirname(dirname(fileURLToPath(import.meta.resolve('@xterm/addon-fit'))))
/** What the page of a serial console needs of xterm, and where it lies. */
const XTERM_PARTS = new Map([
  ['xterm.mjs', { root: XTERM, path: 'lib/xterm.mjs' }],
  ['xterm.css', { root: XTERM, path: 'css/xterm.css' }],
  ['addon-fit.mjs', { root: XTERM_FIT, path: 'lib/addon-fit.mjs' }],
])
/** The page of each type of console. */
const PAGE_FILES: Readonly<Record<ConsoleType, { url: string; file: string }>> = {
  novnc: { url: '/vnc/vnc_auto.html', file: 'console.html' },
  serial: { url: '/serial/serial.html', file: 'serial.html' },
}

/**
 * The pages of consoles, noVNC and xterm for them, and the WebSockets behind them.
 * `GET` on a WebSocket's address without an upgrade tells why it would be refused: browsers do not tell a page.
 */
export async function consoleRoutes(app: App, cloud: Cloud): Promise<void> {
  const sockets = new ConsoleSockets(cloud)
  // Without this, every request that offers an upgrade (to HTTP/2, say) would be taken for a console.
  const { server } = app as unknown as { server: { shouldUpgradeCallback: typeof isConsoleRequest } }
  server.shouldUpgradeCallback = isConsoleRequest
  app.server.on('upgrade', (request, socket, head) => void sockets.accept(request, socket, head))
  app.addHook('preClose', () => sockets.close())

  await app.register(fastifyStatic, { root: [PAGES, NOVNC, XTERM, XTERM_FIT], serve: false })

  const route = { schema: { hide: true }, config: { isPublic: true as const } }

  app.get('/vnc/novnc/*', route, (request, reply) => {
    const path = (request.params as { '*': string })['*']
    if (!NOVNC_PART.test(path)) throw new ApiError('itemNotFound', 'The resource could not be found.')
    return reply.headers(pageHeaders(cloud, request)).sendFile(path, NOVNC, { maxAge: '1h' })
  })

  app.get('/serial/xterm/*', route, (request, reply) => {
    const part = XTERM_PARTS.get((request.params as { '*': string })['*'])
    if (!part) throw new ApiError('itemNotFound', 'The resource could not be found.')
    return reply.headers(pageHeaders(cloud, request)).sendFile(part.path, part.root, { maxAge: '1h' })
  })

  for (const type of ['novnc', 'serial'] as const) {
    const { url, file } = PAGE_FILES[type]
    app.get(url, route, (request, reply) =>
      // The address holds the token: nobody may keep the answer under it.
      reply
        .headers({ ...pageHeaders(cloud, request), 'cache-control': 'no-store' })
        .sendFile(file, PAGES, { cacheControl: false }),
    )

    app.get(
      SOCKET_PATHS[type],
      { ...route, schema: { hide: true, querystring: Type.Object({ token: Type.Optional(Type.String()) }) } },
      async (request, reply) => {
        reply.header('cache-control', 'no-store')
        await checkConsole(cloud, type, request.query.token ?? '')
        throw new ApiError('badRequest', 'The console is ready. It speaks WebSocket, not plain HTTP.')
      },
    )
  }
}
