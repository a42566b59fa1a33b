import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import type { Page } from 'playwright-core'
import { type TestCloud, testCloud } from '../support/test-cloud.ts'
import { until } from '../support/until.ts'
import { TestBrowser } from './browser.ts'
import { enter, followConsole, logIn, PATIENCE, passwordOf, rowOf, stateOf, textOf } from './pages.ts'

const listen = (cloud: TestCloud) => cloud.app.listen({ host: '127.0.0.1', port: 0 })

test('from a wrong password to the screen of a server', async () => {
  await using cloud = await testCloud({ servers: { web: {}, broken: { vmState: 'error', powerState: 0 } } })
  const base = await listen(cloud)
  await using browser = await TestBrowser.open()
  const page = await browser.context.newPage()
  await page.goto(base)

  await logIn(page, { user: 'demo', password: 'wrong' })
  await page.getByRole('alert').filter({ hasText: 'User or password is wrong.' }).waitFor(PATIENCE)
  assert.equal(await page.locator('#servers').isVisible(), false)

  await logIn(page, { user: 'demo', password: passwordOf(cloud.dataDirectory, 'demo') })
  await rowOf(page, 'web').waitFor(PATIENCE)
  assert.match(await textOf(rowOf(page, 'web')), /Active[\s\S]*172\.31\.\d+\.\d+[\s\S]*tiny[\s\S]*tiny/)
  assert.match(await textOf(rowOf(page, 'broken')), /Error/)
  for (const button of await rowOf(page, 'broken').getByRole('button').all())
    assert.equal(await button.isDisabled(), true)

  const console = await followConsole(browser, page, 'web')
  await stateOf(console, 'connected').waitFor(PATIENCE)
  assert.equal(await console.getByRole('heading', { name: 'web' }).isVisible(), true)
  assert.equal(await console.title(), 'web – Novella')
  assert.equal(new URL(console.url()).search, '')
  const size = await console.locator('#screen canvas').evaluate((canvas: { width: number; height: number }) => ({
    width: canvas.width,
    height: canvas.height,
  }))
  assert.deepEqual(size, { width: 320, height: 200 })

  await console.evaluate('sessionStorage.clear()')
  await console.reload()
  await stateOf(console, 'disconnected').waitFor(PATIENCE)
  assert.match(await textOf(console.locator('#word')), /fresh link[\s\S]*Ask for a new link in the list of servers/)

  await page.getByRole('button', { name: 'Log out' }).click()
  await page.getByRole('heading', { name: 'Log in' }).waitFor(PATIENCE)
  await until('the token is revoked', async () => {
    const tokens = await cloud.cloud.db.read
      .selectFrom('tokens')
      .selectAll()
      .where('methods', 'like', '%password%')
      .execute()
    // Those that are left are the world's own, which last a year.
    return tokens.every((token) => token.expiresAt - token.issuedAt > 300 * 24 * 3_600_000)
  })
  assert.deepEqual([...browser.hosts], [new URL(base).host])
  assert.deepEqual(
    browser.complaints.filter((complaint) => !/status of 401/.test(complaint)),
    [],
  )
})

test('an empty list says how to fill it, its commands work as they stand, and the server shows up by itself', async () => {
  await using cloud = await testCloud()
  const base = await listen(cloud)
  await using browser = await TestBrowser.open()
  const page = await enter(browser, base, cloud.dataDirectory)
  await page.getByRole('heading', { name: 'No servers yet' }).waitFor(PATIENCE)
  const commands = await textOf(page.locator('#commands'))
  const { stdout } = await promisify(execFile)('sh', ['-euc', commands], { cwd: cloud.dataDirectory })
  assert.match(JSON.parse(stdout).server.adminPass, /^\w{12}$/)
  await cloud.settled()
  await rowOf(page, 'first').filter({ hasText: 'Active' }).waitFor(PATIENCE)
  assert.equal(await page.locator('#empty').isVisible(), false)
  assert.match(await textOf(page.getByRole('status')), /^1 server$/)
  assert.deepEqual(browser.complaints, [])
})

