/** The names of a server's disks: `/dev/vda` boots, and the others follow in the alphabet. Pure. */
import { ApiError } from '../http/api-error.ts'

/** What boots, from an image or a volume. */
export const ROOT_DEVICE = '/dev/vda'

/** A wished name as it is kept: `vdb` and `/dev/vdb` mean the same. @throws ApiError badRequest for any other form. */
export function readDeviceName(wished: string): string {
  const [, letter] = /^(?:\/dev\/)?vd([a-z])$/.exec(wished) ?? []
  if (letter !== undefined) return `/dev/vd${letter}`
  throw new ApiError('badRequest', `'${wished}' is no name of a disk here; use /dev/vdb to /dev/vdz, or none.`)
}

/** The first name that nobody has. @throws ApiError forbidden when there is none. */
export function freeDeviceName(taken: Iterable<string>): string {
  const names = new Set(taken)
  for (let code = 'b'.charCodeAt(0); code <= 'z'.charCodeAt(0); code++) {
    const name = `/dev/vd${String.fromCharCode(code)}`
    if (!names.has(name)) return name
  }
  throw new ApiError('forbidden', 'All names of disks are taken.')
}
