/** What a guest says of itself, by the agent that runs in it. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { GuestAgent } from '../../src/host/qemu/guest-agent.ts'
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

/** How long a guest may take to answer, or to run a command: the machine may be busy. */
const PATIENCE_MS = 150_000

/** What a shell command in the guest wrote to stdout, without the last line's end. @throws Error when it fails. */
export async function shellIn(files: Pick<ServerFiles, 'guestAgent'>, command: string): Promise<string> {
  using agent = await untilAgent(files)
  const ask = (name: string, args: object) => agent.execute(name, args, PATIENCE_MS)
  const call = { path: '/bin/sh', arg: ['-c', command], 'capture-output': true }
  const { pid } = (await ask('guest-exec', call)) as { pid: number }
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    const status = (await ask('guest-exec-status', { pid })) as Record<string, unknown>
    const text = (name: string) => Buffer.from(String(status[name] ?? ''), 'base64').toString()
    if (status.exited === true && status.exitcode === 0) return text('out-data').replace(/\n$/, '')
    if (status.exited === true) throw new Error(`${command}: ${status.exitcode}: ${text('err-data')}`)
    if (performance.now() > deadline) throw new Error(`${command} does not end`)
    await pause(20)
  }
}

/** A conversation with the agent of a guest that is up, or will be. */
async function untilAgent(files: Pick<ServerFiles, 'guestAgent'>): Promise<GuestAgent> {
  for (const deadline = performance.now() + PATIENCE_MS; ; ) {
    try {
      return await GuestAgent.connect(files.guestAgent, 3_000)
    } catch (error) {
      if (performance.now() > deadline) throw error
      await pause(50)
    }
  }
}
