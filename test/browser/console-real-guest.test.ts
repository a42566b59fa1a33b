import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TINY_FLAVOR_ID } from '../../src/flavors/flavor-seed.ts'
import { TINY_IMAGE_ID } from '../../src/images/image-store.ts'
import { until } from '../support/until.ts'
import { TestBrowser } from './browser.ts'
import { countRows, typeKeys } from './guest-screen.ts'
import { enter, followConsole, PATIENCE, rowOf, stateOf, terminalText, textOf } from './pages.ts'
import { RealCloud } from './real-cloud.ts'

/** What a guest may take to its login prompt on a busy machine, in milliseconds. */
const BOOT_PATIENCE_MS = 180_000

test('a person logs in to a real guest through the browser, on its screen and on its serial console', async () => {
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

  const serial = await followConsole(browser, page, 'web', 'Serial')
  await stateOf(serial, 'connected').waitFor(PATIENCE)
  const shows = (words: RegExp) =>
    until(`the serial console shows ${words}`, async () => words.test(await terminalText(serial)))
  // What was said before anybody looked is there.
  await shows(/Pasted: 0 & \{more\}/)
  // It was said in the middle of the prompt's line.
  await serial.keyboard.type('\n')
  await shows(/login: *\s*$/)
  await serial.keyboard.type('root\n')
  await shows(/assword: *\s*$/m)
  await serial.keyboard.type(`${adminPass}\n`)
  await shows(/# *\s*$/)
  assert.ok(!(await terminalText(serial)).includes(adminPass))
  await serial.keyboard.type('echo serial-$((40 + 2))\n')
  await shows(/^serial-42 *$/m)
  await serial.getByRole('button', { name: 'Set size' }).click()
  await serial.getByRole('button', { name: 'Paste' }).click()
  const script = 'stty size\nfor i in 1 2 3; do\n  echo "pasted $i & $(id -u)"\ndone'
  await serial.getByRole('textbox', { name: 'Text', exact: true }).fill(`${script}\n`)
  await serial.getByRole('button', { name: 'Type it' }).click()
  await shows(/^pasted 3 & 0 *$/m)
  const [, rows] = /stty rows (\d+) cols/.exec(await terminalText(serial)) ?? []
  assert.match(await terminalText(serial), new RegExp(`^${rows} \\d+ *$`, 'm'))
  await browser.picture(serial, 'guest-serial')
  await serial.setViewportSize({ width: 390, height: 844 })
  await serial.reload()
  await stateOf(serial, 'connected').waitFor(PATIENCE)
  await shows(/^pasted 3 & 0 *$/m)
  await browser.picture(serial, 'guest-serial-telephone')
  // Ends what runs, through all of xterm, the socket, QEMU and the guest's line discipline.
  await serial.keyboard.type('sleep 1000; echo interrupted\n')
  await shows(/sleep 1000/)
  await serial.getByRole('button', { name: 'Ctrl+C' }).click()
  await shows(/\^C/)
  await serial.keyboard.type('echo back $?\n')
  await shows(/^back 130 *$/m)

  assert.deepEqual(browser.complaints, [])
  await cloud.ask('POST', `/servers/${id}/action`, { 'os-stop': null })
  await stateOf(serial, 'disconnected').waitFor(PATIENCE)
  await stateOf(console, 'disconnected').waitFor(PATIENCE)
  assert.match(await textOf(console.locator('#word')), /The server was switched off[\s\S]*connects again by itself/)
  await rowOf(page, 'web').filter({ hasText: 'Shutoff' }).waitFor(PATIENCE)
  // While it is off the pages try again, and the browser tells of each 409.
  const others = browser.complaints.filter((one) => !/\b409\b|^Failed when connecting: Connection closed/.test(one))
  assert.deepEqual(others, [])
})
