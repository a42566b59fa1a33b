/** What a guest says of itself, by the agent that runs in it. */
import { once } from 'node:events'
import { connect } from 'node:net'
import type { ServerFiles } from '../../src/host/qemu/server-files.ts'

/** The IPv4 addresses of each card, by MAC, as the guest has them; nothing while its agent does not answer. */
export async function addressesIn(files: Pick<ServerFiles, 'guestAgent'>): Promise<Record<string, string[]>> {
  const socket = connect(files.guestAgent)
  const limit = AbortSignal.timeout(3_000)
  try {
    await once(socket, 'connect', { signal: limit })
    socket.write('{"execute":"guest-network-get-interfaces"}\n')
    let answer = ''
    while (!answer.includes('\n')) answer += String((await once(socket, 'data', { signal: limit }))[0])
    const interfaces: { 'hardware-address'?: string; 'ip-addresses'?: Record<string, string>[] }[] =
      JSON.parse(answer).return
    const cards = interfaces.filter((one) => one['hardware-address']?.startsWith('fa:16:3e'))
    return Object.fromEntries(
      cards.map((card) => [
        card['hardware-address'],
        (card['ip-addresses'] ?? [])
          .filter((address) => address['ip-address-type'] === 'ipv4')
          .map((address) => address['ip-address'] ?? ''),
      ]),
    )
  } catch {
    return {}
  } finally {
    socket.destroy()
  }
}
