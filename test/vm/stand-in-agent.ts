/**
 * Runs inside a namespace on behalf of a test: opens connections, listens, and asks for an address. Spoken to by
 * StandIn (stand-in.ts) through Node's IPC, one question after the other.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect, createServer, type Socket } from 'node:net'

export type Question =
  | { ask: 'listen'; port: number; host?: string }
  | { ask: 'callers' }
  | { ask: 'connect'; address: string; port: number; from?: string; waitMs: number }
  | { ask: 'hold'; address: string; port: number }
  | { ask: 'echo'; text: string; waitMs: number }
  | { ask: 'get'; path: string; method?: string; from?: string; waitMs: number; body?: string }
  | { ask: 'listenUdp'; port: number }
  | { ask: 'heard' }
  | { ask: 'sendUdp'; address: string; port: number; text: string; from?: string; fromPort?: number }
  | { ask: 'flood'; address: string; flows: number }
  | { ask: 'discover'; macAddress: string; waitMs: number }
  | { ask: 'solicit'; macAddress: string; waitMs: number; isInformationOnly?: boolean }

const heard: string[] = []
/** From which address each connection to a listener came. */
const callers: (string | undefined)[] = []
let held: Socket | undefined

async function answer(question: Question): Promise<unknown> {
  switch (question.ask) {
    case 'listen': {
      const server = createServer((socket) => {
        callers.push(socket.remoteAddress)
        socket.on('error', () => {}).pipe(socket)
      }).listen(question.port, question.host ?? '0.0.0.0')
      return void (await once(server, 'listening'))
    }
    case 'callers':
      return callers.splice(0)
    case 'connect': {
      const socket = connect({ host: question.address, port: question.port, localAddress: question.from })
      return await outcome(socket, question.waitMs)
    }
    case 'hold': {
      held = connect({ host: question.address, port: question.port })
      held.on('error', () => {})
      return await once(held, 'connect').then(() => 'open')
    }
    case 'echo': {
      const back = held
        ? once(held, 'data').then(([data]) => String(data))
        : Promise.reject(new Error('nothing is held'))
      held?.write(question.text)
      return await Promise.race([back, after(question.waitMs, 'silent')])
    }
    case 'get':
      return await get(question)
    case 'listenUdp': {
      const socket = createSocket('udp4', (message) => heard.push(String(message))).bind(question.port, '0.0.0.0')
      return void (await once(socket, 'listening'))
    }
    case 'heard':
      return heard
    case 'sendUdp': {
      const socket = createSocket('udp4').bind(question.fromPort ?? 0, question.from ?? '0.0.0.0')
      await once(socket, 'listening')
      socket.setBroadcast(true)
      await new Promise((resolve) => socket.send(question.text, question.port, question.address, resolve))
      return socket.close() && undefined
    }
    case 'flood': {
      const socket = createSocket('udp4').bind()
      await once(socket, 'listening')
      for (let port = 1; port <= question.flows; port++) {
        await new Promise((resolve) => socket.send('', port, question.address, resolve))
      }
      return socket.close() && undefined
    }
    case 'discover':
      return await discover(question.macAddress, question.waitMs)
    case 'solicit':
      return await solicit(question.macAddress, question.waitMs, question.isInformationOnly ?? false)
  }
}

const after = <T>(ms: number, value: T): Promise<T> => new Promise((resolve) => setTimeout(resolve, ms, value))

/** `open`, `silent` when nothing came back, or the code of the error. */
async function outcome(socket: Socket, waitMs: number): Promise<string> {
  const ended = once(socket, 'connect').then(
    () => 'open',
    (error) => String(error.code),
  )
  const result = await Promise.race([ended, after(waitMs, 'silent')])
  socket.on('error', () => {}).destroy()
  return result
}

function get(question: Extract<Question, { ask: 'get' }>): Promise<unknown> {
  return new Promise((resolve) => {
    const call = request(
      {
        host: '169.254.169.254',
        path: question.path,
        method: question.method ?? 'GET',
        localAddress: question.from,
        timeout: question.waitMs,
        headers: { 'x-forwarded-for': '10.66.66.66' },
      },
      async (response) => {
        let body = ''
        for await (const chunk of response) body += chunk
        resolve({ status: response.statusCode, body })
      },
    )
    call.on('timeout', () => call.destroy(new Error('silent')))
    call.on('error', (error) => resolve({ status: 0, body: error.message }))
    call.end(question.body)
  })
}

