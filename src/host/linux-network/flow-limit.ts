/**
 * How many connections one address may have in its network's connection tracking, which all guests of the network
 * share: one that fills it would keep the others from opening any. Pure.
 *
 * A table of its own, since the tables of nft-rules.ts may be replaced whole and what they had counted with them.
 * It comes after them, so only what they let through is counted, for who sent the first packet. It goes by address:
 * a port without anti-spoofing can use several.
 */

/** Far more than a guest needs; 32 greedy ones fill the tracking of a machine with a few GiB. */
export const FLOWS_PER_ADDRESS = 8_192

const TABLE = 'inet novella_flows'
const FAMILIES = [
  { set: 'flows', type: 'ipv4_addr', source: 'ip saddr' },
  { set: 'flows6', type: 'ipv6_addr', source: 'ip6 saddr' },
]
const HOOKS = ['forward', 'input'] as const

/** The chains that count, as nft addresses them. */
export const FLOW_LIMIT_CHAINS = HOOKS.map((hook) => `${TABLE} ${hook}`)

/** The whole script for `nft -f -`; may be run again, and keeps what was counted. */
export function buildFlowLimit(): string {
  return [
    `table ${TABLE} {`,
    ...FAMILIES.map(({ set, type }) => `  set ${set} { type ${type}; size 65535; flags dynamic; }`),
    ...HOOKS.map((hook) => `  chain ${hook} { type filter hook ${hook} priority 10; policy accept; }`),
    '}',
    ...HOOKS.flatMap((hook) => [
      `flush chain ${TABLE} ${hook}`,
      ...FAMILIES.map(
        ({ set, source }) =>
          `add rule ${TABLE} ${hook} ct state new add @${set} { ${source} ct count over ${FLOWS_PER_ADDRESS} } drop`,
      ),
    ]),
    '',
  ].join('\n')
}
