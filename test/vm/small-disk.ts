import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ServerFiles, serverFiles } from '../../src/host/qemu/server-files.ts'
import { run } from '../../src/host/run-program.ts'

/** A directory whose `data` is a file system of its own that a test can fill; gone when disposed. */
export class SmallDisk implements AsyncDisposable {
  readonly directory: string

  private constructor(directory: string) {
    this.directory = directory
  }

  /** @param size as mount(8) takes it for a tmpfs, `16m` for instance. */
  static async mount(size: string): Promise<SmallDisk> {
    const disk = new SmallDisk(await mkdtemp(join(tmpdir(), 'novella-small-')))
    await chmod(disk.directory, 0o755)
    await mkdir(disk.#data)
    const options = `size=${size},mode=0755`
    await run(['/bin/mount', '-t', 'tmpfs', '-o', options, 'novella-test', disk.#data], { timeoutMs: 10_000 })
    return disk
  }

  get #data(): string {
    return join(this.directory, 'data')
  }

  files(serverId: string): ServerFiles {
    return serverFiles(join(this.#data, 'servers'), serverId)
  }

  /** Takes every byte that is free. */
  fill(): void {
    const file = openSync(join(this.#data, 'filler'), 'a')
    try {
      for (const block = Buffer.alloc(4096); ; ) writeSync(file, block)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    } finally {
      closeSync(file)
    }
  }

  /** Gives back what `fill` took. */
  free(): void {
    rmSync(join(this.#data, 'filler'), { force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run(['/bin/umount', this.#data], { timeoutMs: 10_000 })
    await rm(this.directory, { recursive: true })
  }
}
