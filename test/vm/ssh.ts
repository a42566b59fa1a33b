/** Ways into a guest, from inside its network's namespace. */
import { join } from 'node:path'
import { run } from './bare-guest.ts'

export type Credentials = { password: string } | { keyFile: string }

export interface Login {
  namespace: string
  userName: string
  address: string
}

const OPTIONS = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'ConnectTimeout=10']
const PASSWORD_ONLY = ['PreferredAuthentications=password', 'PubkeyAuthentication=no', 'NumberOfPasswordPrompts=1']
const KEY_ONLY = ['PreferredAuthentications=publickey', 'BatchMode=yes']
const ASKPASS = join(import.meta.dirname, 'askpass')

/** What a command in a guest writes, by ssh. @throws Error when it, or the login, fails. */
export async function ssh(login: Login, credentials: Credentials, command: string): Promise<string> {
  const hasPassword = 'password' in credentials
  const options = [...OPTIONS, ...(hasPassword ? PASSWORD_ONLY : KEY_ONLY)].flatMap((option) => ['-o', option])
  const key = hasPassword ? [] : ['-i', credentials.keyFile]
  const env = {
    PATH: process.env.PATH,
    ...(hasPassword ? { SSH_ASKPASS: ASKPASS, SSH_ASKPASS_REQUIRE: 'force', SECRET: credentials.password } : {}),
  }
  const enter = ['netns', 'exec', login.namespace, 'ssh', '-F', 'none', '-q', ...options, ...key]
  const { stdout } = await run('ip', [...enter, `${login.userName}@${login.address}`, command], {
    env,
    timeout: 60_000,
  })
  return stdout
}

/** Whether these credentials are let in. */
export const letsIn = (login: Login, credentials: Credentials): Promise<boolean> =>
  ssh(login, credentials, 'echo in').then(
    (text) => text === 'in\n',
    () => false,
  )
