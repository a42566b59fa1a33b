import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Connection, isStale, readConnections } from './router-connections.ts'
import { designRouter } from './router-design.ts'
import { exampleRouter } from './router-example.ts'

const LINES = [
  'ipv4     2 tcp      6 119 TIME_WAIT src=203.0.113.99 dst=203.0.113.10 sport=38178 dport=22 src=10.0.0.5 dst=203.0.113.99 sport=22 dport=38178 [ASSURED] mark=0 zone=0 use=2',
  'ipv4     2 icmp     1 29 src=10.0.0.6 dst=192.0.2.9 type=8 code=0 id=77 src=192.0.2.9 dst=203.0.113.2 type=0 code=0 id=77 mark=0 zone=0 use=2',
  'ipv6     10 udp      17 29 src=fd00::1 dst=fd00::2 sport=1 dport=2 [UNREPLIED] src=fd00::2 dst=fd00::1 sport=2 dport=1 mark=0 zone=0 use=2',
  'ipv4     2 udp      17 29 src=10.0.0.5 dst=10.0.1.5 sport=53 dport=53 [UNREPLIED] src=10.0.1.5 dst=10.0.0.5 sport=53 dport=53 mark=0 zone=0 use=2',
]

test('connections are read as the kernel shows them, IPv6 left out', () => {
  const [tcp, icmp, udp, ...none] = readConnections(`${LINES.join('\n')}\n`)
  assert.deepEqual(none, [])
  assert.deepEqual(tcp, {
    protocol: 6,
    original: { src: '203.0.113.99', dst: '203.0.113.10', sport: '38178', dport: '22' },
    reply: { src: '10.0.0.5', dst: '203.0.113.99', sport: '22', dport: '38178' },
  })
  assert.deepEqual(
    [icmp?.protocol, icmp?.icmp, icmp?.reply.dst],
    [1, { type: '8', code: '0', id: '77' }, '203.0.113.2'],
  )
  assert.deepEqual([udp?.protocol, udp?.original.dst], [17, '10.0.1.5'])
})

test('a connection is stale when it was translated as the plan does not say', () => {
  const floating = (ipAddress: string, fixedIpAddress: string) => ({
    floatingIpId: ipAddress,
    ipAddress,
    fixedIpAddress,
    rateLimitKbps: 0,
  })
  const web = {
    outsideAddress: null,
    outsidePort: 80,
    insideAddress: '10.0.0.7',
    insidePort: 8080,
    protocol: 'tcp' as const,
  }
  const design = designRouter(
    exampleRouter({ floatingIps: [floating('203.0.113.10', '10.0.0.5')], portForwardings: [web] }),
  )
  const bare = designRouter(exampleRouter({ gateway: null }))
  /** `src:port>dst:port` of the first packet and of an answer. */
  const connection = (original: string, reply: string, protocol = 6): Connection => {
    const tuple = (text: string) => {
      const [src = '', sport = '', dst = '', dport = ''] = text.split(/[:>]/)
      return { src, sport, dst, dport }
    }
    return { protocol, original: tuple(original), reply: tuple(reply) }
  }
  const table: [boolean, string, Connection, typeof design][] = [
    [false, 'between networks', connection('10.0.0.5:1>10.0.1.5:2', '10.0.1.5:2>10.0.0.5:1'), design],
    [false, 'in by the floating IP', connection('8.8.8.8:1>203.0.113.10:2', '10.0.0.5:2>8.8.8.8:1'), design],
    [true, 'in by it to another guest', connection('8.8.8.8:1>203.0.113.10:2', '10.0.0.6:2>8.8.8.8:1'), design],
    [
      true,
      'in by it before it led anywhere',
      connection('8.8.8.8:1>203.0.113.10:2', '203.0.113.10:2>8.8.8.8:1'),
      design,
    ],
    [false, 'out by the floating IP', connection('10.0.0.5:1>8.8.8.8:2', '8.8.8.8:2>203.0.113.10:1'), design],
    [true, 'out by another’s', connection('10.0.0.6:1>8.8.8.8:2', '8.8.8.8:2>203.0.113.10:1'), design],
    [
      false,
      'out by the gateway, by another port',
      connection('10.0.0.6:1>8.8.8.8:2', '8.8.8.8:2>203.0.113.2:9'),
      design,
    ],
    [true, 'out by a gateway that is gone', connection('10.0.0.6:1>8.8.8.8:2', '8.8.8.8:2>203.0.113.2:9'), bare],
    [false, 'in by a forwarding', connection('8.8.8.8:1>203.0.113.2:80', '10.0.0.7:8080>8.8.8.8:1'), design],
    [
      true,
      'in by one of another protocol',
      connection('8.8.8.8:1>203.0.113.2:80', '10.0.0.7:8080>8.8.8.8:1', 17),
      design,
    ],
    [true, 'in by one to another port', connection('8.8.8.8:1>203.0.113.2:80', '10.0.0.7:8081>8.8.8.8:1'), design],
    [false, 'and back in', connection('10.0.0.6:1>203.0.113.10:2', '10.0.0.5:2>203.0.113.2:1'), design],
  ]
  for (const [expected, what, one, by] of table) assert.equal(isStale(one, by), expected, what)
})
