/** A network namespace with a bridge, taps, DHCP and a metadata service, so that an image can be tried on a network. */
import { type ChildProcess, spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { newHexId } from '../../src/lib/ids.ts'
import { poll, run } from './bare-guest.ts'

const GATEWAY = '10.93.0.1'
const METADATA = '169.254.169.254'

/** Opens the listener inside the namespace and hands it over, so the service itself runs here. */
const LISTEN = `const server = require('node:net').createServer()
server.listen({ host: '${METADATA}', port: 80 }, () => process.send('listener', server, () => process.exit(0)))`

export interface GuestCard {
  tap: string
  macAddress: string
  ipAddress: string
}

export class GuestNetwork implements AsyncDisposable {
  readonly namespace = `tiny-${newHexId().slice(0, 8)}`
  readonly cards: GuestCard[] = [0, 1].map((index) => ({
    tap: `tap${index}`,
    macAddress: `fa:16:3e:00:93:1${index}`,
    ipAddress: `10.93.0.1${index}`,
  }))
  /** Path below `/openstack/latest/` → body; anything else is 404. */
  documents: Record<string, string> = {}
  /** Paths that guests asked for. */
  readonly asked: string[] = []
  readonly #http: Server
  #dnsmasq: ChildProcess | undefined
  #isMade = false

  constructor() {
    this.#http = createServer((request, response) => this.#answer(request, response))
  }

  async open(): Promise<void> {
    await run('ip', ['netns', 'add', this.namespace])
    this.#isMade = true
    const addresses = [`${GATEWAY}/24`, `${METADATA}/32`].map((address) => `addr add ${address} dev br0`)
    const taps = this.cards.flatMap(({ tap }) => [`tuntap add ${tap} mode tap`, `link set ${tap} master br0 up`])
    const setUp = ['link set lo up', 'link add br0 type bridge', 'link set br0 up', ...addresses, ...taps]
    for (const command of setUp) await run('ip', ['-n', this.namespace, ...command.split(' ')])
  }

  /** @param directory for dnsmasq's files. */
  async serveAddresses(directory: string): Promise<void> {
    const hosts = join(directory, 'hosts')
    await writeFile(hosts, this.cards.map(({ macAddress, ipAddress }) => `${macAddress},${ipAddress}\n`).join(''))
    this.#dnsmasq = spawn(
      'ip',
      [
        ...['netns', 'exec', this.namespace, 'dnsmasq', '--keep-in-foreground', '--conf-file=/dev/null', '--no-hosts'],
        ...['--no-resolv', '--port=0', '--interface=br0', '--bind-dynamic', '--user=root', '--pid-file='],
        ...['--dhcp-range=10.93.0.0,static,255.255.255.0,1h', `--dhcp-hostsfile=${hosts}`],
        ...[`--dhcp-leasefile=${join(directory, 'leases')}`, '--dhcp-authoritative', '--dhcp-option=6,192.0.2.53'],
        ...[`--dhcp-option=3,10.93.0.254`, '--dhcp-option=26,1450', '--dhcp-option=15,example.test'],
        `--dhcp-option=121,${METADATA}/32,${GATEWAY},198.51.100.0/24,10.93.0.2,0.0.0.0/0,${GATEWAY}`,
      ],
      { stdio: 'ignore' },
    )
  }

  /** Starts answering at 169.254.169.254; until then the guest is refused. */
  async serveMetadata(): Promise<void> {
    const child = spawn('ip', ['netns', 'exec', this.namespace, process.execPath, '--eval', LISTEN], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    const listener = await new Promise<import('node:net').Server>((resolve, reject) => {
      child.once('error', reject)
      child.once('message', (_, handle) => resolve(handle as import('node:net').Server))
    })
    listener.on('connection', (socket: Socket) => this.#http.emit('connection', socket))
    this.#close = () => listener.close()
  }
  #close = () => {}

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url?.replace('/openstack/latest/', '') ?? ''
    this.asked.push(path)
    const body = this.documents[path]
    response.writeHead(body === undefined ? 404 : 200, { connection: 'close' }).end(body ?? 'not here')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#close()
    this.#http.closeAllConnections()
    const dnsmasq = this.#dnsmasq
    dnsmasq?.kill('SIGKILL')
    if (dnsmasq)
      await poll('dnsmasq to end', () => dnsmasq.exitCode !== null || dnsmasq.signalCode !== null || undefined)
    if (this.#isMade) await run('ip', ['netns', 'del', this.namespace])
  }
}
