/** One line of the table: a figure of ours beside its floor, measured in the same run. */
export interface Figure {
  /** What was measured, with its unit: `POST → 202, p50, ms`. */
  name: string
  ours: number
  /** The least that could be expected: see bench/README.md. Undefined when there is none. */
  floor?: number
  /** Which of the two divided by the other the reach speaks of; by default ours by floor. */
  ratio?: number
  /** What is to be reached, as the issues have it: `≤ 5 ms`. Undefined when the figure is there to be known only. */
  reach?: string
  isReached?: boolean
}

/** A number with three digits that count. */
export const shown = (value: number): string =>
  Math.abs(value) >= 100
    ? value.toFixed(0)
    : value
        .toPrecision(3)
        .replace(/(\.\d*?)0+$/, '$1')
        .replace(/\.$/, '')

export const HEADER = ['| figure | ours | floor | ratio | reach | reached |', '|---|---|---|---|---|---|'].join('\n')

/** A row of a Markdown table. */
export function row({ name, ours, floor, ratio, reach, isReached }: Figure): string {
  const quotient = ratio ?? (floor === undefined ? undefined : ours / floor)
  const cells = [
    name,
    shown(ours),
    floor === undefined ? '–' : shown(floor),
    quotient === undefined ? '–' : shown(quotient),
  ]
  return `| ${[...cells, ...(reach === undefined ? ['–', '–'] : [reach, isReached ? 'yes' : '**no**'])].join(' | ')} |`
}
