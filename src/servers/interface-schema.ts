import { Type } from 'typebox'

const Text = Type.Optional(Type.Union([Type.String({ maxLength: 255 }), Type.Null()]))

/** S26 with `port_id`, S28 with `net_id` or nothing. `sbunet_id` is what the UOS documents call `subnet_id`. */
export const AttachRequest = Type.Object({
  interfaceAttachment: Type.Union([
    Type.Object({
      port_id: Text,
      net_id: Text,
      subnet_id: Text,
      sbunet_id: Text,
      fixed_ips: Type.Optional(
        Type.Union([
          Type.Array(Type.Object({ ip_address: Text, subnet_id: Text, sbunet_id: Text }), { maxItems: 1 }),
          Type.Null(),
        ]),
      ),
    }),
    Type.Null(),
  ]),
})

const Interface = Type.Object({
  port_id: Type.String(),
  net_id: Type.String(),
  mac_addr: Type.String(),
  port_state: Type.String(),
  fixed_ips: Type.Array(Type.Object({ subnet_id: Type.String(), ip_address: Type.String() })),
})
export const InterfaceAnswer = Type.Object({ interfaceAttachment: Interface })
export const InterfacesAnswer = Type.Object({ interfaceAttachments: Type.Array(Interface) })

/** By network name. */
const Addresses = Type.Record(Type.String(), Type.Array(Type.Object({ addr: Type.String(), version: Type.Integer() })))
export const AddressesAnswer = Type.Object({ addresses: Addresses })
export const NetworkAddressesAnswer = Addresses
