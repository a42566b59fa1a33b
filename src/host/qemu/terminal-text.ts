/**
 * What a terminal would answer: where its cursor is, what it is, what its colours and settings are.
 * Source: ECMA-48, DSR and DA; xterm's "Control Sequences", DECRQSS, DECRQM, XTWINOPS, OSC.
 */
const QUESTION = /\x1b\[[?>=]?[\d;]*(?:[cnxt]|\$p)|\x1bZ|\x05|\x1b[P\]_^X][^\x07\x1b]*(?:\x07|\x1b\\|$)/g
const ANSWER = /^(?:\x1b\[[?>]?[\d;]*[Rcntx])+$/

/**
 * What a console said earlier as it may be shown to a terminal now: it begins with a whole line, and asks the terminal
 * nothing, for the guest waits for no answer any more and would take one for keys. Pure.
 */
export function asBacklog(bytes: Buffer, isWhole: boolean): Buffer {
  const lineEnd = isWhole ? -1 : bytes.indexOf(0x0a)
  return Buffer.from(
    bytes
      .subarray(lineEnd + 1)
      .toString('latin1')
      .replace(QUESTION, ''),
    'latin1',
  )
}

/** Whether these bytes were sent by a terminal on its own, rather than typed. Pure. */
export const isTerminalAnswer = (bytes: Buffer): boolean => bytes[0] === 0x1b && ANSWER.test(bytes.toString('latin1'))
