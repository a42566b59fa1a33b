/** Bytes that are no HTTP request: Node's parser refuses them, and the answer is a fault like any other. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { type TestCloud, testCloud } from '../support/test-cloud.ts'

interface RawAnswer {
  status: number
  headers: Headers
  body: string
}

/** Sends bytes, keeps its side open, and answers all that came until the other side closed. */
async function send(cloud: TestCloud, ...chunks: (string | Buffer)[]): Promise<RawAnswer[]> {
  if (!cloud.app.server.listening) await cloud.app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = cloud.app.server.address() as { port: number }
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
  let text = ''
  // What is still being sent when the other side hangs up may fail; what came before counts.
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    text += chunk
  })
  const ended = once(socket, 'end')
  for (const chunk of chunks) socket.write(chunk)
  await ended
  socket.destroy()
  return answersIn(text)
}

function answersIn(text: string): RawAnswer[] {
  const answers: RawAnswer[] = []
  for (let rest = text; rest !== ''; ) {
    const end = rest.indexOf('\r\n\r\n')
    assert.ok(end > 0, rest)
    const [first = '', ...lines] = rest.slice(0, end).split('\r\n')
    const headers = new Headers(lines.map((line) => line.split(/: ?(.*)/s).slice(0, 2) as [string, string]))
    const from = end + 4
    const length = Number(headers.get('content-length'))
    const body = rest.slice(from, from + length)
    assert.equal(Buffer.byteLength(body), length)
    answers.push({ status: Number(/^HTTP\/1\.1 (\d+) \w/.exec(first)?.[1]), headers, body })
    rest = rest.slice(from + length)
  }
  return answers
}

/** Asserts that the only answer is a fault of `key`, and that it ends the connection. */
function assertRefused(answers: RawAnswer[], status: number, key: string, message: RegExp): void {
  const [answer] = answers
  assert.ok(answer && answers.length === 1, JSON.stringify(answers))
  assert.equal(answer.status, status, answer.body)
  const body = JSON.parse(answer.body)
  assert.deepEqual(Object.keys(body), [key])
  assert.equal(body[key].code, status)
  assert.match(body[key].message, message)
  assert.equal(answer.headers.get('content-type'), 'application/json; charset=utf-8')
  assert.equal(answer.headers.get('connection'), 'close')
  assert.match(answer.headers.get('x-compute-request-id') ?? '', /^req-[0-9a-f-]{36}$/)
  assert.equal(answer.headers.get('x-openstack-request-id'), answer.headers.get('x-compute-request-id'))
}

const request = (path: string, headers: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`
const INVALID = /^The request is not valid HTTP \(.+\)\.$/

test('what is no HTTP is refused in our own shape, and the connection ends', async () => {
  await using cloud = await testCloud()
  for (const bytes of [
    'hello\r\n\r\n',
    'GET / HTTP/9.9\r\nHost: x\r\n\r\n',
    'GE\0T / HTTP/1.1\r\n\r\n',
    request('/v2/p/servers', 'X-Auth Token: t\r\n'),
    request('/v2/p/servers', 'Content-Length: 1\r\nContent-Length: 2\r\n'),
    request('/v2/p/servers', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n'),
    request('/v2/p/servers', 'X-Auth-Token: a\rb\r\n'),
    Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]),
  ]) {
    assertRefused(await send(cloud, bytes), 400, 'badRequest', INVALID)
  }
})

test('the shape is that of the service that was asked', async () => {
  await using cloud = await testCloud()
  const bad = 'Content-Length: x\r\n'
  assertRefused(await send(cloud, request('/v3/auth/tokens', bad)), 400, 'error', INVALID)
  const [image] = await send(cloud, request('/v2/images', bad))
  assert.deepEqual([image?.status, JSON.parse(image?.body ?? '').code], [400, '400 Bad Request'])
})

test('headers that are too large are refused with 431, also while they are still being sent', async () => {
  await using cloud = await testCloud()
  const message = /^The headers are larger than 16 KiB\.$/
  const large = request('/v2/p/servers', `X-Auth-Token: ${'x'.repeat(20_000)}\r\n`)
  assertRefused(await send(cloud, large), 431, 'computeFault', message)
  const huge = Array.from({ length: 64 }, (_, i) => `X-Header-${i}: ${'x'.repeat(60_000)}\r\n`)
  assertRefused(await send(cloud, 'GET /v2/p/servers HTTP/1.1\r\n', ...huge), 431, 'computeFault', message)
})

test('a request that does not arrive in time is refused with 408, whether its headers or its body are missing', async () => {
  await using cloud = await testCloud()
  // The first is read when the server begins to listen.
  Object.assign(cloud.app.server, { connectionsCheckingInterval: 20, headersTimeout: 100 })
  cloud.app.arrival.bodyMs = 100
  const message = /^The request did not arrive in time\.$/
  assertRefused(await send(cloud, 'GET /v2/p/servers HTTP/1.1\r\nHost:'), 408, 'computeFault', message)
  const halfSent = 'POST /v3/auth/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"auth"'
  const [answer] = await send(cloud, halfSent)
  assert.equal(answer?.status, 408)
})

test('a body with broken chunks is refused, and nothing comes of it', async () => {
  await using cloud = await testCloud()
  const { token, projectId } = cloud.member
  const head = `POST /v2/${projectId}/os-keypairs HTTP/1.1\r\nHost: x\r\nX-Auth-Token: ${token}\r\n`
  const body = '1e\r\n{"keypair": {"name": "broken"}}\r\nnonsense\r\n'
  const answers = await send(
    cloud,
    `${head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${body}`,
  )
  assertRefused(answers, 400, 'badRequest', INVALID)
  assert.deepEqual((await cloud.member.get('/os-keypairs')).json().keypairs, [])
  assert.ok(cloud.logged.every((line) => !line.includes(token)))
})

test('a refusal is never taken for the answer to an earlier request of the connection', async () => {
  await using cloud = await testCloud()
  const { token, projectId } = cloud.member
  const gate = Promise.withResolvers<void>()
  cloud.app.server.prependListener('clientError', () => gate.resolve())
  const good = request(`/v2/${projectId}/servers`, `X-Auth-Token: ${token}\r\n`)
  const answers = await send(cloud, `${good}nonsense\r\n\r\n`)
  await gate.promise
  assert.ok(answers.every(({ status }) => status === 200))
})
