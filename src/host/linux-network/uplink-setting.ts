/** How the external networks meet the world. */
export type UplinkSetting = { kind: 'none' } | { kind: 'nat' } | { kind: 'bridge'; bridge: string }

/** What `uplink` may be: `none`, `nat`, or `bridge=` and the name of a device. */
export const UPLINK_FORM = /^(none|nat|bridge=[A-Za-z0-9_.-]{1,15})$/

/** @throws Error when it is not of that form; the settings table has seen to that. */
export function readUplink(text: string): UplinkSetting {
  if (!UPLINK_FORM.test(text)) throw new Error(`Not an uplink: ${JSON.stringify(text)}`)
  if (text === 'none' || text === 'nat') return { kind: text }
  return { kind: 'bridge', bridge: text.slice('bridge='.length) }
}
