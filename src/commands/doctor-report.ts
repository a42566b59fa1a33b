/** One thing that was looked at. */
export interface Finding {
  /** What was looked at, in a word or two. */
  name: string
  /** `missing`: Novella cannot run real guests so; `warn`: it can, with less. */
  state: 'ok' | 'warn' | 'missing'
  /** What it is for, or what was found. */
  note: string
  /** What to do; empty when it is ok. */
  advice: string
}

export const ok = (name: string, note: string): Finding => ({ name, state: 'ok', note, advice: '' })
export const warn = (name: string, note: string, advice: string): Finding => ({ name, state: 'warn', note, advice })
export const missing = (name: string, note: string, advice: string): Finding => ({
  name,
  state: 'missing',
  note,
  advice,
})

/** One line each: state, name, note, and what to do. */
export function reportLines(findings: readonly Finding[]): string[] {
  const width = Math.max(0, ...findings.map(({ name }) => name.length)) + 2
  return findings.map(({ state, name, note, advice }) => {
    const text = advice === '' ? note : `${note}: ${advice}`
    return `${state.padEnd(9)}${name.padEnd(width)}${text}`
  })
}

/** 0 when nothing is missing, else 1. */
export const exitCodeOf = (findings: readonly Finding[]): number =>
  findings.some(({ state }) => state === 'missing') ? 1 : 0
