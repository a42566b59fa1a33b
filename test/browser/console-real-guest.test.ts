import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TINY_FLAVOR_ID } from '../../src/flavors/flavor-seed.ts'
import { TINY_IMAGE_ID } from '../../src/images/image-store.ts'
import { until } from '../support/until.ts'
import { TestBrowser } from './browser.ts'
import { countRows, typeKeys } from './guest-screen.ts'
import { enter, followConsole, PATIENCE, rowOf, stateOf, textOf } from './pages.ts'
import { RealCloud } from './real-cloud.ts'

/** What a guest may take to its login prompt on a busy machine, in milliseconds. */
const BOOT_PATIENCE_MS = 180_000

test('a person logs in to a real guest through the browser, by typing and by pasting', async () => {
  await using cloud = await RealCloud.open()
  await using browser = await TestBrowser.open({ viewport: { width: 1280, height: 860 } })
  const page = await enter(browser, cloud.base, cloud.dataDirectory)

  const server = { name: 'web', flavorRef: TINY_FLAVOR_ID, imageRef: TINY_IMAGE_ID }
  const { id, adminPass } = (
    await cloud.ask<{ server: { id: string; adminPass: string } }>('POST', '/servers', { server })
  ).server
  await rowOf(page, 'web').filter({ hasText: 'Active' }).waitFor({ timeout: BOOT_PATIENCE_MS })
  await until('the guest asks for a login', async () => /login: *$/.test(await cloud.consoleOf(id)), BOOT_PATIENCE_MS)

  const console = await followConsole(browser, page, 'web')
  await stateOf(console, 'connected').waitFor(PATIENCE)
  await until('the screen shows a login prompt', async () => (await countRows(console)) > 0)
  const atPrompt = await countRows(console)
  const before = await browser.picture(console, 'guest-prompt')

  await typeKeys(console, 'root\n')
  await until('the guest asks for the password', async () => (await countRows(console)) > atPrompt)
  const atPassword = await countRows(console)
  await typeKeys(console, `${adminPass}\n`)
  await until('the guest greets', async () => (await countRows(console)) > atPassword)
  await typeKeys(console, 'echo typed-by-browser > /dev/ttyS0\n')
  await until('what was typed comes out of the serial port', async () =>
    /^typed-by-browser\s*$/m.test(await cloud.consoleOf(id)),
  )
  assert.notDeepEqual(await browser.picture(console, 'guest-logged-in'), before)

  await console.getByRole('button', { name: 'Paste' }).click()
  await console.getByRole('textbox', { name: 'Text' }).fill('echo "Pasted: $(id -u) & {more}" > /dev/ttyS0\n')
  await console.getByRole('button', { name: 'Type it' }).click()
  await until('what was pasted comes out of the serial port', async () =>
    /^Pasted: 0 & \{more\}\s*$/m.test(await cloud.consoleOf(id)),
  )

  await cloud.ask('POST', `/servers/${id}/action`, { 'os-stop': null })
  await stateOf(console, 'disconnected').waitFor(PATIENCE)
  assert.match(await textOf(console.locator('#word')), /The server was switched off[\s\S]*connects again by itself/)
  await rowOf(page, 'web').filter({ hasText: 'Shutoff' }).waitFor(PATIENCE)
  assert.deepEqual(browser.complaints, [])
})
