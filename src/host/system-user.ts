import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { HostError } from './host-driver.ts'

/**
 * The user that guests run as; made as a system user without home and shell when it does not exist.
 * @throws HostError missing when it cannot be made, with the command that would.
 */
export async function ensureSystemUser(name: string): Promise<{ uid: number; gid: number }> {
  const known = await findUser(name)
  if (known) return known
  const args = [
    '--system',
    '--user-group',
    '--no-create-home',
    '--home-dir',
    '/nonexistent',
    '--shell',
    '/usr/sbin/nologin',
    name,
  ]
  try {
    await promisify(execFile)('/usr/sbin/useradd', args)
  } catch (error) {
    // Two that start at once: the other one made it.
    const made = await findUser(name)
    if (made) return made
    throw new HostError(
      'missing',
      `There is no user ${name} for guests to run as. Make one: useradd ${args.join(' ')}`,
      {
        cause: error,
      },
    )
  }
  const made = await findUser(name)
  if (!made)
    throw new HostError('missing', `useradd made no user ${name} in /etc/passwd; set qemu_user to one that is there.`)
  return made
}

async function findUser(name: string): Promise<{ uid: number; gid: number } | undefined> {
  for (const line of (await readFile('/etc/passwd', 'utf8')).split('\n')) {
    const [user, , uid, gid] = line.split(':')
    if (user === name) return { uid: Number(uid), gid: Number(gid) }
  }
  return undefined
}
