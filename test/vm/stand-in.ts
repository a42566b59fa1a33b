/**
 * A quick stand-in for a guest: a namespace with one card, a veth pair whose other end takes the place, and the name,
 * of the port's tap. The filters know taps by name, so what they do to it they do to a guest.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import type { PortPlan } from '../../src/host/host-driver.ts'
import type { LinuxNetwork } from '../../src/host/linux-network/linux-network.ts'
import { runTool } from '../../src/host/linux-network/run-tool.ts'
import { newHexId } from '../../src/lib/ids.ts'
import { run } from './bare-guest.ts'
import type { Question } from './stand-in-agent.ts'

/** Without types: each agent would load the type stripper, which takes longer than all the rest of its start. */
const AGENT = stripTypeScriptTypes(readFileSync(new URL('./stand-in-agent.ts', import.meta.url), 'utf8'))

/** How long an answer that should come may take, and one that should not, in milliseconds; those that come take a few. */
export const PATIENCE_MS = 20_000
export const SILENCE_MS = 400

/**
 * 10 is AF_INET6, 3 SOCK_RAW, 58 ICMPv6; 41/16 and 41/18 are the hop limits, which must be 255 for neighbour messages.
 * An address is packed as `struct sockaddr_in6`, with the card's number as its scope.
 */
const SEND_ICMPV6 = [
  'use Socket qw(inet_pton); my ($to, $hex, $from) = @ARGV;',
  'open(my $f, "<", "/sys/class/net/eth0/ifindex") or die; my $card = <$f> + 0;',
  'sub at { pack("S n N a16 L", 10, 0, 0, inet_pton(10, $_[0]), $card) }',
  'socket(my $s, 10, 3, 58) or die "socket: $!";',
  'setsockopt($s, 41, $_, pack("i", 255)) or die "hops: $!" for 16, 18;',
  'if ($from ne "") { bind($s, at($from)) or die "bind: $!" }',
  'send($s, pack("H*", $hex), 0, at($to)) or die "send: $!";',
].join(' ')

/** The question for an agent that asks for metadata. */
export const metadata = { ask: 'get', path: '/', waitMs: PATIENCE_MS } as const

/** A program inside a namespace that does what a test asks. */
export class Agent implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, (value: unknown) => void>()
  #lastId = 0

  private constructor(child: ChildProcess) {
    this.#child = child
    child.on('message', ({ id, value }: { id: number; value: unknown }) => this.#waiting.get(id)?.(value))
  }

  static async start(namespace: string): Promise<Agent> {
    const command = ['netns', 'exec', namespace, process.execPath, '--input-type=module', '--eval', AGENT]
    const agent = new Agent(spawn('ip', command, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] }))
    await once(agent.#child, 'message')
    return agent
  }

  ask(question: Question): Promise<unknown> {
    const id = ++this.#lastId
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, resolve)
      this.#child.send({ id, question }, (error) => error && reject(error))
    })
  }

  /** What becomes of a connection that should succeed. */
  connect(address: string, port: number, from?: string): Promise<unknown> {
    return this.ask({ ask: 'connect', address, port, from, waitMs: PATIENCE_MS })
  }

  /** What becomes of a connection that should not. */
  tryConnect(address: string, port: number, from?: string): Promise<unknown> {
    return this.ask({ ask: 'connect', address, port, from, waitMs: SILENCE_MS })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = once(this.#child, 'exit')
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.kill('SIGKILL')
    await gone
  }
}

export class StandIn implements AsyncDisposable {
  readonly namespace: string
  readonly agent: Agent
  readonly #port: PortPlan

  private constructor(namespace: string, agent: Agent, port: PortPlan) {
    this.namespace = namespace
    this.agent = agent
    this.#port = port
  }

  /** Plugs a stand-in in place of the port's tap, with the port's MAC and addresses. */
  static async plug(network: LinuxNetwork, port: PortPlan): Promise<StandIn> {
    const tap = await network.findTap(port.portId)
    if (!tap) throw new Error('the port has no tap')
    const namespace = `standin-${newHexId().slice(0, 8)}`
    await run('ip', ['netns', 'add', namespace])
    try {
      const { mtu, subnets } = port.network
      const card = `eth0 address ${port.macAddress} netns ${namespace}`
      await batch(tap.namespace, [
        `link delete ${tap.tapName}`,
        `link add ${tap.tapName} mtu ${mtu} type veth peer ${card}`,
        `link set ${tap.tapName} master br0 up`,
      ])
      await batch(namespace, [
        'link set lo up',
        `link set eth0 mtu ${mtu} up`,
        ...port.addresses.flatMap(({ ipAddress, subnetId }) => {
          const subnet = subnets.find((known) => known.subnetId === subnetId)
          if (subnet?.ipv6Mode === 'slaac' || subnet?.ipv6Mode === 'dhcpv6-stateless') return [] // it learns that one
          const nodad = ipAddress.includes(':') ? ' nodad' : ''
          return [`addr add ${ipAddress}/${subnet?.cidr.split('/')[1]} dev eth0${nodad}`]
        }),
        'route add 255.255.255.255 dev eth0',
        `route add 169.254.169.254 via ${subnets[0]?.dhcpAddress}`,
      ])
      return new StandIn(namespace, await Agent.start(namespace), port)
    } catch (error) {
      await run('ip', ['netns', 'delete', namespace])
      throw error
    }
  }

  get address(): string {
    return this.#port.addresses[0]?.ipAddress ?? ''
  }

  /** The addresses of its card, also those it learned. */
  async readAddresses(): Promise<string[]> {
    const shown = await runTool('ip', ['-n', this.namespace, '-json', 'addr', 'show', 'dev', 'eth0'])
    const [card] = JSON.parse(shown) as { addr_info: { local: string; tentative?: boolean }[] }[]
    return (card?.addr_info ?? []).filter(({ tentative }) => !tentative).map(({ local }) => local)
  }

  /** What an `ip` command shows inside the stand-in. */
  show(command: string): Promise<string> {
    return runTool('ip', ['-n', this.namespace, ...command.split(' ')])
  }

  /** A message of ICMPv6 as a program with all rights would send it: Node cannot. */
  async sendIcmpv6(to: string, message: Buffer, from?: string): Promise<void> {
    await runTool('ip', [
      'netns',
      'exec',
      this.namespace,
      'perl',
      '-e',
      SEND_ICMPV6,
      to,
      message.toString('hex'),
      from ?? '',
    ])
  }

  /** `ip` commands inside the stand-in. */
  change(...commands: string[]): Promise<void> {
    return batch(this.namespace, commands)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent[Symbol.asyncDispose]()
    await run('ip', ['netns', 'delete', this.namespace])
  }
}

async function batch(namespace: string, commands: string[]): Promise<void> {
  await runTool('ip', ['-n', namespace, '-batch', '-'], commands.map((command) => `${command}\n`).join(''))
}
