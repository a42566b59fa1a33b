import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { HostError } from '../host-driver.ts'

/**
 * A stream to the screen behind QEMU's socket.
 * @throws HostError `notRunning` when nobody listens there.
 */
export function openScreen(path: string): Promise<Duplex> {
  const socket = connect(path)
  // A screen that breaks closes, and that is all its reader has to know.
  socket.on('error', () => {})
  return new Promise((resolve, reject) => {
    const refuse = (cause: Error) => reject(new HostError('notRunning', 'The server is not running.', { cause }))
    socket.once('error', refuse)
    socket.once('connect', () => {
      socket.off('error', refuse)
      resolve(socket)
    })
  })
}
