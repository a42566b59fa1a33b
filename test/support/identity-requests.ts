import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Answer, TestCloud } from './test-cloud.ts'

/** The password of a seeded user, from the file that a person would read. */
export function passwordOf(cloud: TestCloud, user: 'admin' | 'demo'): string {
  const text = readFileSync(join(cloud.dataDirectory, user === 'admin' ? 'openrc' : 'openrc-demo'), 'utf8')
  const [, password] = /^export OS_PASSWORD='(.*)'$/m.exec(text) ?? []
  if (password === undefined) throw new Error(`openrc of ${user} has no password.`)
  return password
}

/** `auth.identity` of a password by user name, in the domain Default. */
export const byPassword = (name: string, password: string) => ({
  methods: ['password'],
  password: { user: { name, domain: { name: 'Default' }, password } },
})

/** `auth.identity` of a token. */
export const byToken = (id: string) => ({ methods: ['token'], token: { id } })

/** Sends `POST /v3/auth/tokens` without a token. */
export function askToken(
  cloud: TestCloud,
  auth: object,
  { url = '/v3/auth/tokens', remoteAddress = '127.0.0.1' }: { url?: string; remoteAddress?: string } = {},
): Promise<Answer> {
  return cloud.app.inject({ method: 'POST', url, payload: { auth }, remoteAddress })
}

/** The token that an answer brought. */
export function tokenOf(answer: Answer): string {
  const token = answer.headers['x-subject-token']
  if (typeof token !== 'string') throw new Error(`No token: ${answer.statusCode} ${answer.body}`)
  return token
}

/** `GET`, `HEAD` or `DELETE /v3/auth/tokens`. */
export function aboutToken(
  cloud: TestCloud,
  method: 'GET' | 'HEAD' | 'DELETE',
  own: string,
  subject?: string,
  query = '',
): Promise<Answer> {
  const headers = { 'x-auth-token': own, ...(subject === undefined ? {} : { 'x-subject-token': subject }) }
  return cloud.app.inject({ method, url: `/v3/auth/tokens${query}`, headers })
}
