import { Duplex } from 'node:stream'

const WIDTH = 320
const HEIGHT = 200
const VERSION = Buffer.from('RFB 003.008\n')

/**
 * The screen of a memory guest: an RFB 3.8 server without password that shows one plain frame. Enough for a real
 * client to connect to, and for a test to see what its keys became.
 * Source: RFC 6143, sections 7.1 to 7.3.
 */
export function memoryScreen(name: string): Duplex {
  const replies: ((input: Buffer) => Buffer | undefined)[] = [
    (input) => (input.length >= VERSION.length ? Buffer.from([1, 1]) : undefined),
    (input) => (input.length >= 1 ? Buffer.alloc(4) : undefined),
    (input) => (input.length >= 1 ? serverInit(name) : undefined),
  ]
  const consumed = [VERSION.length, 1, 1]
  let step = 0
  let pending = Buffer.alloc(0)
  const screen = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      pending = Buffer.concat([pending, chunk])
      for (;;) {
        const reply = replies[step]?.(pending)
        if (!reply) break
        pending = pending.subarray(consumed[step])
        step += 1
        screen.push(reply)
      }
      // After the handshake: answer each request for a frame (type 3) with a full one; nothing else needs an answer.
      if (step === replies.length && pending.length > 0) {
        if (pending[0] === 3) screen.push(frame())
        pending = Buffer.alloc(0)
      }
      done()
    },
  })
  screen.push(VERSION)
  return screen
}

function serverInit(name: string): Buffer {
  const title = Buffer.from(name)
  const head = Buffer.alloc(24)
  head.writeUInt16BE(WIDTH, 0)
  head.writeUInt16BE(HEIGHT, 2)
  // 32 bits a pixel, depth 24, little-endian, true colour, 8 bits each of red, green and blue.
  Buffer.from([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0]).copy(head, 4)
  head.writeUInt32BE(title.length, 20)
  return Buffer.concat([head, title])
}

function frame(): Buffer {
  const head = Buffer.alloc(16)
  head.writeUInt16BE(1, 2)
  head.writeUInt16BE(WIDTH, 8)
  head.writeUInt16BE(HEIGHT, 10)
  return Buffer.concat([head, Buffer.alloc(WIDTH * HEIGHT * 4, 0x30)])
}
