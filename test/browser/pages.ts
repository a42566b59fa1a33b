/** What people do on the pages, in the words of the tests. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Locator, Page } from 'playwright-core'
import type { TestBrowser } from './browser.ts'

/** What a page may take on a busy machine, in milliseconds; only a failing test waits for it. */
export const PATIENCE = { timeout: 60_000 }

/** The password that the first start wrote for a user. */
export function passwordOf(dataDirectory: string, user: 'admin' | 'demo'): string {
  const openrc = readFileSync(join(dataDirectory, user === 'admin' ? 'openrc' : 'openrc-demo'), 'utf8')
  const [, password] = /^export OS_PASSWORD='?([^'\n]+)'?$/m.exec(openrc) ?? []
  if (!password) throw new Error('There is no password in openrc.')
  return password
}

export async function logIn(page: Page, who: { user: string; password: string; project?: string }): Promise<void> {
  await page.getByLabel('User').fill(who.user)
  await page.getByLabel('Password').fill(who.password)
  await page.getByLabel('Project').fill(who.project ?? '')
  await page.getByRole('button', { name: 'Log in' }).click()
}

/** Opens the page at `/` and logs a seeded user in. */
export async function enter(
  browser: TestBrowser,
  base: string,
  dataDirectory: string,
  user: 'admin' | 'demo' = 'demo',
) {
  const page = await browser.context.newPage()
  await page.goto(base)
  await logIn(page, { user, password: passwordOf(dataDirectory, user) })
  await page.getByRole('heading', { name: 'Servers', exact: true }).waitFor(PATIENCE)
  return page
}

export const rowOf = (page: Page, serverName: string) => page.locator('#rows tr', { hasText: serverName })

/** Follows a link to a console of a server into its new tab. */
export async function followConsole(
  browser: TestBrowser,
  page: Page,
  serverName: string,
  kind: 'Console' | 'Serial' = 'Console',
): Promise<Page> {
  const opened = browser.context.waitForEvent('page')
  await rowOf(page, serverName).getByRole('button', { name: kind }).click()
  return opened
}

/** The text that a terminal shows, its rows as lines. */
export const terminalText = (page: Page): Promise<string> =>
  page.evaluate("[...document.querySelectorAll('.xterm-rows > div')].map((row) => row.textContent).join('\\n')")

export const stateOf = (page: Page, state: 'connecting' | 'connected' | 'disconnected') =>
  page.locator(`body[data-state="${state}"]`)

/** All text of an element, hidden or not. */
export const textOf = async (element: Locator): Promise<string> => (await element.textContent()) ?? ''
