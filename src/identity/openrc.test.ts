import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { cloudsYaml, openrc } from './openrc.ts'

const ACCESS = {
  baseUrl: 'http://127.0.0.1:8774',
  region: `it's "odd" $HOME \`id\` \\ é`,
  adminPassword: "a'; echo broken; '",
  demoPassword: 'plain',
}

test('a shell that sources openrc has the variables as they are, and runs nothing', () => {
  const run = (user: 'admin' | 'demo') =>
    execFileSync('/bin/sh', ['-c', 'eval "$SCRIPT"; env -0'], { env: { SCRIPT: openrc({ ...ACCESS, user }) } })
  const variables = (output: Buffer) =>
    Object.fromEntries(
      output
        .toString()
        .split('\0')
        .filter((line) => line.startsWith('OS_'))
        .map((line) => line.split(/=(.*)/s, 2)),
    )
  const common = {
    OS_AUTH_URL: 'http://127.0.0.1:8774/identity',
    OS_USER_DOMAIN_NAME: 'Default',
    OS_PROJECT_DOMAIN_NAME: 'Default',
    OS_REGION_NAME: ACCESS.region,
    OS_IDENTITY_API_VERSION: '3',
    OS_INTERFACE: 'public',
  }
  assert.deepEqual(variables(run('admin')), {
    ...common,
    OS_USERNAME: 'admin',
    OS_PROJECT_NAME: 'admin',
    OS_PASSWORD: ACCESS.adminPassword,
  })
  assert.deepEqual(variables(run('demo')), {
    ...common,
    OS_USERNAME: 'demo',
    OS_PROJECT_NAME: 'demo',
    OS_PASSWORD: 'plain',
  })
})

test('clouds.yaml has both clouds, and its texts in quotes', () => {
  const yaml = cloudsYaml(ACCESS)
  assert.match(yaml, /^clouds:\n {2}admin:\n/m)
  assert.match(
    yaml,
    /^ {2}demo:\n {4}auth_type: password\n {4}auth:\n {6}auth_url: "http:\/\/127.0.0.1:8774\/identity"\n/m,
  )
  assert.ok(yaml.includes(`password: "a'; echo broken; '"\n`))
  assert.ok(yaml.includes('region_name: "it\'s \\"odd\\" $HOME `id` \\\\ \\U000000e9"\n'))
})
