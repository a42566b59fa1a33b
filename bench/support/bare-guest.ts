import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { chown, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { namespaceName, tapName } from '../../src/host/linux-network/names.ts'
import { launchCommand } from '../../src/host/qemu/launch-command.ts'
import { findQemuPrograms } from '../../src/host/qemu/qemu-programs.ts'
import type { RunRecord } from '../../src/host/qemu/run-record.ts'
import { type ServerFiles, serverFiles } from '../../src/host/qemu/server-files.ts'
import { SHARED_NETWORK_ID } from '../../src/networks/seed-networks.ts'
import type { CloudProcess } from './cloud-process.ts'

/** The guest of a server, run by hand in the server's place while Novella takes it for stopped. */
export class BareGuest implements AsyncDisposable {
  readonly #files: ServerFiles
  readonly #user: { uid: number; gid: number }
  readonly #command: readonly string[]
  #process: ChildProcess | undefined

  private constructor(files: ServerFiles, user: { uid: number; gid: number }, command: readonly string[]) {
    this.#files = files
    this.#user = user
    this.#command = command
  }

  /** Takes the arguments from the running QEMU of a server. */
  static async of(cloud: CloudProcess, dataDir: string, serverId: string): Promise<BareGuest> {
    const files = serverFiles(join(dataDir, 'servers'), serverId)
    const { pid } = JSON.parse(await readFile(files.record, 'utf8')) as RunRecord
    // Without what makes it stand still at first: nobody here says `cont`.
    const [, ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1)
    const qemuArgs = args.filter((word) => word !== '-S')
    const [uid, gid] = ['Uid', 'Gid'].map((name) => {
      const [, id] = new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
      return Number(id)
    })
    const user = { uid: uid ?? 0, gid: gid ?? 0 }
    const portId = await cloud.readPortId(serverId)
    const taps = [{ namespace: namespaceName(dataDir, SHARED_NETWORK_ID), tapName: tapName(portId) }]
    const programs = findQemuPrograms()
    return new BareGuest(files, user, launchCommand({ programs, taps, user, extraGid: undefined, qemuArgs }))
  }

  /** Puts a fresh overlay in the place of the disk, and empties what the guest before wrote. */
  async prepare(): Promise<this> {
    const { disk, consoleLog, sockets } = this.#files
    const root = JSON.parse(this.#command.find((word) => word.includes('"node-name":"root"')) ?? '{}')
    const base: string = root.backing.file.filename
    const run = promisify(execFile)
    const { stdout } = await run('qemu-img', ['info', '-f', 'qcow2', '--output=json', disk])
    const { 'virtual-size': bytes } = JSON.parse(stdout)
    await rm(disk)
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', disk, String(bytes)])
    await chown(disk, this.#user.uid, this.#user.gid)
    await run('truncate', ['--size=0', consoleLog])
    await chown(sockets, this.#user.uid, this.#user.gid)
    for (const name of ['qmp', 'tools', 'serial', 'agent', 'vnc']) await rm(join(sockets, name), { force: true })
    return this
  }

  start(): void {
    const [program = '', ...args] = this.#command
    this.#process = spawn(program, args, { cwd: '/', stdio: ['pipe', 'ignore', 'inherit'] })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#process
    if (child?.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
}
