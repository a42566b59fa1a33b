import { Writable } from 'node:stream'

/** What one says while another has the screen. */
export class KeptOutput extends Writable {
  text = ''

  override _write(chunk: Buffer | string, _encoding: string, done: () => void): void {
    this.text += chunk
    done()
  }
}