/** Broadcasts a DHCPDISCOVER for a MAC and answers the offer: its address and its options as hex, or `silent`. */
async function discover(macAddress: string, waitMs: number): Promise<unknown> {
  const mac = Buffer.from(macAddress.replaceAll(':', ''), 'hex')
  const message = Buffer.alloc(300)
  message.set([1, 1, 6, 0, 0x4e, 0x6f, 0x76, 0x61]) // BOOTREQUEST, Ethernet, transaction
  message[10] = 0x80 // answer by broadcast
  message.set(mac, 28)
  // Magic; DISCOVER; wanted: mask, router, DNS, host name, MTU, NTP, boot file, classless routes; end.
  message.set([99, 130, 83, 99, 53, 1, 1, 55, 8, 1, 3, 6, 12, 26, 42, 67, 121, 255], 236)

  const socket = createSocket({ type: 'udp4', reuseAddr: true }).bind(68, '0.0.0.0')
  await once(socket, 'listening')
  socket.setBroadcast(true)
  const offer = once(socket, 'message').then(([data]) => readOffer(data as Buffer))
  await new Promise((resolve) => socket.send(message, 67, '255.255.255.255', resolve))
  const result = await Promise.race([offer, after(waitMs, 'silent')])
  socket.close()
  return result
}

function readOffer(data: Buffer): { address: string; options: Record<number, string> } {
  const options: Record<number, string> = {}
  for (let at = 240; data[at] !== undefined && data[at] !== 255; ) {
    const code = data[at] ?? 0
    const length = code === 0 ? -1 : (data[at + 1] ?? 0)
    if (length >= 0) options[code] = data.subarray(at + 2, at + 2 + length).toString('hex')
    at += 2 + length
  }
  return { address: data.subarray(16, 20).join('.'), options }
}

/**
 * Asks by DHCPv6 and answers what was offered as hex, or `silent`: the DNS servers, and the address unless only
 * information was asked for.
 */
async function solicit(macAddress: string, waitMs: number, isInformationOnly: boolean): Promise<unknown> {
  const duid = Buffer.from(`00030001${macAddress.replaceAll(':', '')}`, 'hex')
  const option = (code: number, value: Buffer) => {
    const head = Buffer.alloc(4)
    head.writeUInt16BE(code, 0)
    head.writeUInt16BE(value.length, 2)
    return Buffer.concat([head, value])
  }
  // SOLICIT or INFORMATION-REQUEST, and a transaction; who asks; an address, please; and the DNS servers.
  const wanted = isInformationOnly ? [] : [option(3, Buffer.alloc(12, 1))]
  const options = [option(1, duid), ...wanted, option(6, Buffer.from([0, 23]))]
  const message = Buffer.concat([Buffer.from([isInformationOnly ? 11 : 1, 0x4e, 0x6f, 0x76]), ...options])
  const socket = createSocket({ type: 'udp6', reuseAddr: true }).bind(546, '::')
  await once(socket, 'listening')
  const offer = once(socket, 'message').then(([data]) => {
    const given = readOptions(data as Buffer, 4)
    return {
      address: readOptions(given[3] ?? Buffer.alloc(0), 12)[5]
        ?.subarray(0, 16)
        .toString('hex'),
      dns: given[23]?.toString('hex'),
    }
  })
  await new Promise((resolve) => socket.send(message, 547, 'ff02::1:2%eth0', resolve))
  const result = await Promise.race([offer, after(waitMs, 'silent')])
  socket.close()
  return result
}

function readOptions(data: Buffer, start: number): Record<number, Buffer> {
  const options: Record<number, Buffer> = {}
  for (let at = start; at + 4 <= data.length; ) {
    const length = data.readUInt16BE(at + 2)
    options[data.readUInt16BE(at)] = data.subarray(at + 4, at + 4 + length)
    at += 4 + length
  }
  return options
}

process.on('message', async ({ id, question }: { id: number; question: Question }) => {
  const value = await answer(question).catch((error: unknown) => ({ failed: String(error) }))
  process.send?.({ id, value })
})
process.on('disconnect', () => process.exit(0))
process.send?.({ id: 0 })
