/**
 * Metadata for the guests of one network, answered by this process on a socket that lives in the network's namespace.
 *
 * Who asks is the network of the socket and the source address of the connection, never a header. The address can be
 * trusted because of the filters in nft-rules.ts alone: they take packets to this service only from a tap, and only
 * with an address of that tap's port, anti-spoofing or not.
 */
import { spawn } from 'node:child_process'
import type { Server } from 'node:http'
import type { Server as NetServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { Logger } from 'pino'
import { COMMAND_ENV } from '../run-program.ts'
import { type AnswerMetadata, createMetadataServer } from './metadata-server.ts'
import { METADATA_ADDRESS } from './names.ts'

const CHILD = fileURLToPath(new URL('./listener-child.mjs', import.meta.url))
/** How long the child may take to hand the socket over, in milliseconds; it takes about a hundred. */
const HAND_OVER_MS = 20_000

/** The metadata listener of one network; disposing it closes the socket and every connection. */
export class MetadataListener implements AsyncDisposable {
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
  }

  /**
   * Opens the listener in the namespace, which must hold 169.254.169.254.
   * @throws Error when it cannot, with what the child said.
   */
  static async open(
    namespace: string,
    networkId: string,
    answerMetadata: AnswerMetadata,
    log: Logger,
  ): Promise<MetadataListener> {
    const server = createMetadataServer(networkId, answerMetadata, log)
    const socket = await openInNamespace(namespace)
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(socket, resolve)
    })
    // Out of descriptors, say: this network's guests wait, the cloud goes on.
    server.on('error', (error) => log.error({ err: error, networkId }, 'A metadata listener has trouble'))
    return new MetadataListener(server)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }
}

/** A listening socket made inside the namespace by a short-lived child, which hands it over. */
function openInNamespace(namespace: string): Promise<NetServer> {
  return new Promise((resolve, reject) => {
    const args = ['netns', 'exec', namespace, process.execPath, CHILD, METADATA_ADDRESS, '80']
    const child = spawn('ip', args, {
      env: { ...COMMAND_ENV },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      timeout: HAND_OVER_MS,
      killSignal: 'SIGKILL',
    })
    let complaint = ''
    let listener: NetServer | undefined
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      complaint += text
    })
    child.on('message', (_message, handle) => {
      listener = handle as NetServer
    })
    child.on('error', reject)
    child.on('close', (code, signal) => {
      if (listener) resolve(listener)
      else reject(new Error(`No metadata listener in ${namespace}: child ended with ${code ?? signal}: ${complaint}`))
    })
  })
}
