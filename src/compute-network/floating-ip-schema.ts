import { Type } from 'typebox'

const Nullable = Type.Union([Type.String(), Type.Null()])

const FloatingIp = Type.Object({
  id: Type.String(),
  ip: Type.String(),
  fixed_ip: Nullable,
  instance_id: Nullable,
  pool: Type.String({ description: 'the name of the external network' }),
})

/** Body of `POST /os-floating-ips`; without a pool the address comes from the default one. */
export const CreateFloatingIpRequest = Type.Union([
  Type.Object({ pool: Type.Optional(Type.Union([Type.String({ maxLength: 255 }), Type.Null()])) }),
  Type.Null(),
])

export const FloatingIpAnswer = Type.Object({ floating_ip: FloatingIp })
export const FloatingIpListAnswer = Type.Object({ floating_ips: Type.Array(FloatingIp) })
export const FloatingIpPoolsAnswer = Type.Object({
  floating_ip_pools: Type.Array(Type.Object({ name: Type.String() })),
})
export const FloatingIpPath = Type.Object({ projectId: Type.String(), floatingIpId: Type.String() })
