/** A cloud with real guests whose networks a tenant makes, and ways into the guests. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { namespaceName, namespacePrefix } from '../../src/host/linux-network/names.ts'
import { DataDirectory, HttpClient, NovellaProcess } from '../support/novella-process.ts'
import { until } from '../support/until.ts'

const run = promisify(execFile)
const MAIN = join(import.meta.dirname, '../../src/main.ts')
const SSH = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'BatchMode=yes', 'ConnectTimeout=10']
const SSH_ARGS = ['-q', ...SSH.flatMap((option) => ['-o', option])]

export interface TenantServer {
  id: string
  portId: string
  address: string
  networkId: string
}

/** What a command says over a connection that stays open. */
class Listening implements AsyncDisposable {
  readonly #child: ChildProcess
  #lastAt = Date.now()
  /** How often it said something. */
  heard = 0

  constructor(child: ChildProcess) {
    this.#child = child
    child.stdout?.on('data', () => {
      this.heard += 1
      this.#lastAt = Date.now()
    })
  }

  /** For how long it has said nothing, in milliseconds. */
  get silentMs(): number {
    return Date.now() - this.#lastAt
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = new Promise((resolve) => this.#child.once('close', resolve))
    // With everything it started: the group is its own.
    if (this.#child.pid !== undefined) process.kill(-this.#child.pid)
    await ended
  }
}

export class TenantCloud implements AsyncDisposable {
  readonly data = new DataDirectory()
  novella!: NovellaProcess
  client!: HttpClient
  #base = ''

  static async open(): Promise<TenantCloud> {
    const cloud = new TenantCloud()
    await cloud.start()
    const { body } = await cloud.client.ask('POST', '/os-keypairs', { keypair: { name: 'mine' } })
    writeFileSync(cloud.keyFile, body.keypair.private_key, { mode: 0o600 })
    return cloud
  }

  get keyFile(): string {
    return join(this.data.path, 'mine.pem')
  }

  /** Starts Novella (again) on the data directory. */
  async start(): Promise<void> {
    this.novella = new NovellaProcess(this.data, '--no-first-server')
    this.#base = await this.novella.ready()
    this.client = await HttpClient.logIn(this.#base, this.data)
  }

  /** A network of the tenant with one subnet. */
  async makeNetwork(name: string, cidr: string): Promise<{ networkId: string; subnetId: string }> {
    const { network } = await this.client.network('POST', '/networks', { network: { name } })
    const wish = { network_id: network.id, cidr, ip_version: 4, name }
    const { subnet } = await this.client.network('POST', '/subnets', { subnet: wish })
    return { networkId: network.id, subnetId: subnet.id }
  }

  /** A router with a gateway on BGP, joined to these subnets. */
  async makeRouter(name: string, subnetIds: string[]): Promise<string> {
    const { networks } = await this.client.network('GET', '/networks?name=BGP')
    const gateway = { network_id: networks[0].id }
    const { router } = await this.client.network('POST', '/routers', {
      router: { name, external_gateway_info: gateway },
    })
    for (const subnet_id of subnetIds) {
      await this.client.network('PUT', `/routers/${router.id}/add_router_interface`, { subnet_id })
    }
    return router.id
  }

  /** Asks for a server with one card; not yet up. @param more besides that. */
  async makeServer(name: string, networkId: string, wish: object = {}, more: object = {}): Promise<string> {
    const { flavors } = await this.client.get('/flavors')
    const { images } = (await (
      await fetch(`${this.#base}/v2/images?name=tiny`, { headers: { 'x-auth-token': this.client.token } })
    ).json()) as { images: { id: string }[] }
    const { status, body } = await this.client.ask('POST', '/servers', {
      server: {
        name,
        flavorRef: flavors.find((flavor: { name: string }) => flavor.name === 'tiny').id,
        imageRef: images[0]?.id,
        key_name: 'mine',
        networks: [{ uuid: networkId, ...wish }],
        ...more,
      },
    })
    if (status !== 202) throw new Error(`create ${name}: ${status} ${JSON.stringify(body)}`)
    return body.server.id
  }

  /** Waits for the login prompt, and tells where the server's first card is. */
  async untilUp(id: string): Promise<TenantServer> {
    await this.client.becomes(id, 'ACTIVE')
    await this.client.prints(id, /login: *$/)
    const { ports } = await this.client.network('GET', `/ports?device_id=${id}`)
    const [port] = ports
    return { id, portId: port.id, address: port.fixed_ips[0].ip_address, networkId: port.network_id }
  }

  /** A floating IP, bound to the server as the vendor's quick start does. */
  async giveFloatingIp(serverId: string): Promise<{ id: string; ip: string }> {
    const { status, body } = await this.client.ask('POST', '/os-floating-ips', { pool: 'BGP' })
    if (status !== 200) throw new Error(`os-floating-ips: ${status} ${JSON.stringify(body)}`)
    await this.client.act(serverId, { addFloatingIp: { address: body.floating_ip.ip } })
    return body.floating_ip
  }

  /** A command in a guest, by ssh to its floating IP from outside of all routers, with `novella edge`. */
  async sshFromOutside(address: string, command: string): Promise<string> {
    return (await run(process.execPath, this.#fromOutside(address, command), { timeout: 60_000 })).stdout
  }

  /** The same for a command that goes on talking until it is disposed. */
  listenFromOutside(address: string, command: string): Listening {
    return new Listening(
      spawn(process.execPath, this.#fromOutside(address, command), {
        stdio: ['ignore', 'pipe', 'ignore'],
        detached: true,
      }),
    )
  }

  #fromOutside(address: string, command: string): string[] {
    const ssh = ['ssh', '-i', this.keyFile, ...SSH_ARGS, `root@${address}`, command]
    return [MAIN, 'edge', '--data', this.data.path, ...ssh]
  }

  /** A command in a guest, by ssh from inside its network's namespace. */
  async sshFromInside({ networkId, address }: TenantServer, command: string): Promise<string> {
    const enter = ['netns', 'exec', this.namespaceOf(networkId), 'ssh', '-i', this.keyFile, ...SSH_ARGS]
    return (await run('ip', [...enter, `root@${address}`, command], { timeout: 60_000 })).stdout
  }

  /** Waits until a command in a guest, or on the way to it, succeeds. */
  async untilWorks(what: string, command: () => Promise<unknown>): Promise<void> {
    await until(what, () =>
      command().then(
        () => true,
        () => false,
      ),
    )
  }

  /** Waits until a command fails. */
  async untilFails(what: string, command: () => Promise<unknown>): Promise<void> {
    await until(what, () =>
      command().then(
        () => false,
        () => true,
      ),
    )
  }

  /** The namespace of a network or router. */
  namespaceOf(id: string): string {
    return namespaceName(this.data.path, id)
  }

  /** All namespaces of this cloud that are there. */
  namespaces(): string[] {
    const all = existsSync('/run/netns') ? readdirSync('/run/netns') : []
    return all.filter((name) => name.startsWith(namespacePrefix(this.data.path)))
  }

  async deleteServers(): Promise<void> {
    const { servers } = await this.client.get('/servers')
    for (const { id } of servers) await this.client.ask('DELETE', `/servers/${id}`)
    for (const { id } of servers) await this.client.vanishes(id)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.deleteServers()
      await until('nothing of the networks is left', () => this.namespaces().length === 0)
    } finally {
      await this.novella.stop()
      this.data[Symbol.dispose]()
    }
  }
}
