import assert from 'node:assert/strict'
import type { Duplex } from 'node:stream'
import { test } from 'node:test'
import type { Page } from 'playwright-core'
import { type TestCloud, testCloud } from '../support/test-cloud.ts'
import { until } from '../support/until.ts'
import { TestBrowser } from './browser.ts'
import { PATIENCE, stateOf, textOf } from './pages.ts'

/** Opens a fresh console as its link does. */
async function openConsole(cloud: TestCloud, browser: TestBrowser, change = (url: string) => url) {
  const base = cloud.app.server.listening ? undefined : await cloud.app.listen({ host: '127.0.0.1', port: 0 })
  const action = { 'os-getVNCConsole': { type: 'novnc' } }
  const answer = await cloud.member.post(`/servers/${cloud.id.web}/action`, action, { host: new URL(base ?? '').host })
  const page = await browser.context.newPage()
  await page.goto(change(answer.json().console.url))
  return page
}

/** Messages of a client after the handshake: type → length. Source: RFC 6143, section 7.5. */
const LENGTHS: Record<number, (bytes: Buffer) => number> = {
  0: () => 20,
  2: (bytes) => 4 + 4 * bytes.readUInt16BE(2),
  3: () => 10,
  4: () => 8,
  5: () => 6,
  6: (bytes) => 8 + bytes.readUInt32BE(4),
}

/** Keys that went down and up, `+41 -41` and so on, in the bytes of a client. */
function keysIn(all: Buffer): string {
  const keys: string[] = []
  // Version, the choice of security, and the init.
  for (let at = 14; at < all.length; ) {
    const bytes = all.subarray(at)
    const lengthOf = LENGTHS[bytes[0] ?? -1]
    if (!lengthOf) throw new Error(`A message of type ${bytes[0]} came.`)
    if (bytes[0] === 4) keys.push(`${bytes[1] ? '+' : '-'}${bytes.readUInt32BE(4).toString(16)}`)
    at += lengthOf(bytes)
  }
  return keys.join(' ')
}

/** Lets the screens of a host tell what clients sent to them. */
function record(cloud: TestCloud): () => string {
  const chunks: Buffer[] = []
  cloud.host.intercept = async (verb, _id, run) => {
    const result = await run()
    if (verb === 'openVnc') {
      const screen = result as Duplex
      const write = screen._write.bind(screen)
      screen._write = (chunk: Buffer, encoding, done) => {
        chunks.push(Buffer.from(chunk))
        write(chunk, encoding, done)
      }
    }
    return result
  }
  return () => keysIn(Buffer.concat(chunks))
}

test('a link that nobody gave out says what to do', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  await using browser = await TestBrowser.open()
  const page = await openConsole(cloud, browser, (url) => url.replace(/token=.*/, 'token=nonsense'))
  await stateOf(page, 'disconnected').waitFor(PATIENCE)
  const words = await textOf(page.locator('#word'))
  assert.match(words, /opens no console[\s\S]*not valid\. Ask for a new link in the list of servers/)
  assert.equal(await page.getByRole('link', { name: 'List of servers' }).getAttribute('href'), '/')
  assert.equal(await page.getByRole('button', { name: 'Ctrl+Alt+Del' }).isDisabled(), true)
})

test('a link that was used or has expired says so', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  await using browser = await TestBrowser.open()
  let link = ''
  const first = await openConsole(cloud, browser, (url) => {
    link = url
    return url
  })
  await stateOf(first, 'connected').waitFor(PATIENCE)
  const second = await browser.context.newPage()
  await second.goto(link)
  await stateOf(second, 'disconnected').waitFor(PATIENCE)
  assert.match(await textOf(second.locator('#word')), /used before[\s\S]*new link/)
  cloud.clock.advance(60 * 60_000)
  await cloud.cloud.db.transaction((tx) => tx.updateTable('consoleTokens').set({ usedAt: null }).execute())
  const third = await browser.context.newPage()
  await third.goto(link)
  await stateOf(third, 'disconnected').waitFor(PATIENCE)
  assert.match(await textOf(third.locator('#word')), /has expired[\s\S]*new link/)
})

test('a server that is off says so, and the same page opens once it runs', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  await using browser = await TestBrowser.open()
  const id = cloud.id.web ?? ''
  const page = await openConsole(cloud, browser, (url) => {
    cloud.host.powerOffFromInside(id)
    return url
  })
  await stateOf(page, 'disconnected').waitFor(PATIENCE)
  assert.match(await textOf(page.locator('#word')), /not running[\s\S]*Start it/)
  await cloud.advanceUntil(async () => (await cloud.server('web')).vmState === 'stopped')
  assert.equal((await cloud.member.post(`/servers/${id}/action`, { 'os-start': null })).statusCode, 202)
  await cloud.settled()
  await page.getByRole('button', { name: 'Try again' }).click()
  await stateOf(page, 'connected').waitFor(PATIENCE)
})

