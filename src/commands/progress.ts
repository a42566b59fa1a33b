/** Progress for the person at the terminal; plain lines where nobody watches. */
export interface Progress {
  /** What goes on now. */
  step(message: string): void
  /** Ends the current step's line. */
  done(): void
}

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏']

/** On a terminal one line that turns, with the seconds it takes; elsewhere a line a step. Standard error, both. */
export function newProgress(stream: NodeJS.WriteStream = process.stderr): Progress {
  if (!stream.isTTY) return { step: (message) => void stream.write(`${message}\n`), done() {} }
  let current: { message: string; since: number; timer: NodeJS.Timeout } | undefined
  const end = (): void => {
    if (!current) return
    clearInterval(current.timer)
    stream.write(`\r\x1b[2K✓ ${current.message} (${seconds(current.since)} s)\n`)
    current = undefined
  }
  return {
    step(message) {
      end()
      const since = performance.now()
      let frame = 0
      const draw = () => stream.write(`\r\x1b[2K${FRAMES[frame++ % FRAMES.length]} ${message} (${seconds(since)} s)`)
      current = { message, since, timer: setInterval(draw, 100) }
      draw()
    },
    done: end,
  }
}

const seconds = (since: number): string => ((performance.now() - since) / 1000).toFixed(1)
