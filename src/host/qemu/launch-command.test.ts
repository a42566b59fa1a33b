import assert from 'node:assert/strict'
import { test } from 'node:test'
import { launchCommand } from './launch-command.ts'

const programs = { qemu: '/q', ip: '/ip', perl: '/perl', setpriv: '/setpriv', unshare: '/unshare' }
const user = { uid: 7, gid: 8 }
const input = { programs, user, extraGid: undefined, taps: [], qemuArgs: ['-name', 'x'] }
/** The command without the text of the perl program. */
const words = (command: string[]) => command.filter((_, i) => command[i - 1] !== '-e')

test('launchCommand: without taps QEMU gets an empty network and no rights', () => {
  assert.deepEqual(launchCommand(input), [
    ...['/unshare', '--net', '--ipc', '/setpriv', '--reuid=7', '--regid=8', '--clear-groups'],
    ...['--no-new-privs', '--inh-caps=-all', '--bounding-set=-all', '/q', '-name', 'x'],
  ])
})

test('launchCommand: each tap is opened in its own namespace, in order, before rights are given up', () => {
  const taps = [
    { namespace: 'a', tapName: 't1' },
    { namespace: 'b', tapName: 't2' },
  ]
  assert.deepEqual(words(launchCommand({ ...input, taps })).slice(0, 16), [
    ...['/ip', 'netns', 'exec', 'a', '/perl', '-e', '--', '3', 't1'],
    ...['/ip', 'netns', 'exec', 'b', '/perl', '-e', '--'],
  ])
})

test('launchCommand: a group for the accelerator is the only one kept', () => {
  assert.ok(launchCommand({ ...input, extraGid: 106 }).includes('--groups=106'))
})
