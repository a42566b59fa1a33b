/** Files that are there, whole, after a power cut: a rename alone may survive without what was written before it. */
import { open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Replaces a file in one step; whoever reads it meanwhile, or after a power cut, finds the old text or the new. */
export async function replaceFile(path: string, text: string, mode: number): Promise<void> {
  const beside = `${path}.new`
  await using file = await open(beside, 'w', mode)
  await file.writeFile(text)
  await file.sync()
  await rename(beside, path)
  await syncDirectory(dirname(path))
}

/** Makes lasting which files a directory names: those that came, those that went. Accepts that it is gone itself. */
export async function syncDirectory(path: string): Promise<void> {
  try {
    await using directory = await open(path, 'r')
    await directory.sync()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