test('the list follows what happens', async () => {
  await using cloud = await testCloud({ servers: { web: { taskState: 'rebooting' }, old: {} } })
  const base = await listen(cloud)
  await using browser = await TestBrowser.open()
  const page = await enter(browser, base, cloud.dataDirectory)
  await rowOf(page, 'web').filter({ hasText: 'rebooting' }).waitFor(PATIENCE)
  assert.equal(await textOf(page.getByRole('status')), '2 servers, 1 changing')
  assert.equal((await cloud.member.delete(`/servers/${cloud.id.old}`)).statusCode, 202)
  await cloud.settled()
  await cloud.cloud.db.transaction((tx) =>
    tx
      .updateTable('servers')
      .set({ taskState: null, vmState: 'stopped', powerState: 4 })
      .where('id', '=', cloud.id.web ?? '')
      .execute(),
  )
  await rowOf(page, 'web').filter({ hasText: 'Shutoff' }).waitFor(PATIENCE)
  await rowOf(page, 'old').waitFor({ ...PATIENCE, state: 'detached' })
  for (const button of await rowOf(page, 'web').getByRole('button').all()) assert.equal(await button.isDisabled(), true)
})

test('what a server is called is shown as text, whatever it is', async () => {
  await using cloud = await testCloud()
  const name = `<img src=x onerror="document.title='owned'"><b>bold</b>`
  assert.equal((await cloud.member.post('/servers', await cloud.wish({ name }))).statusCode, 202)
  await cloud.settled()
  const base = await listen(cloud)
  await using browser = await TestBrowser.open()
  const page = await enter(browser, base, cloud.dataDirectory)
  await page.locator('#rows tr').waitFor(PATIENCE)
  assert.equal(await textOf(page.locator('.server-name')), name)
  assert.equal(await page.locator('#rows img, #rows b').count(), 0)
  const console = await followConsole(browser, page, 'bold')
  await stateOf(console, 'connected').waitFor(PATIENCE)
  assert.equal(await textOf(console.locator('h1')), name)
  assert.deepEqual(browser.complaints, [])
})

test('who is in several projects is asked which', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  await cloud.cloud.db.transaction(async (tx) => {
    const role = await tx.selectFrom('roles').select('id').where('name', '=', 'member').executeTakeFirstOrThrow()
    const { userId } = cloud.member
    await tx.updateTable('users').set({ defaultProjectId: null }).where('id', '=', userId).execute()
    await tx
      .insertInto('roleAssignments')
      .values({ userId, projectId: cloud.admin.projectId, roleId: role.id })
      .execute()
  })
  const base = await listen(cloud)
  await using browser = await TestBrowser.open()
  const page = await browser.context.newPage()
  await page.goto(base)
  const who = { user: 'demo', password: passwordOf(cloud.dataDirectory, 'demo') }
  await logIn(page, who)
  await page
    .getByRole('alert')
    .filter({ hasText: /several projects.*admin, demo|several projects.*demo, admin/ })
    .waitFor(PATIENCE)
  await logIn(page, { ...who, project: 'nowhere' })
  await page.getByRole('alert').filter({ hasText: 'project is wrong' }).waitFor(PATIENCE)
  await logIn(page, { ...who, project: 'demo' })
  await rowOf(page, 'web').waitFor(PATIENCE)
})

test('who is in one project, without a default, is in it', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  await cloud.cloud.db.transaction((tx) =>
    tx.updateTable('users').set({ defaultProjectId: null }).where('id', '=', cloud.member.userId).execute(),
  )
  const base = await listen(cloud)
  await using browser = await TestBrowser.open()
  const page = await enter(browser, base, cloud.dataDirectory)
  await rowOf(page, 'web').waitFor(PATIENCE)
})

test('a session that ended leads back to the login; one that goes on survives a reload', async () => {
  await using cloud = await testCloud({ servers: { web: { taskState: 'rebooting' } } })
  const base = await listen(cloud)
  await using browser = await TestBrowser.open()
  const page = await enter(browser, base, cloud.dataDirectory)
  await page.reload()
  await rowOf(page, 'web').waitFor(PATIENCE)
  await cloud.cloud.db.transaction((tx) => tx.deleteFrom('tokens').execute())
  cloud.cloud.tokens.forget()
  await page.getByRole('alert').filter({ hasText: 'Your session has ended' }).waitFor(PATIENCE)
  assert.equal(await page.locator('#rows tr').count(), 0)
  assert.equal(await page.getByLabel('User').isVisible(), true)
})

