import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cgroupMounts, cgroupWrites } from './cgroup.ts'

const hybrid = `cgroup /sys/fs/cgroup/cpuset cgroup rw,relatime,cpuset 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
tmpfs /tmp tmpfs rw,memory 0 0
`

test('cgroupMounts: a hybrid machine has all three', () => {
  assert.deepEqual(cgroupMounts(hybrid), {
    cpu: '/sys/fs/cgroup/cpu,cpuacct',
    memory: '/sys/fs/cgroup/memory',
    v2: '/sys/fs/cgroup/unified',
  })
})

test('cgroupMounts: a unified machine has one', () => {
  assert.deepEqual(cgroupMounts('cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n'), { v2: '/sys/fs/cgroup' })
})

test('cgroupMounts: a machine without any has none', () =>
  assert.deepEqual(cgroupMounts('proc /proc proc rw 0 0\n'), {}))

const limits = { vcpus: 2, memoryMib: 640 }

test('cgroupWrites: on v2 the parent hands controllers down, and limits come before the process', () => {
  assert.deepEqual(cgroupWrites({ kind: 'v2', owner: 'us', directory: '/c/novella' }, 's', limits, 42), [
    ['/c/novella/cgroup.subtree_control', '+cpu +memory'],
    ['/c/novella/us-s/cpu.max', '225000 100000'],
    ['/c/novella/us-s/memory.max', '671088640'],
    ['/c/novella/us-s/cgroup.procs', '42'],
  ])
})

test('cgroupWrites: on v1 each controller has its tree, and one may be missing', () => {
  assert.deepEqual(cgroupWrites({ kind: 'v1', owner: 'us', cpu: '/cpu/novella', memory: undefined }, 's', limits, 42), [
    ['/cpu/novella/us-s/cpu.cfs_period_us', '100000'],
    ['/cpu/novella/us-s/cpu.cfs_quota_us', '225000'],
    ['/cpu/novella/us-s/cgroup.procs', '42'],
  ])
})

test('cgroupWrites: nothing where there is nothing', () => {
  assert.deepEqual(cgroupWrites({ kind: 'none' }, 's', limits, 42), [])
})
