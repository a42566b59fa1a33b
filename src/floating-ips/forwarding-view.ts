import type { Row } from '../db/schema.ts'

/** A port forwarding of a floating IP, as Neutron shows it. */
export const forwardingView = (forwarding: Row<'portForwardings'>) => ({
  id: forwarding.id,
  protocol: forwarding.protocol,
  external_port: forwarding.outsidePort,
  internal_port: forwarding.insidePort,
  internal_port_id: forwarding.insidePortId,
  internal_ip_address: forwarding.insideAddress,
  description: forwarding.description,
})
