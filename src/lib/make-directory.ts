import { existsSync, mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * Makes a directory, and what is missing above it, unless it is there. For paths that people give: the recursive mkdir
 * of Node (26) never returns when a file system takes no new directories and says so with ENOENT, as /proc does.
 * @param mode of each directory that is made.
 * @throws Error of the system call that failed.
 */
export function makeDirectory(path: string, mode = 0o777): void {
  try {
    mkdirSync(path, { mode })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST' && isDirectory(path)) return
    const parent = dirname(path)
    if (code !== 'ENOENT' || existsSync(parent)) throw error
    makeDirectory(parent, mode)
    // It can fail only for a reason of its own now, or because somebody else was quicker.
    makeDirectory(path, mode)
  }
}

const isDirectory = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
