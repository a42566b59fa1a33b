import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { makeDirectory } from './make-directory.ts'

test('a directory is made with all that is missing above it, and is left alone when it is there', () => {
  const root = mkdtempSync(join(tmpdir(), 'novella-directory-'))
  try {
    const path = join(root, 'a', 'b', 'c')
    makeDirectory(path, 0o700)
    for (const made of [path, join(root, 'a')]) assert.equal(statSync(made).mode & 0o777, 0o700)
    makeDirectory(path, 0o711)
    assert.equal(statSync(path).mode & 0o777, 0o700)
    makeDirectory(`${path}/`)
    symlinkSync(path, join(root, 'link'))
    makeDirectory(join(root, 'link', 'd'))
    assert.ok(statSync(join(path, 'd')).isDirectory())
  } finally {
    rmSync(root, { recursive: true })
  }
})

test('a directory that cannot be made ends in the error of the system', () => {
  const root = mkdtempSync(join(tmpdir(), 'novella-directory-'))
  try {
    writeFileSync(join(root, 'file'), '')
    symlinkSync(join(root, 'nowhere', 'at-all'), join(root, 'dangling'))
    for (const [path, code] of [
      ['/proc/novella', 'ENOENT'],
      ['/proc/novella/below/that', 'ENOENT'],
      [join(root, 'file'), 'EEXIST'],
      [join(root, 'file', 'below'), 'ENOTDIR'],
      [join(root, 'dangling'), 'EEXIST'],
      [join(root, 'dangling', 'below'), 'EEXIST'],
      ['', 'ENOENT'],
    ] as const) {
      assert.throws(() => makeDirectory(path), { code }, path)
    }
  } finally {
    rmSync(root, { recursive: true })
  }
})
