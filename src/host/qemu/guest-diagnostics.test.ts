import assert from 'node:assert/strict'
import { test } from 'node:test'
import { diskFigures, processorTimeNs, tapFigures } from './guest-diagnostics.ts'

test("processorTimeNs: a thread's time, whatever its name is", () => {
  const rest = 'S 1 2 3 4 5 6 7 8 9 10 250 40 0 0 20'
  assert.equal(processorTimeNs(`77 (CPU 0/TCG) ${rest}`), 2_900_000_000)
  assert.equal(processorTimeNs(`77 (a) b) (c) ${rest}`), 2_900_000_000)
})

test('diskFigures: the disks that the guest sees, and not the files behind them', () => {
  const stats = { rd_bytes: 10, rd_operations: 2, wr_bytes: 30, wr_operations: 4, failed_wr_operations: 1 }
  const figures = { readBytes: 10, readRequests: 2, writeBytes: 30, writeRequests: 4, errors: 1 }
  const none = { readBytes: 0, readRequests: 0, writeBytes: 0, writeRequests: 0, errors: 0 }
  assert.deepEqual(
    diskFigures([
      { qdev: '/machine/peripheral/vda/virtio-backend', 'node-name': 'root', stats, backing: { stats } },
      { qdev: '/machine/peripheral/disk-one/virtio-backend', stats: {} },
      { qdev: '/machine/peripheral/config-drive', stats },
      { 'node-name': 'd-two', stats },
      null,
    ]),
    [figures, none],
  )
  assert.deepEqual(diskFigures({ no: 'list' }), [])
})

test('tapFigures: what the host received its guest has sent', () => {
  const stats64 = {
    rx: { bytes: 1, packets: 2, errors: 3, dropped: 4 },
    tx: { bytes: 5, packets: 6, errors: 7, dropped: 8 },
  }
  assert.deepEqual(tapFigures([{ ifname: 'tap0', stats64 }]), { received: stats64.tx, sent: stats64.rx })
  assert.equal(tapFigures([]).received.bytes, 0)
})
