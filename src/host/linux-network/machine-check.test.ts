import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeMissing, type MachineFacts } from './machine-check.ts'

test('what is missing is said with the command that brings it', () => {
  const fine: MachineFacts = { isRoot: true, absentPrograms: [], absentModules: [] }
  const table: [Partial<MachineFacts>, RegExp | undefined][] = [
    [{}, undefined],
    [{ isRoot: false, absentPrograms: ['ip'] }, /as root$/],
    [{ absentPrograms: ['nft', 'dnsmasq'] }, /nft, dnsmasq: apt-get install nftables dnsmasq-base$/],
    [{ absentModules: ['br_netfilter'] }, /modprobe -a br_netfilter$/],
  ]
  for (const [change, said] of table) {
    const missing = describeMissing({ ...fine, ...change })
    if (said) assert.match(missing ?? '', said)
    else assert.equal(missing, undefined)
  }
})
