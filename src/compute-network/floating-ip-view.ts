import type { ShownFloatingIp } from './shown-floating-ips.ts'

/** As `os-floating-ips` tells it. Source: shared/spec/uos-volume-image.md, quick start. */
export const floatingIpView = (floatingIp: ShownFloatingIp) => ({
  id: floatingIp.id,
  ip: floatingIp.floatingIpAddress,
  fixed_ip: floatingIp.fixedIpAddress,
  instance_id: floatingIp.serverId,
  pool: floatingIp.poolName,
})
