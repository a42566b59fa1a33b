/** A guest on a bare QEMU command line, without any of Novella's host code: what the image itself promises is asked here. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import type { TinyBuild } from '../../src/images/tiny/build-tiny.ts'

/** How long a guest may take for anything, in milliseconds: generous, since the machine may be busy. */
const PATIENCE_MS = 120_000

export const run = promisify(execFile)

/**
 * Asks `look` until it answers something, and answers that.
 * @throws Error saying what was awaited, after PATIENCE_MS.
 */
export async function poll<T>(what: string, look: () => Promise<T | undefined> | T | undefined): Promise<T> {
  const deadline = Date.now() + PATIENCE_MS
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

export interface BareGuestOptions {
  image: TinyBuild
  /** The fast way, or BIOS and the disk's own boot loader. */
  boot: 'kernel' | 'disk'
  /** Qcow2 overlay on the image. */
  disk: string
  /** Empty directory for sockets and the console log. */
  directory: string
  /** ISO file given as a read-only disk. */
  configDrive?: string
  /** Network namespace to run in, with its taps. */
  namespace?: string
  cards?: { tap: string; macAddress: string }[]
}

export class BareGuest implements AsyncDisposable {
  readonly #directory: string
  readonly #qemu: ChildProcess
  readonly #exited: Promise<string>
  readonly #sockets = new Map<string, LineSocket>()
  #errors = ''

  constructor(options: BareGuestOptions) {
    this.#directory = options.directory
    const command = ['qemu-system-x86_64', ...qemuArgs(options)]
    if (options.namespace) command.unshift('ip', 'netns', 'exec', options.namespace)
    const [program = '', ...args] = command
    this.#qemu = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#qemu.stderr?.on('data', (data) => {
      this.#errors += data
    })
    this.#exited = new Promise((resolve, reject) => {
      this.#qemu.once('error', reject)
      this.#qemu.once('exit', (code, signal) => resolve(signal ?? `exit ${code}`))
    })
  }

  /** Everything the serial console showed so far. */
  console(): Promise<string> {
    return readFile(join(this.#directory, 'console.log'), 'utf8').catch(() => '')
  }

  /** Waits until `pattern` shows at or after the character `from` of the console, and answers where its match ends. */
  async awaitConsole(pattern: RegExp, from = 0): Promise<number> {
    try {
      return await poll(`${pattern} on the console`, async () => {
        const match = pattern.exec((await this.console()).slice(from))
        if (match) return from + match.index + match[0].length
        if (this.#qemu.exitCode !== null) throw new Error(`QEMU ended: ${this.#errors}`)
        return undefined
      })
    } catch (error) {
      throw new Error(`the console showed:\n${(await this.console()).slice(-3000)}`, { cause: error })
    }
  }

  /** Types on the serial console. */
  async type(text: string): Promise<void> {
    ;(await this.#open('serial')).socket.write(text)
  }

  async qmp(execute: string, args: object = {}): Promise<unknown> {
    const isNew = !this.#sockets.has('qmp')
    const monitor = await this.#open('qmp')
    if (isNew) await monitor.ask({ execute: 'qmp_capabilities' })
    return monitor.ask({ execute, arguments: args })
  }

  /** Asks the guest agent; waits for it first. */
  async agent(execute: string, args: object = {}, options: { answers: boolean } = { answers: true }): Promise<unknown> {
    const agent = await this.#open('agent')
    // A question may be lost while the agent is not there yet, so ask until it is.
    await poll('the guest agent', () =>
      agent.ask({ execute: 'guest-ping' }, 1_000).then(
        () => true,
        () => undefined,
      ),
    )
    if (options.answers) return agent.ask({ execute, arguments: args })
    agent.socket.write(`${JSON.stringify({ execute, arguments: args })}\n`)
    return undefined
  }

  /** Runs a shell command in the guest through its agent and answers what it wrote. */
  async shell(command: string): Promise<string> {
    const started = (await this.agent('guest-exec', {
      path: '/bin/sh',
      arg: ['-c', command],
      'capture-output': true,
    })) as { pid: number }
    return poll(command, async () => {
      const status = (await this.agent('guest-exec-status', { pid: started.pid })) as Record<string, unknown>
      return status.exited ? Buffer.from(String(status['out-data'] ?? ''), 'base64').toString() : undefined
    })
  }

  /** How QEMU ended, once the guest has powered itself off. */
  async awaitEnd(): Promise<string> {
    return poll('the guest to power itself off', () =>
      this.#qemu.exitCode === null && this.#qemu.signalCode === null ? undefined : this.#exited,
    )
  }

  async #open(name: string): Promise<LineSocket> {
    const known = this.#sockets.get(name)
    if (known) return known
    const opened = await poll(`the ${name} socket`, () => openLineSocket(join(this.#directory, name)))
    this.#sockets.set(name, opened)
    return opened
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { socket } of this.#sockets.values()) socket.destroy()
    this.#qemu.kill('SIGKILL')
    await this.#exited.catch(() => {})
  }
}

function qemuArgs({ image, boot, disk, directory, configDrive, cards = [] }: BareGuestOptions): string[] {
  const file = (name: string) => join(image.directory, name)
  const socket = (id: string) => `socket,id=${id},path=${join(directory, id)},server=on,wait=off`
  const blockdev = (name: string, driver: string, filename: string, readOnly: boolean) =>
    JSON.stringify({ driver, 'node-name': name, 'read-only': readOnly, file: { driver: 'file', filename } })
  const ports = Array.from({ length: 6 }, (_, index) => [
    '-device',
    `pcie-root-port,id=rp${index},chassis=${index + 1}`,
  ])
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-vga', 'std'],
    ...['-M', 'q35', '-accel', 'tcg,tb-size=32', '-cpu', 'max', '-m', '128'],
    ...(boot === 'kernel' ? ['-kernel', file('kernel'), '-initrd', file('initrd')] : []),
    ...(boot === 'kernel' ? ['-append', readFileSync(file('cmdline'), 'utf8').trim()] : []),
    ...ports.flat(),
    ...[
      '-blockdev',
      blockdev('root', 'qcow2', disk, false),
      '-device',
      'virtio-blk-pci,drive=root,bus=rp0,bootindex=1',
    ],
    ...(configDrive ? ['-blockdev', blockdev('config', 'raw', configDrive, true)] : []),
    ...(configDrive ? ['-device', 'virtio-blk-pci,drive=config,bus=rp1'] : []),
    ...(cards.length === 0 ? ['-nic', 'none'] : []),
    ...cards.flatMap(({ tap, macAddress }, index) => [
      ...['-netdev', `tap,id=n${index},ifname=${tap},script=no,downscript=no`],
      ...['-device', `virtio-net-pci,netdev=n${index},mac=${macAddress},romfile=,bus=rp${index + 2}`],
    ]),
    ...['-device', 'virtio-rng-pci', '-device', 'virtio-serial-pci', '-chardev', socket('agent')],
    ...['-device', 'virtserialport,chardev=agent,name=org.qemu.guest_agent.0'],
    ...['-chardev', `${socket('serial')},logfile=${join(directory, 'console.log')}`, '-serial', 'chardev:serial'],
    ...['-chardev', socket('qmp'), '-mon', 'chardev=qmp,mode=control'],
  ]
}

interface LineSocket {
  socket: Socket
  /** Sends one JSON line and answers the `return` of the next answer that has this question's id. */
  ask(question: object, timeoutMs?: number): Promise<unknown>
}

/** Answers undefined while nobody listens there. */
function openLineSocket(path: string): Promise<LineSocket | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path)
    const waiting = new Map<number, (answer: { return?: unknown; error?: { desc: string } }) => void>()
    let lastId = 0
    socket.once('error', () => resolve(undefined))
    socket.once('connect', () =>
      resolve({
        socket,
        ask: (question, timeoutMs = PATIENCE_MS) =>
          new Promise((answered, failed) => {
            const id = ++lastId
            const timer = setTimeout(() => failed(new Error(`no answer to ${JSON.stringify(question)}`)), timeoutMs)
            waiting.set(id, (answer) => {
              clearTimeout(timer)
              if (answer.error) failed(new Error(answer.error.desc))
              else answered(answer.return)
            })
            socket.write(`${JSON.stringify({ ...question, id })}\n`)
          }),
      }),
    )
    createInterface({ input: socket }).on('line', (line) => {
      if (!line.startsWith('{') || !line.includes('"id"')) return
      const answer = JSON.parse(line)
      waiting.get(answer.id)?.(answer)
      waiting.delete(answer.id)
    })
  })
}
