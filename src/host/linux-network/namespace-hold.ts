/**
 * A network's namespace, held by an open descriptor as long as this process serves it: when somebody takes its name
 * away (`ip netns delete`), it lives on with its bridge, its filters and its guests, and is given its name back.
 */
import { type FileHandle, open } from 'node:fs/promises'
import {
  addNamespace,
  findHolder,
  namespacePath,
  readNamespace,
  removeNamespace,
  renameNamespace,
} from './namespace.ts'

export class NamespaceHold implements AsyncDisposable {
  readonly #name: string
  #handle: { file: FileHandle; inode: number } | undefined

  constructor(name: string) {
    this.#name = name
  }

  /** The number of the namespace that has the name; undefined when none has. */
  read(): Promise<number | undefined> {
    return readNamespace(this.#name)
  }

  /**
   * The namespace, with its name: the one that is there, else the one that this process holds, else one that a process
   * of ours lives in, else a new one.
   * @param isOurs tells such a process by its arguments.
   */
  async ensure(
    isOurs: (args: string[]) => boolean,
  ): Promise<{ inode: number; came: 'stood' | 'found again' | 'made' }> {
    let inode = await this.read()
    let came: 'stood' | 'found again' | 'made' = 'stood'
    if (inode === undefined) {
      came = (await this.#findAgain(isOurs)) ? 'found again' : 'made'
      if (came === 'made') await addNamespace(this.#name)
      inode = await this.read()
      if (inode === undefined) throw new Error(`The namespace ${this.#name} vanished`)
    }
    if (this.#handle?.inode !== inode) {
      await this.#letGo()
      this.#handle = { file: await open(namespacePath(this.#name), 'r'), inode }
    }
    return { inode, came }
  }

  /** Removes the name, and so the namespace unless a process still lives in it. Accepts that there is none. */
  async remove(): Promise<void> {
    await removeNamespace(this.#name)
    await this.#letGo()
  }

  /** Lets go of it; it stays. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#letGo()
  }

  async #findAgain(isOurs: (args: string[]) => boolean): Promise<boolean> {
    if (this.#handle) {
      await renameNamespace(this.#name, `/proc/${process.pid}/fd/${this.#handle.file.fd}`)
      return true
    }
    const pid = await findHolder(isOurs)
    if (pid === undefined) return false
    await renameNamespace(this.#name, `/proc/${pid}/ns/net`)
    return true
  }

  async #letGo(): Promise<void> {
    await this.#handle?.file.close()
    this.#handle = undefined
  }
}
