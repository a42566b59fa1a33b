import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type TestCloud, testCloud } from '../support/test-cloud.ts'
import { until } from '../support/until.ts'
import { TestBrowser } from './browser.ts'
import { enter, followConsole, PATIENCE, stateOf, terminalText, textOf } from './pages.ts'

/** A telephone, as large as many. */
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }

/** The page of a fresh serial console, as somebody opens it who has nothing but the link. */
async function openByLink(cloud: TestCloud, browser: TestBrowser) {
  if (!cloud.app.server.listening) await cloud.app.listen({ host: '127.0.0.1', port: 0 })
  const address = cloud.app.server.address()
  assert.ok(address !== null && typeof address === 'object')
  const host = `127.0.0.1:${address.port}`
  const action = { 'os-getSerialConsole': { type: 'serial' } }
  const answer = await cloud.member.post(`/servers/${cloud.id.web}/action`, action, { host })
  const token = new URL(answer.json().console.url).searchParams.get('token')
  const link = `http://${host}/serial/serial.html?token=${token}`
  const page = await browser.context.newPage()
  await page.goto(link)
  return { page, link }
}

const shows = (page: Parameters<typeof terminalText>[0], text: RegExp) =>
  until(`the terminal shows ${text}`, async () => text.test(await terminalText(page)))

test('a serial console shows what was said, echoes what is typed and pasted, and keeps to our policy', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  cloud.host.print(cloud.id.web ?? '', '\x1b[31mred\x1b[0m words', 'login: ')
  await using browser = await TestBrowser.open()
  const { page } = await openByLink(cloud, browser)
  await stateOf(page, 'connected').waitFor(PATIENCE)
  assert.equal(new URL(page.url()).search, '')
  await shows(page, /red words\s+login:/)
  const colour = `getComputedStyle([...document.querySelectorAll('.xterm-rows span')].find((span) => span.textContent === 'red')).color`
  assert.equal(await page.evaluate(colour), 'rgb(255, 156, 146)')

  await page.keyboard.type('root')
  await page.keyboard.press('Enter')
  await page.keyboard.type('x')
  await shows(page, /login: root\s*\nx/)
  await page.getByRole('button', { name: 'Paste' }).click()
  await page.getByRole('textbox', { name: 'Text', exact: true }).fill('one\ntwo $HOME & "three"')
  await page.getByRole('button', { name: 'Type it' }).click()
  await shows(page, /xone\s*\ntwo \$HOME & "three"/)
  await page.getByRole('button', { name: 'Set size' }).click()
  await shows(page, /stty rows \d+ cols \d+/)
  const [, rows, cols] = /stty rows (\d+) cols (\d+)/.exec(await terminalText(page)) ?? []
  assert.equal(Number(rows), await page.locator('.xterm-rows > div').count())
  assert.ok(Number(cols) > 80, `${cols} columns`)
  await browser.picture(page, 'serial')
  assert.deepEqual(browser.complaints, [])
})

test('all who look at a serial console see the same, and a link opens one, once', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  await using browser = await TestBrowser.open()
  const { page: first, link } = await openByLink(cloud, browser)
  const { page: second } = await openByLink(cloud, browser)
  for (const page of [first, second]) await stateOf(page, 'connected').waitFor(PATIENCE)
  await first.bringToFront()
  await first.keyboard.type('seen by both')
  for (const page of [first, second]) await shows(page, /seen by both/)
  await second.goto(link)
  await stateOf(second, 'disconnected').waitFor(PATIENCE)
  assert.match(await textOf(second.locator('#word')), /used before[\s\S]*new link in the list/)
  await second.goto(link.replace('/serial/serial.html', '/vnc/vnc_auto.html'))
  await stateOf(second, 'disconnected').waitFor(PATIENCE)
  assert.match(await textOf(second.locator('#word')), /not valid[\s\S]*new link in the list/)
})

test('somebody who is logged in gets the console again after a reload, a lost network and a reboot of the server', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  const base = await cloud.app.listen({ host: '127.0.0.1', port: 0 })
  await using browser = await TestBrowser.open()
  const list = await enter(browser, base, cloud.dataDirectory)
  for (const kind of ['Serial', 'Console'] as const) {
    const page = await followConsole(browser, list, 'web', kind)
    await stateOf(page, 'connected').waitFor(PATIENCE)
    await page.reload()
    await stateOf(page, 'connected').waitFor(PATIENCE)
    assert.equal(await page.getByRole('heading', { name: 'web' }).isVisible(), true)

    cloud.host.powerOffFromInside(cloud.id.web ?? '')
    await stateOf(page, 'disconnected').waitFor(PATIENCE)
    assert.match(await textOf(page.locator('#word')), /switched off[\s\S]*connects again by itself/)
    await cloud.advanceUntil(async () => (await cloud.server('web')).vmState === 'stopped')
    await cloud.member.post(`/servers/${cloud.id.web}/action`, { 'os-start': null })
    await cloud.settled()
    await stateOf(page, 'connected').waitFor(PATIENCE)
    if (kind === 'Serial') await shows(page, /booting[\s\S]*booting[\s\S]*login/)
    await page.close()
  }
})

test('the last words of a guest stay in sight, and can be copied also where the clipboard is not for pages', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  cloud.host.print(cloud.id.web ?? '', 'copy me', `a line that ${'is long and '.repeat(30)}wraps`, 'Kernel panic')
  await using browser = await TestBrowser.open()
  const { page } = await openByLink(cloud, browser)
  await shows(page, /Kernel panic/)
  cloud.host.powerOffFromInside(cloud.id.web ?? '')
  await stateOf(page, 'disconnected').waitFor(PATIENCE)
  assert.match(await textOf(page.locator('#word')), /switched off[\s\S]*ask for a new link/)
  assert.equal(await page.locator('.xterm-rows').isVisible(), true)
  assert.match(await terminalText(page), /Kernel panic/)
  await browser.picture(page, 'serial-ended')
  await page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
  await page.getByRole('button', { name: 'Copy' }).click()
  assert.match(
    await page.locator('#copy-text').inputValue(),
    /copy me\na line that (is long and ){30}wraps\nKernel panic/,
  )
  await page.getByRole('button', { name: 'Done' }).click()
  assert.equal(await page.locator('#copy-text').inputValue(), '')
})

test('on a telephone nothing sticks out, and there are keys that its keyboard lacks', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  cloud.host.print(cloud.id.web ?? '', 'Novella tiny on web', 'web login: ')
  await using browser = await TestBrowser.open(PHONE)
  const { page } = await openByLink(cloud, browser)
  await stateOf(page, 'connected').waitFor(PATIENCE)
  await shows(page, /login:/)
  assert.equal(await page.evaluate('document.documentElement.scrollWidth'), 390)
  await page.getByRole('button', { name: 'Keyboard' }).tap()
  await page.keyboard.insertText('hi')
  await shows(page, /login: hi/)
  await page.keyboard.press('Backspace')
  await shows(page, /login: h *$/m)

  for (const button of await page.locator('#keys button, .tools button:visible').all()) {
    const box = await button.boundingBox()
    assert.ok((box?.height ?? 0) >= 40, JSON.stringify(box))
  }
  await browser.picture(page, 'serial-telephone')
})
