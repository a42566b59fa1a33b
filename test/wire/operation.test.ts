/** What those who run Novella look at: health, metrics, log, and the description of the API. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newLog } from '../../src/lib/log.ts'
import { assertRequestIds } from '../support/assert-fault.ts'
import { DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

/** An operation in the OpenAPI document. */
interface Described {
  parameters?: { in: string; name: string }[]
  security?: unknown
  requestBody?: {
    content: Record<string, { schema: { required: string[]; properties: { server: { properties: object } } } }>
  }
  responses: Record<string, unknown>
}

/** The values of a metric, by its labels as Prometheus writes them. */
async function valuesOf(cloud: TestCloud, metric: string): Promise<Record<string, number>> {
  const answer = await cloud.app.inject('/metrics')
  assert.equal(answer.statusCode, 200)
  assert.match(String(answer.headers['content-type']), /^text\/plain; version=0\.0\.4/)
  const lines = answer.body.split('\n').filter((line) => new RegExp(`^${metric}[ {]`).test(line))
  return Object.fromEntries(
    lines.map((line) => [/\{(.*)\}/.exec(line)?.[1] ?? '', Number(line.slice(line.lastIndexOf(' ')))]),
  )
}

for (const database of DATABASES) {
  test(`${database}: health is told without a token, and is bad without a database`, async () => {
    await using cloud = await testCloud({ database })
    const well = await cloud.app.inject('/healthz')
    assert.deepEqual([well.statusCode, well.json()], [200, { status: 'ok' }])
    await cloud.cloud.db[Symbol.asyncDispose]()
    assert.ok((await cloud.app.inject('/healthz')).statusCode >= 500)
  })

  test(`${database}: metrics count servers by status, and what a host has and has given out`, async () => {
    await using cloud = await testCloud({
      database,
      servers: { one: {}, two: {}, broken: { vmState: 'error' } },
      memory: { facts: { ramMib: 1024 } },
      config: { ramRatio: 2 },
    })
    await cloud.member.post(`/servers/${cloud.id.two}/action`, { 'os-stop': null })
    await cloud.settled()
    const servers = await valuesOf(cloud, 'novella_servers')
    assert.deepEqual(servers, { 'status="ACTIVE"': 1, 'status="SHUTOFF"': 1, 'status="ERROR"': 1 })
    const capacity = await valuesOf(cloud, 'novella_host_capacity')
    assert.equal(capacity['host="test-host",resource="ram_mib",kind="limit"'], 2048)
    assert.equal(capacity['host="test-host",resource="ram_mib",kind="claimed"'], 3 * 128)
    assert.equal(capacity['host="test-host",resource="vcpus",kind="claimed"'], 3)
    assert.deepEqual(await valuesOf(cloud, 'novella_actions_open'), {})
  })
}

test('metrics time requests by route, and actions by step', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  await cloud.member.get(`/servers/${cloud.id.web}`)
  await cloud.member.get('/servers/no-such-server')
  const requests = await valuesOf(cloud, 'novella_http_request_duration_seconds_count')
  const ofRoute = Object.entries(requests).filter(([labels]) => /method="GET".*servers\/:/.test(labels))
  assert.deepEqual(
    ofRoute.map(([labels, count]) => [/status="(\d+)"/.exec(labels)?.[1], count]).sort(),
    [
      ['200', 1],
      ['404', 1],
    ],
    JSON.stringify(requests),
  )
  // A label that callers choose would grow without end.
  assert.ok(!Object.keys(requests).some((labels) => labels.includes('no-such-server')))
  const steps = await valuesOf(cloud, 'novella_action_step_duration_seconds_count')
  for (const step of ['pickHost', 'plugPorts', 'buildDisks', 'powerOn', 'awaitRunning']) {
    assert.equal(steps[`action="create",step="${step}",result="Success"`], 1, step)
  }
})

test('every answer names its request, and its line in the log the same one', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  const answer = await cloud.member.get(`/servers/${cloud.id.web}?name=in-the-query`)
  assertRequestIds(answer)
  const lines = cloud.logged.map((line) => JSON.parse(line))
  const own = lines.filter(({ reqId }) => reqId === answer.headers['x-compute-request-id'])
  assert.equal(own.length, 1)
  const { method, path, status, msg } = own[0]
  assert.deepEqual(
    { method, path, status, msg },
    { method: 'GET', path: `/v2/${cloud.member.projectId}/servers/${cloud.id.web}`, status: 200, msg: 'answered' },
  )
  // What an action does later is found by the request that asked for it.
  const started = await cloud.member.post(`/servers/${cloud.id.web}/action`, { 'os-stop': null })
  await cloud.settled()
  const { requestId } = await cloud.cloud.db.read
    .selectFrom('actions')
    .select('requestId')
    .where('name', '=', 'stop')
    .executeTakeFirstOrThrow()
  assert.equal(requestId, started.headers['x-compute-request-id'])
})

test('secrets are replaced in the log, at any depth that is logged', () => {
  let text = ''
  const log = newLog({
    write(line) {
      text += line
    },
  })
  const secrets = { adminPass: 'hunter2', password: 'hunter2', private_key: 'hunter2', 'x-auth-token': 'hunter2' }
  log.info(secrets, 'at the top')
  log.info({ server: secrets }, 'below')
  log.info({ body: { server: secrets } }, 'further below')
  assert.equal(text.split('\n').length, 4)
  assert.doesNotMatch(text, /hunter2/)
  assert.match(text, /\[redacted\]/)
})

test('OpenAPI describes each route once, with its body, its path and whether it needs a token', async () => {
  await using cloud = await testCloud()
  const answer = await cloud.app.inject('/openapi.json')
  assert.equal(answer.statusCode, 200)
  const { openapi, info, paths } = answer.json()
  assert.match(openapi, /^3\.1/)
  assert.equal(info.title, 'Novella')
  for (const [path, methods] of Object.entries<Record<string, { parameters?: { in: string; name: string }[] }>>(
    paths,
  )) {
    const named = [...path.matchAll(/\{([^}]+)\}/g)].map((match) => match[1]).sort()
    for (const [method, { parameters = [] }] of Object.entries(methods)) {
      const described = parameters.filter((one) => one.in === 'path').map((one) => one.name)
      assert.deepEqual(described.sort(), named, `${method} ${path}`)
    }
  }
  const [, servers] = Object.entries<Record<string, Described>>(paths).find(([path]) =>
    /^\/v2\/\{\w+\}\/servers\/?$/.test(path),
  ) ?? ['', {}]
  const create = servers.post
  assert.deepEqual(create?.security, [{ token: [] }])
  const schema = create?.requestBody?.content['application/json']?.schema
  assert.deepEqual(schema?.required, ['server'])
  assert.ok(schema && 'flavorRef' in schema.properties.server.properties)
  assert.ok(create?.responses['202'])
  assert.equal(paths['/v3/auth/tokens'].post.security, undefined)
})