test('when Novella goes away the list stays, and says that it is old', async () => {
  await using cloud = await testCloud({ servers: { web: { taskState: 'rebooting' } } })
  const base = await listen(cloud)
  await using browser = await TestBrowser.open()
  const page = await enter(browser, base, cloud.dataDirectory)
  await rowOf(page, 'web').waitFor(PATIENCE)
  await browser.context.setOffline(true)
  await page.getByRole('alert').filter({ hasText: 'Novella cannot be reached. Trying again.' }).waitFor(PATIENCE)
  assert.equal(await rowOf(page, 'web').isVisible(), true)
  await browser.context.setOffline(false)
  await page
    .getByRole('alert')
    .filter({ hasText: 'cannot be reached' })
    .waitFor({ ...PATIENCE, state: 'hidden' })
})

/** How far a page is wider than its window, in pixels. */
const overflow = (page: Page): Promise<number> =>
  page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')

for (const colorScheme of ['light', 'dark'] as const) {
  test(`on a telephone, ${colorScheme}, nothing sticks out and fingers find the buttons`, async () => {
    await using cloud = await testCloud({
      servers: {
        ['a-name-'.repeat(20)]: {},
        broken: { vmState: 'error', powerState: 0, faultCode: 500, faultMessage: 'x'.repeat(300), faultAt: 0 },
      },
    })
    const base = await listen(cloud)
    await using browser = await TestBrowser.open({
      colorScheme,
      viewport: { width: 360, height: 740 },
      hasTouch: true,
      isMobile: true,
    })
    const page = await browser.context.newPage()
    await page.goto(base)
    await page.getByRole('heading', { name: 'Log in' }).waitFor(PATIENCE)
    assert.equal(await overflow(page), 0)
    await logIn(page, { user: 'demo', password: passwordOf(cloud.dataDirectory, 'demo') })
    await rowOf(page, 'a-name-').waitFor(PATIENCE)
    assert.equal(await overflow(page), 0)
    for (const button of await rowOf(page, 'a-name-').getByRole('button').all()) {
      const box = await button.boundingBox()
      assert.ok((box?.height ?? 0) >= 44, JSON.stringify(box))
    }
    await browser.picture(page, `telephone-${colorScheme}`)
  })
}

test('how the system inside a server is can be looked at, and is taken for nothing but text', async () => {
  await using cloud = await testCloud({ servers: { web: {}, off: { vmState: 'stopped', powerState: 4 } } })
  const base = await listen(cloud)
  await using browser = await TestBrowser.open({ viewport: { width: 1280, height: 860 } })
  const agent = cloud.host.agentOf(cloud.id.web ?? '')
  agent.health = {
    ...agent.health,
    hostName: '<img src=x onerror=alert(1)>',
    operatingSystem: 'Debian GNU/Linux 12 (bookworm)',
    clockOffsetMs: -6_200,
    interfaces: [{ name: 'eth0', macAddress: 'fa:16:3e:00:00:01', ipAddresses: ['172.31.0.9', 'fe80::1'] }],
  }
  const page = await enter(browser, base, cloud.dataDirectory)
  const inside = (name: string) => rowOf(page, name).getByRole('button', { name: 'Inside' })
  assert.equal(await inside('off').isDisabled(), true)
  await inside('web').click()
  const dialog = page.getByRole('dialog', { name: 'Inside web' })
  await dialog.getByText('Debian GNU/Linux 12 (bookworm)').waitFor(PATIENCE)
  const text = await textOf(dialog)
  assert.match(text, /answers[\s\S]*<img src=x[\s\S]*6\.2 s behind[\s\S]*172\.31\.0\.9\nfe80::1\nfa:16:3e/)
  assert.equal(await dialog.locator('#guest-advice').isVisible(), false)
  await browser.picture(page, 'inside')
  await dialog.getByRole('button', { name: 'Close' }).click()
  assert.equal(await dialog.isVisible(), false)

  agent.mood = 'silent'
  await inside('web').click()
  await dialog.getByText('does not answer').waitFor(PATIENCE)
  await dialog.getByText('Install the package qemu-guest-agent').waitFor(PATIENCE)
  await page.setViewportSize({ width: 390, height: 844 })
  await browser.picture(page, 'inside-telephone')
  assert.deepEqual(browser.complaints, [])
})
