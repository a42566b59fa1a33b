/**
 * What DHCP answers may carry besides what they always do: options by the names that dnsmasq and OpenStack clients use,
 * or by number. Values are checked by the kind of their option, so that none of them can break the server's files.
 * Source: RFC 2132; `dnsmasq --help dhcp` and `--help dhcp6`.
 */
import { isIPv4, isIPv6 } from 'node:net'
import type { IpVersion } from './ip.ts'

/** A list of addresses of the option's version, a whole number, the name of a domain, or printable text. */
export type DhcpOptionKind = 'addresses' | 'number' | 'name' | 'text'

export interface DhcpOption {
  code: number
  kind: DhcpOptionKind
}

const OPTIONS: Record<IpVersion, Record<string, DhcpOption>> = {
  4: {
    router: { code: 3, kind: 'addresses' },
    'dns-server': { code: 6, kind: 'addresses' },
    'log-server': { code: 7, kind: 'addresses' },
    'lpr-server': { code: 9, kind: 'addresses' },
    'boot-file-size': { code: 13, kind: 'number' },
    'domain-name': { code: 15, kind: 'name' },
    'root-path': { code: 17, kind: 'text' },
    'extension-path': { code: 18, kind: 'text' },
    mtu: { code: 26, kind: 'number' },
    'nis-domain': { code: 40, kind: 'text' },
    'nis-server': { code: 41, kind: 'addresses' },
    'ntp-server': { code: 42, kind: 'addresses' },
    'netbios-ns': { code: 44, kind: 'addresses' },
    'tftp-server': { code: 66, kind: 'text' },
    'tftp-server-name': { code: 66, kind: 'text' },
    'bootfile-name': { code: 67, kind: 'text' },
    'smtp-server': { code: 69, kind: 'addresses' },
    'pop3-server': { code: 70, kind: 'addresses' },
    'posix-timezone': { code: 100, kind: 'text' },
    'tzdb-timezone': { code: 101, kind: 'text' },
    'domain-search': { code: 119, kind: 'name' },
    'server-ip-address': { code: 150, kind: 'addresses' },
    'tftp-server-address': { code: 150, kind: 'addresses' },
  },
  6: {
    'sip-server': { code: 22, kind: 'addresses' },
    'dns-server': { code: 23, kind: 'addresses' },
    'domain-search': { code: 24, kind: 'name' },
    'nis-server': { code: 27, kind: 'addresses' },
    'sntp-server': { code: 31, kind: 'addresses' },
    'information-refresh-time': { code: 32, kind: 'number' },
    'ntp-server': { code: 56, kind: 'addresses' },
    'bootfile-url': { code: 59, kind: 'text' },
  },
}

/** Codes that are the server's own: what a lease is, who asks, who answers. 0 and 255 are no options. */
const OWN = new Set([0, 1, 12, 28, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 81, 82, 255])
const OWN_6 = new Set([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 16, 17, 18, 19, 20, 25, 26, 39])
const MOST = { 4: 254, 6: 143 } as const

/** The option of this name or number; undefined when there is none, or it is not for callers to set. */
export function findDhcpOption(name: string, version: IpVersion): DhcpOption | undefined {
  if (Object.hasOwn(OPTIONS[version], name)) return OPTIONS[version][name]
  if (!/^\d{1,3}$/.test(name)) return undefined
  const code = Number(name)
  const known = Object.values(OPTIONS[version]).find((option) => option.code === code)
  if (known) return known
  if (code > MOST[version] || (version === 4 ? OWN : OWN_6).has(code)) return undefined
  return { code, kind: 'text' }
}

/** Whether an option may have this value. No kind has a quote, a backslash, a control character or a line's end. */
export function fitsDhcpOption({ kind }: DhcpOption, value: string, version: IpVersion): boolean {
  switch (kind) {
    case 'addresses':
      return value
        .split(',')
        .every((one) => (version === 4 ? isIPv4(one.trim()) : isIPv6(one.trim()) && !one.includes('%')))
    case 'number':
      return /^\d{1,9}$/.test(value)
    case 'name':
      return /^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/.test(value)
    case 'text':
      return /^[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?$/.test(value) && !/[,"'\\#]/.test(value)
  }
}
