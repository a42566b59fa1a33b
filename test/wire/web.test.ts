import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { sharedCloud } from '../support/shared-cloud.ts'

describe('web', () => {
  const shared = sharedCloud({})
  const get = (url: string, headers: Record<string, string> = {}) => shared().app.inject({ url, headers })

  test('the root is a version document for programs', async () => {
    for (const accept of [undefined, '*/*', 'application/json']) {
      const answer = await get('/', { host: 'cloud.example:8774', ...(accept ? { accept } : {}) })
      assert.equal(answer.statusCode, 200)
      assert.match(String(answer.headers['content-type']), /^application\/json/)
      assert.match(String(answer.headers.vary), /Accept/)
      const [version, ...others] = answer.json().versions
      assert.deepEqual(others, [])
      assert.deepEqual([version.id, version.status, version.version, version.min_version], ['v2.0', 'CURRENT', '', ''])
      assert.deepEqual(version.links, [{ rel: 'self', href: 'http://cloud.example:8774/v2/' }])
    }
  })

  test('the version that the root names is there, with and without a slash, for everybody', async () => {
    for (const path of ['/v2', '/v2/']) {
      const answer = await get(path)
      assert.equal(answer.statusCode, 200)
      assert.equal(answer.json().version.id, 'v2.0')
      assert.equal(answer.json().version['media-types'][0].base, 'application/json')
    }
  })

  test('the root is a page for browsers, which only runs what is ours and cannot be framed', async () => {
    const answer = await get('/', { accept: 'text/html,application/xhtml+xml,*/*;q=0.8', host: 'cloud.example' })
    assert.equal(answer.statusCode, 200)
    assert.match(String(answer.headers['content-type']), /^text\/html; charset=utf-8/i)
    assert.match(String(answer.headers.vary), /Accept/)
    const policy = String(answer.headers['content-security-policy']).split('; ')
    for (const rule of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]) {
      assert.ok(policy.includes(rule), `${rule} is not in ${policy}`)
    }
    assert.ok(policy.includes("connect-src 'self' ws://cloud.example"))
    assert.ok(!String(policy).includes('unsafe'))
    assert.equal(answer.headers['referrer-policy'], 'no-referrer')
    assert.equal(answer.headers['x-content-type-options'], 'nosniff')
  })

  test('a Host header cannot write into the policy', async () => {
    const answer = await get('/', { accept: 'text/html', host: "x; script-src 'unsafe-inline'" })
    assert.ok(!String(answer.headers['content-security-policy']).includes('unsafe-inline'))
  })

  test('no page holds a script or a style of its own, or an address elsewhere', async () => {
    for (const [url, accept] of [
      ['/', 'text/html'],
      ['/vnc/vnc_auto.html?token=x', '*/*'],
      ['/serial/serial.html?token=x', '*/*'],
    ] as const) {
      const { body } = await get(url, { accept })
      assert.match(body, /<title>/)
      assert.doesNotMatch(body, /<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|https?:\/\//i)
    }
  })

  test('every part that a page names is there, under its right type', async () => {
    const script = /^(text|application)\/javascript/
    const types = { css: /^text\/css/, js: script, mjs: script, svg: /^image\/svg\+xml/ }
    const found = new Set<string>()
    const pages = [
      await get('/', { accept: 'text/html' }),
      await get('/vnc/vnc_auto.html'),
      await get('/serial/serial.html'),
    ]
    const todo = pages.flatMap(({ body }) => [...body.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map((match) => match[1]))
    for (const url of todo) {
      if (url === undefined || url === '/' || found.has(url)) continue
      found.add(url)
      const answer = await get(url)
      assert.equal(answer.statusCode, 200, url)
      const type = types[url.split('.').at(-1) as keyof typeof types]
      assert.match(String(answer.headers['content-type']), type, url)
      assert.equal(answer.headers['x-content-type-options'], 'nosniff', url)
      // What a module imports is a part, too.
      for (const [, name = ''] of answer.body.matchAll(/^(?:import|\}? ?from|import .* from)\s+['"]([^'"]+)['"]/gm)) {
        if (url.endsWith('.js')) todo.push(new URL(name, `http://x${url}`).pathname)
      }
    }
    for (const part of [
      '/web/api.js',
      '/vnc/novnc/core/rfb.js',
      '/serial/xterm/xterm.mjs',
      '/serial/xterm/xterm.css',
    ]) {
      assert.ok(found.has(part), part)
    }
    assert.ok(found.size > 30, [...found].join(' '))
  })

  test('a part that did not change is not sent again', async () => {
    for (const [url, accept] of [
      ['/', 'text/html'],
      ['/web/app.css', '*/*'],
      ['/vnc/novnc/core/rfb.js', '*/*'],
      ['/serial/xterm/xterm.mjs', '*/*'],
    ] as const) {
      const first = await get(url, { accept })
      const etag = String(first.headers.etag)
      assert.match(etag, /^(W\/)?"/, url)
      const again = await get(url, { accept, 'if-none-match': etag })
      assert.deepEqual([again.statusCode, again.body], [304, ''], url)
    }
    assert.equal((await get('/web/app.css')).headers['cache-control'], 'no-cache')
    assert.equal((await get('/', { accept: 'text/html' })).headers['cache-control'], 'no-cache')
    assert.match(String((await get('/vnc/novnc/core/rfb.js')).headers['cache-control']), /max-age=3600/)
  })

  test('the page of a console is kept by nobody, since its address holds the token', async () => {
    for (const page of ['/vnc/vnc_auto.html', '/serial/serial.html']) {
      const answer = await get(`${page}?token=36f6426d-1366-4734-af15-c81560becd77`)
      assert.equal(answer.statusCode, 200)
      assert.equal(answer.headers['cache-control'], 'no-store')
      assert.equal(answer.headers['referrer-policy'], 'no-referrer')
      assert.match(String(answer.headers['content-security-policy']), /frame-ancestors 'none'/)
      assert.ok(!String(answer.headers['content-security-policy']).includes('unsafe'))
    }
  })

  test('nothing but the parts of the pages can be had', async () => {
    for (const url of [
      '/web/',
      '/web/index.html',
      '/web/console.html',
      '/web/nothing.js',
      '/web/../web-routes.ts',
      '/web/..%2fweb-routes.ts',
      '/web/%2e%2e%2fweb-routes.ts',
      '/web/..%5cweb-routes.ts',
      '/vnc/novnc/package.json',
      '/vnc/novnc/core/../package.json',
      '/vnc/novnc/core/%2e%2e/package.json',
      '/vnc/novnc/core/..%2f..%2f..%2fws%2findex.js',
      '/vnc/novnc/core/nothing.js',
      '/vnc/',
      '/serial/xterm/package.json',
      '/serial/xterm/lib/xterm.js',
      '/serial/xterm/../xterm.mjs',
      '/serial/xterm/constructor',
      '/web/serial.html',
    ]) {
      const answer = await get(url)
      assert.equal(answer.statusCode, 404, `${url} ${answer.body.slice(0, 80)}`)
      assert.equal(answer.json().itemNotFound.code, 404, url)
    }
  })
})
