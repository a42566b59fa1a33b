/**
 * Runs for a moment inside a network's namespace: opens the listening socket there, hands it to the process outside,
 * and ends. The socket stays in the namespace it was made in. It must end: as long as it lives it accepts half of
 * the connections, and they hang. Plain JavaScript, since loading the type stripper takes longer than all the rest.
 *
 *   node listener-child.mjs ADDRESS PORT
 */
import { createServer } from 'node:net'

const [host, port] = process.argv.slice(2)
const server = createServer()
server.listen({ host, port: Number(port) }, () => {
  process.send?.('listener', server, {}, () => process.exit(0))
})
