import { HostError } from '../host-driver.ts'

/**
 * What a failed system call means for who asked for the verb: a full disk is final, a process short of descriptors is
 * not. Every other error is answered as it came. Source: errno(3).
 */
export function toHostError(error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new HostError('noSpace', 'The host has no space left.', { cause: error })
  }
  if (code === 'EMFILE' || code === 'ENFILE') {
    return new HostError('unreachable', 'The host has too many files open.', { cause: error })
  }
  if (code === 'ENOMEM') return new HostError('noMemory', 'The host has not enough memory.', { cause: error })
  return error
}

/** A rejection with what `toHostError` makes of an error. */
export const rejectAsHostError = (error: unknown): Promise<never> => Promise.reject(toHostError(error))
