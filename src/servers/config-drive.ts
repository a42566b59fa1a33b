/** Which servers have a config drive, and what is on it. */

import type { Cloud } from '../cloud.ts'
import type { Config } from '../config.ts'
import type { Row } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'
import type { FactParts } from '../metadata/guest-facts.ts'

/** As the flag of a body may be written. Source: shared/spec/nova-v21.md, section 2.2. */
const YES = ['true', '1', 'on', 'yes']

export interface ConfigDriveWish {
  config_drive?: boolean | string | null
  personality?: readonly { path: string; contents: string }[] | null
}

/** What is kept of it in a server's row. `imageProperties`: as the row has them. */
export function configDriveColumns(
  wish: ConfigDriveWish,
  { forceConfigDrive }: Pick<Config, 'forceConfigDrive'>,
  imageProperties: string,
): Pick<Row<'servers'>, 'configDrive' | 'personality'> {
  const isWished = YES.includes(String(wish.config_drive ?? false).toLowerCase())
  const { img_config_drive: ofImage }: Record<string, string> = JSON.parse(imageProperties)
  const isForced = forceConfigDrive || ofImage?.trim().toLowerCase() === 'mandatory'
  return {
    configDrive: isWished || isForced ? 'True' : '',
    personality: JSON.stringify(readPersonality(wish.personality ?? [])),
  }
}

/** Of the files that a server may bring. Source: Nova's default quotas. */
export const MOST_FILES = 5
export const MOST_FILE_BYTES = 10_240

/** @throws ApiError badRequest for a path or contents that are none; forbidden for too many, or too long ones. */
function readPersonality(files: NonNullable<ConfigDriveWish['personality']>): Personality {
  if (files.length > MOST_FILES) {
    throw new ApiError(
      'forbidden',
      `Quota exceeded for injected_files: ${files.length} given, the limit is ${MOST_FILES}.`,
    )
  }
  return files.map(({ path, contents }, index) => {
    const name = `personality.${index}`
    if (!/^\/[^\u0000-\u001f\u007f]+$/.test(path) || path.split('/').some((part) => part === '..')) {
      throw new ApiError('badRequest', `${name}.path must be an absolute path.`)
    }
    if (!isBase64(contents)) throw new ApiError('badRequest', `${name}.contents must be base64.`)
    const { length } = Buffer.from(contents, 'base64')
    if (length > MOST_FILE_BYTES) {
      throw new ApiError(
        'forbidden',
        `Quota exceeded for injected_file_content_bytes: ${name} has ${length}, the limit is ${MOST_FILE_BYTES}.`,
      )
    }
    return { path, contents }
  })
}

/** As it is kept, contents in base64 as they were sent. */
export type Personality = { path: string; contents: string }[]

/** Whether it is base64 with its padding, perhaps in lines. */
export const isBase64 = (text: string): boolean =>
  /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text.replace(/[\r\n]/g, ''))

/** The drive's bytes, with everything as it is now; undefined for a server without one. */
export async function configDriveOf(
  parts: FactParts & Pick<Cloud, 'clock'>,
  server: Row<'servers'>,
): Promise<Buffer | undefined> {
  if (server.configDrive === '') return undefined
  // Loaded with the first server that has one.
  const [{ readGuestFacts }, { buildConfigDrive }] = await Promise.all([
    import('../metadata/guest-facts.ts'),
    import('../metadata/config-drive.ts'),
  ])
  return buildConfigDrive(await readGuestFacts(parts, server), parts.clock.now())
}
