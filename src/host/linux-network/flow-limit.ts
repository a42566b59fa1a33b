/**
 * How many connections one address may have in its network's connection tracking, which all guests of the network
 * share: one that fills it would keep the others from opening any. Pure.
 *
 * A table of its own, since the tables of nft-rules.ts are replaced at each change and what they had counted with them.
 * It comes after them, so only what they let through is counted, for who sent the first packet. It goes by address:
 * a port without anti-spoofing can use several.
 */

/** Far more than a guest needs; 32 greedy ones fill the tracking of a machine with a few GiB. */
export const FLOWS_PER_ADDRESS = 8_192

const TABLE = 'inet novella_flows'
const HOOKS = ['forward', 'input'] as const

/** The whole script for `nft -f -`; may be run again, and keeps what was counted. */
export function buildFlowLimit(): string {
  return [
    `table ${TABLE} {`,
    '  set flows {',
    '    type ipv4_addr; size 65535; flags dynamic;',
    '  }',
    ...HOOKS.map((hook) => `  chain ${hook} { type filter hook ${hook} priority 10; policy accept; }`),
    '}',
    ...HOOKS.flatMap((hook) => [
      `flush chain ${TABLE} ${hook}`,
      `add rule ${TABLE} ${hook} ct state new add @flows { ip saddr ct count over ${FLOWS_PER_ADDRESS} } drop`,
    ]),
    '',
  ].join('\n')
}
