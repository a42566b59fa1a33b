/** What both versions of IP have in common for rules: addresses and prefixes of either, as nft takes them. */
import { compactPrefixes, formatPrefix, parsePrefix } from './ipv4.ts'
import { compactPrefixes6, formatPrefix6, parsePrefix6 } from './ipv6.ts'

export type IpVersion = 4 | 6

/** How nft names it in a match, and the type of its addresses. */
export const NFT_WORDS = {
  4: { match: 'ip', addressType: 'ipv4_addr', protocol: 'ipv4' },
  6: { match: 'ip6', addressType: 'ipv6_addr', protocol: 'ipv6' },
} as const

export const versionOf = (address: string): IpVersion => (address.includes(':') ? 6 : 4)

/**
 * The addresses and prefixes of one version among `texts`, in as few prefixes, sorted.
 * @throws Error when one is neither.
 */
export function pickPrefixes(version: IpVersion, texts: readonly string[]): string[] {
  const mine = texts.filter((text) => versionOf(text) === version)
  return version === 4
    ? compactPrefixes(mine.map(parsePrefix)).map(formatPrefix)
    : compactPrefixes6(mine.map(parsePrefix6)).map(formatPrefix6)
}

/** Whether a prefix of `pickPrefixes` holds every address there is. */
export const isAnyAddress = (prefix: string): boolean => prefix.endsWith('/0')

/** An anonymous set. */
export const setOf = (members: readonly string[]): string => `{ ${members.join(', ')} }`