test('the end of the guest is told as what it is, and so is the end of Novella', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  await using browser = await TestBrowser.open()
  const page = await openConsole(cloud, browser)
  await stateOf(page, 'connected').waitFor(PATIENCE)
  cloud.host.powerOffFromInside(cloud.id.web ?? '')
  await stateOf(page, 'disconnected').waitFor(PATIENCE)
  assert.match(await textOf(page.locator('#word')), /server was switched off[\s\S]*ask for a new link/)
})

test('the end of Novella is not the end of the server', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  await using browser = await TestBrowser.open()
  const page = await openConsole(cloud, browser)
  await stateOf(page, 'connected').waitFor(PATIENCE)
  await cloud.app.close()
  await stateOf(page, 'disconnected').waitFor(PATIENCE)
  assert.match(await textOf(page.locator('#word')), /Novella is stopping[\s\S]*server goes on running/)
})

test('keys arrive: typed, pasted with their Shift, and Ctrl+Alt+Del', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  const keys = record(cloud)
  await using browser = await TestBrowser.open()
  const page = await openConsole(cloud, browser)
  await stateOf(page, 'connected').waitFor(PATIENCE)

  await page.keyboard.press('a')
  await until('the key arrived', () => keys() === '+61 -61')

  await page.getByRole('button', { name: 'Ctrl+Alt+Del' }).click()
  await until('the three keys arrived', () => keys().endsWith('+ffe3 +ffe9 +ffff -ffff -ffe9 -ffe3'))

  await page.getByRole('button', { name: 'Paste' }).click()
  await page.getByRole('textbox', { name: 'Text' }).fill('xB!\n')
  await page.getByRole('button', { name: 'Type it' }).click()
  const pasted = '+78 -78 +ffe1 +42 -42 -ffe1 +ffe1 +21 -21 -ffe1 +ff0d -ff0d'
  await until('the text arrived', () => keys().endsWith(pasted))

  // Typing goes on in the screen, and nothing of what may have been a password stays behind.
  await screenHasKeys(page)
  await page.keyboard.press('z')
  await until('the screen has the keys again', () => keys().endsWith(`${pasted} +7a -7a`))
  assert.equal(await page.locator('#paste-text').inputValue(), '')
  assert.deepEqual(browser.complaints, [])
})

/** Focus comes back to the screen a moment after a dialog has closed; a key before that is nobody's. */
const screenHasKeys = (page: Page) =>
  until('the screen has the focus', () => page.evaluate("document.activeElement?.tagName === 'CANVAS'"))

test('a paste that was cancelled types nothing', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  const keys = record(cloud)
  await using browser = await TestBrowser.open()
  const page = await openConsole(cloud, browser)
  await stateOf(page, 'connected').waitFor(PATIENCE)
  for (const leave of [
    () => page.getByRole('button', { name: 'Cancel' }).click(),
    () => page.keyboard.press('Escape'),
  ]) {
    await page.getByRole('button', { name: 'Paste' }).click()
    await page.getByRole('textbox', { name: 'Text' }).fill('secret')
    await leave()
  }
  await screenHasKeys(page)
  await page.keyboard.press('q')
  await until('the next key arrived', () => keys() === '+71 -71')
})

test('the keyboard of a telephone types, deletes and presses Enter', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  const keys = record(cloud)
  await using browser = await TestBrowser.open({
    viewport: { width: 390, height: 780 },
    hasTouch: true,
    isMobile: true,
  })
  const page = await openConsole(cloud, browser)
  await stateOf(page, 'connected').waitFor(PATIENCE)
  await page.getByRole('button', { name: 'Keyboard' }).tap()
  await page.keyboard.insertText('hi')
  await until('the word arrived', () => keys() === '+68 -68 +69 -69')
  await page.keyboard.press('Backspace')
  await page.keyboard.press('Enter')
  await until('the other keys arrived', () => keys().endsWith('+69 -69 +ff08 -ff08 +ff0d -ff0d'))
})

test('on a telephone nothing sticks out, and the screen can be scaled or not', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  await using browser = await TestBrowser.open({
    viewport: { width: 390, height: 780 },
    hasTouch: true,
    isMobile: true,
  })
  const page = await openConsole(cloud, browser)
  await stateOf(page, 'connected').waitFor(PATIENCE)
  assert.equal(await page.evaluate('document.documentElement.scrollWidth'), 390)
  const width = async () => Math.round((await page.locator('#screen canvas').boundingBox())?.width ?? 0)
  await until('the screen fills the width', async () => (await width()) === 390)
  await page.getByRole('button', { name: 'Fit' }).tap()
  await until('the screen has its own size', async () => (await width()) === 320)
})
