/** Formats that are taken: of disks those the inspection knows, of containers those with one disk or kernel in them. */
import { INSPECTED_FORMATS } from './formats/format-names.ts'

export const DISK_FORMATS: readonly string[] = INSPECTED_FORMATS
export const CONTAINER_FORMATS: readonly string[] = ['bare', 'ovf', 'ami', 'aki', 'ari']
/** Kernels and initial RAM disks, which are handed over as they are, and the disk that goes with them. */
const AMAZON = ['ami', 'aki', 'ari']

/** Whether an image of this format is no disk. */
export const isBootFile = (diskFormat: string): boolean => diskFormat === 'aki' || diskFormat === 'ari'

/** What is wrong with the two formats of an image together; undefined: nothing, or one of them is not known yet. */
export function complainOfFormats(diskFormat: string | null, containerFormat: string | null): string | undefined {
  if (diskFormat === null || containerFormat === null || diskFormat === containerFormat) return undefined
  if (!AMAZON.includes(diskFormat) && !AMAZON.includes(containerFormat)) return undefined
  return (
    `disk_format ${diskFormat} and container_format ${containerFormat} do not fit: ` +
    `${AMAZON.join(', ')} need the same word in both.`
  )
}
