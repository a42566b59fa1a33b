import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { serverFiles } from './server-files.ts'
import { ensureServerUser, FIRST_SERVER_UID, mapsServerUsers } from './server-user.ts'

test('ensureServerUser: each server has one of its own, and keeps it; a damaged file is no user', () => {
  const servers = mkdtempSync(join(tmpdir(), 'novella-users-'))
  try {
    const all = ['a', 'b', 'c'].map((id) => serverFiles(servers, id))
    for (const { directory } of all) mkdirSync(directory)
    const users = all.map((files) => ensureServerUser(servers, files).uid)
    assert.equal(new Set(users).size, 3)
    assert.ok(users.every((uid) => uid >= FIRST_SERVER_UID))
    assert.deepEqual(
      all.map((files) => ensureServerUser(servers, files)).map(({ gid }) => gid),
      users,
    )
    const [first] = all
    assert.ok(first)
    for (const damaged of ['0\n', '', 'root']) {
      writeFileSync(first.uid, damaged)
      assert.ok(ensureServerUser(servers, first).uid >= FIRST_SERVER_UID)
    }
  } finally {
    rmSync(servers, { recursive: true })
  }
})

const maps: [map: string, holds: boolean][] = [
  ['         0          0 4294967295\n', true],
  ['0 100000 65536\n', false],
  ['0 1000 1\n1 100000 65536\n', false],
  ['', false],
]
for (const [map, holds] of maps) {
  test(`mapsServerUsers: ${JSON.stringify(map)}`, () => assert.equal(mapsServerUsers(map), holds))
}
