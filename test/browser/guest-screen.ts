/** A text screen seen through noVNC: what can be told of it without reading letters, and how to type into it. */
import type { Page } from 'playwright-core'

const KEYS: Record<string, string> = {
  ' ': 'Space',
  '-': 'Minus',
  '/': 'Slash',
  '>': 'Shift+Period',
  '\n': 'Enter',
}

/** A guest under TCG loses keys that are shorter, in milliseconds. */
const KEY_MS = 60

/** The key that a person presses for a character, on a US keyboard. */
function keyOf(character: string): string {
  if (/[a-z]/.test(character)) return `Key${character.toUpperCase()}`
  if (/[A-Z]/.test(character)) return `Shift+Key${character}`
  if (/\d/.test(character)) return `Digit${character}`
  const key = KEYS[character]
  if (!key) throw new Error(`The tests know no key for ${JSON.stringify(character)}.`)
  return key
}

export async function typeKeys(page: Page, text: string): Promise<void> {
  for (const character of text) await page.keyboard.press(keyOf(character), { delay: KEY_MS })
}

/**
 * How many rows of text a screen shows. A row counts when it holds more light than the cursor alone, which blinks
 * and is two lines of nine pixels; rows of VGA text are 16 pixels high.
 */
export function countRows(page: Page): Promise<number> {
  return page.evaluate(`(() => {
    const canvas = document.querySelector('#screen canvas')
    const { width, height } = canvas
    const pixels = canvas.getContext('2d').getImageData(0, 0, width, height).data
    const light = new Array(Math.ceil(height / 16)).fill(0)
    for (let i = 0; i < pixels.length; i += 4) {
      if (pixels[i] + pixels[i + 1] + pixels[i + 2] > 200) light[Math.floor(i / 4 / width / 16)] += 1
    }
    return light.filter((count) => count > 40).length
  })()`) as Promise<number>
}
