/** What the person at the terminal reads; nothing is wrong with Novella. */
export class ImageCommandError extends Error {
  override readonly name = 'ImageCommandError'
}

export interface ImageWords {
  verb: 'add' | 'list' | 'delete'
  /** A file or URL; ids or names. */
  names: string[]
  name: string | undefined
  diskFormat: string | undefined
  isPublic: boolean
  properties: Record<string, string>
  /** Settings of Novella, as `readConfig` takes them. */
  settings: string[]
}

const USAGE = `novella image add FILE|URL [--name NAME] [--disk-format FORMAT] [--public] [--property KEY=VALUE]…
  novella image list
  novella image delete NAME|ID…`

/** What stands behind `novella image`. @throws ImageCommandError that says what may stand there. */
export function readImageWords(args: readonly string[]): ImageWords {
  const [verb, ...rest] = args
  if (verb !== 'add' && verb !== 'list' && verb !== 'delete') throw new ImageCommandError(`use it as\n  ${USAGE}`)
  const words: ImageWords = {
    ...{ verb, names: [], name: undefined, diskFormat: undefined, isPublic: false, properties: {}, settings: [] },
  }
  const left = [...rest]
  const readValue = (flag: string, inline: string | undefined): string => {
    const value = inline ?? left.shift()
    if (value === undefined) throw new ImageCommandError(`${flag} needs a value.`)
    return value
  }
  for (let word = left.shift(); word !== undefined; word = left.shift()) {
    const [flag = '', inline] = word.startsWith('--') ? word.split(/=(.*)/s) : ['', undefined]
    switch (flag) {
      case '':
        words.names.push(word)
        break
      case '--name':
        words.name = readValue(flag, inline)
        break
      case '--disk-format':
        words.diskFormat = readValue(flag, inline)
        break
      case '--public':
        words.isPublic = true
        break
      case '--property': {
        const [key = '', value] = readValue(flag, inline).split(/=(.*)/s)
        if (key === '' || value === undefined) throw new ImageCommandError('--property needs KEY=VALUE.')
        words.properties[key] = value
        break
      }
      default:
        words.settings.push(flag, readValue(flag, inline))
    }
  }
  return words
}
