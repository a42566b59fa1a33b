import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ConfigError, flagOf, keyOf, readConfig, readListen, variableOf } from './config.ts'

test('a flag beats the environment, which beats the file, which beats the default', () => {
  const data = mkdtempSync(join(tmpdir(), 'novella-config-'))
  try {
    writeFileSync(join(data, 'novella.toml'), 'region = "file"\nquota_servers = 3\nlog_level = "warn"\n')
    const env = { NOVELLA_REGION: 'environment', NOVELLA_QUOTA_SERVERS: '4' }
    const { config, sources } = readConfig(['--data', data, '--region=flag', '--no-first-server'], env)
    assert.equal(config.region, 'flag')
    assert.equal(config.quotaServers, 4)
    assert.equal(config.logLevel, 'warn')
    assert.equal(config.firstServer, false)
    assert.equal(config.driver, 'qemu')
    const { region, quotaServers, logLevel, driver } = sources
    assert.deepEqual([region, quotaServers, logLevel, driver], ['flag', 'environment', 'file', 'default'])
  } finally {
    rmSync(data, { recursive: true })
  }
})

test('the names of a setting follow from one another', () => {
  assert.deepEqual(
    [flagOf('quotaServers'), variableOf('quotaServers'), keyOf('quotaServers')],
    ['--quota-servers', 'NOVELLA_QUOTA_SERVERS', 'quota_servers'],
  )
})

const noData = ['--data', '/nonexistent']
for (const [args, env, message] of [
  [['--colour', 'blue'], {}, /no setting --colour/],
  [['--region'], {}, /--region needs a value/],
  [['--quota-servers', 'many'], {}, /--quota-servers is "many"; it must be a whole number/],
  [['--driver', 'xen'], {}, /--driver is "xen"; it must be qemu, memory/],
  [['--database', '/srv/novella.db'], {}, /--database is .*; it must be empty, or a URL that begins with postgres:/],
  [['--public-url', 'cloud.example'], {}, /--public-url is .*; it must be empty, or a URL that begins with https:/],
  [[], { NOVELLA_FIRST_SERVER: 'maybe' }, /NOVELLA_FIRST_SERVER is "maybe"; it must be true or false/],
  [['--config', '/nonexistent/n.toml'], {}, /there is no file/],
] as const) {
  test(`${[...args, JSON.stringify(env)].join(' ')} is refused in the caller's terms`, () => {
    assert.throws(
      () => readConfig([...noData, ...args], env),
      (error) => error instanceof ConfigError && message.test(error.message),
    )
  })
}

test('listen is an address and a port', () => {
  assert.deepEqual(readListen('127.0.0.1:8774'), { host: '127.0.0.1', port: 8774 })
  assert.deepEqual(readListen('[::1]:80'), { host: '::1', port: 80 })
  for (const bad of ['8774', 'localhost', '127.0.0.1:99999', ':80']) assert.throws(() => readListen(bad), ConfigError)
})
