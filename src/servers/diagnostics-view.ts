/**
 * What a server's diagnostics look like: since 2.48 in one shape for all hosts, before as a flat map with a name a figure.
 * Source: nova/api/openstack/compute/server_diagnostics.py and nova/virt/libvirt/driver.py, get_diagnostics.
 */
import type { LinkFigures } from '../host/diagnostics-host.ts'
import type { GuestHealth } from '../host/guest-agent-host.ts'
import type { Diagnosis } from './diagnose-server.ts'

const KIB_IN_MIB = 1024

/** The shape of 2.48. */
export function diagnosticsView({ server, accelerator, figures }: Diagnosis) {
  const { vcpus, memory, disks, cards } = figures
  return {
    state: figures.power === 'on' ? 'running' : 'paused',
    // Of the names that clients know, the one that says most: QEMU, whatever speeds it up.
    driver: 'libvirt',
    hypervisor: accelerator === 'kvm' ? 'kvm' : 'qemu',
    hypervisor_os: 'linux',
    uptime: figures.uptimeS,
    config_drive: server.configDrive !== '',
    num_cpus: vcpus.length,
    num_nics: cards.length,
    num_disks: disks.length,
    // One look tells no utilisation.
    cpu_details: vcpus.map(({ id, timeNs }) => ({ id, time: timeNs, utilisation: null })),
    disk_details: disks.map((disk) => ({
      read_bytes: disk.readBytes,
      read_requests: disk.readRequests,
      write_bytes: disk.writeBytes,
      write_requests: disk.writeRequests,
      errors_count: disk.errors,
    })),
    nic_details: cards.map(({ macAddress, received, sent }) => ({
      mac_address: macAddress,
      ...linkView('rx', received),
      ...linkView('tx', sent),
    })),
    memory_details: { maximum: memory.totalMib, used: memory.usedMib },
  }
}

const linkView = (prefix: 'rx' | 'tx', { bytes, errors, dropped, packets }: LinkFigures) => ({
  [`${prefix}_octets`]: bytes,
  [`${prefix}_errors`]: errors,
  [`${prefix}_drop`]: dropped,
  [`${prefix}_packets`]: packets,
  [`${prefix}_rate`]: null,
})

/** The map of 2.1: times in nanoseconds, memory in KiB; disks by their place, cards by their port. */
export function oldDiagnosticsView({ figures }: Diagnosis): Record<string, number | null> {
  const { vcpus, memory, disks, cards } = figures
  const map: Record<string, number | null> = {}
  for (const { id, timeNs } of vcpus) map[`cpu${id}_time`] = timeNs
  disks.forEach((disk, index) => {
    const device = `vd${String.fromCharCode('a'.charCodeAt(0) + index)}`
    map[`${device}_read`] = disk.readBytes
    map[`${device}_read_req`] = disk.readRequests
    map[`${device}_write`] = disk.writeBytes
    map[`${device}_write_req`] = disk.writeRequests
    map[`${device}_errors`] = disk.errors
  })
  for (const { portId, received, sent } of cards) {
    for (const [way, link] of [
      ['rx', received],
      ['tx', sent],
    ] as const) {
      const name = `tap${portId.slice(0, 11)}_${way}`
      map[name] = link.bytes
      map[`${name}_packets`] = link.packets
      map[`${name}_errors`] = link.errors
      map[`${name}_drop`] = link.dropped
    }
  }
  map.memory = memory.totalMib * KIB_IN_MIB
  map['memory-rss'] = memory.usedMib * KIB_IN_MIB
  return map
}

/** What the guest says of itself: no part of Nova's. */
export const healthView = (health: GuestHealth) => ({
  agent: health.agent,
  version: health.version,
  host_name: health.hostName,
  operating_system: health.operatingSystem,
  file_systems: health.fileSystems,
  clock_offset_ms: health.clockOffsetMs,
  interfaces: health.interfaces.map(({ name, macAddress, ipAddresses }) => ({
    name,
    mac_address: macAddress,
    ip_addresses: ipAddresses,
  })),
})
