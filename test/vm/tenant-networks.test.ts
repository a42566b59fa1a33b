/** What the network API says is what packets do: a tenant's networks, tried from inside real guests. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { after, before, describe, test } from 'node:test'
import { tapName } from '../../src/host/linux-network/names.ts'
import { until } from '../support/until.ts'
import { TenantCloud, type TenantServer } from './tenant-cloud.ts'

const ping = (address: string, options = '') => `ping -c 1 -W 3 ${options} ${address}`
/** Succeeds when a TCP connection opens: sshd says its version first. */
const reaches = (address: string, port = 22) => `nc -w 5 ${address} ${port} </dev/null | grep -q SSH`

describe('networks of a tenant with real guests', () => {
  let cloud: TenantCloud
  /** `a` and `b` on one network, `c` on a second behind the same router, `d` elsewhere with the address of `a`. */
  let a: TenantServer
  let b: TenantServer
  let c: TenantServer
  let d: TenantServer
  let routerId: string
  let outside: { id: string; ip: string }
  const inA = (command: string) => cloud.sshFromOutside(outside.ip, command)
  const network: TenantCloud['client']['network'] = (...call) => cloud.client.network(...call)

  before(async () => {
    cloud = await TenantCloud.open()
    const [first, second, third] = [
      await cloud.makeNetwork('first', '10.20.0.0/24'),
      await cloud.makeNetwork('second', '10.30.0.0/24'),
      await cloud.makeNetwork('third', '10.20.0.0/24'),
    ]
    routerId = await cloud.makeRouter('between', [first.subnetId, second.subnetId])
    const ids = [
      await cloud.makeServer('a', first.networkId, { fixed_ip: '10.20.0.50' }),
      await cloud.makeServer('b', first.networkId),
      await cloud.makeServer('c', second.networkId),
      await cloud.makeServer('d', third.networkId, { fixed_ip: '10.20.0.50' }),
    ]
    const [one, two, three, four] = [
      await cloud.untilUp(ids[0] ?? ''),
      await cloud.untilUp(ids[1] ?? ''),
      await cloud.untilUp(ids[2] ?? ''),
      await cloud.untilUp(ids[3] ?? ''),
    ]
    a = one
    b = two
    c = three
    d = four
    outside = await cloud.giveFloatingIp(a.id)
    await cloud.untilWorks('ssh to the floating IP', () => inA('true'))
  })
  after(() => cloud?.[Symbol.asyncDispose]())

  test('the floating IP leads to its server, and the world sees the server under it', async () => {
    assert.equal(await inA('hostname'), 'a\n')
    const { server } = await cloud.client.get(`/servers/${a.id}`)
    assert.ok(JSON.stringify(server.addresses).includes(outside.ip), 'the server shows its floating IP')
    // What sshd calls the other side of a connection back from outside is who the server is there.
    const { floatingips } = await network('GET', `/floatingips?port_id=${a.portId}`)
    assert.equal(floatingips[0].status, 'ACTIVE')
  })

  test('a guest that answers for an address of others, or gives addresses out, is not heard', async () => {
    const pretended = '10.20.0.251'
    // Whether a command in the other guest succeeds; that ssh gets there is no part of the answer.
    const inB = async (words: string) => {
      return (await cloud.sshFromInside(b, `if ${words} >/dev/null 2>&1; then echo yes; else echo no; fi`)) === 'yes\n'
    }
    const isAnswered = () => inB(`arping -f -c 3 -w 5 -I eth0 ${pretended}`)
    await inA(`ip addr add ${pretended}/24 dev eth0`)
    assert.equal(await isAnswered(), false)
    const { ports } = await network('GET', `/ports?id=${a.portId}`)
    const { security_groups } = ports[0]
    const setPort = (port: object) => network('PUT', `/ports/${a.portId}`, { port })
    await setPort({ security_groups: [], port_security_enabled: false })
    await until('without port security the lie is believed', isAnswered)
    await setPort({ port_security_enabled: true, security_groups })
    await until('the port is secure again', async () => !(await isAnswered()))
    await inA(`ip addr del ${pretended}/24 dev eth0`)

    const isServed = () => inB('udhcpc -n -q -f -i eth0 -t 3 -T 2 -s /bin/true')
    await inA(`cat >/run/lies.conf <<END
start 10.20.0.200
end 10.20.0.210
interface eth0
option subnet 255.255.255.0
lease_file /run/lies.leases
pidfile /run/lies.pid
END
touch /run/lies.leases; udhcpd /run/lies.conf </dev/null >/dev/null 2>&1`)
    await cloud.untilWorks('its own DHCP server runs', () => inA('kill -0 $(cat /run/lies.pid)'))
    // The network's own stands still, so that only the false one could answer.
    const pid = Number(cloud.data.read(`networks/${a.networkId}/dnsmasq.pid`))
    process.kill(pid, 'SIGSTOP')
    try {
      assert.equal(await isServed(), false)
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    await until('the network’s own answers', isServed)
    await inA('kill $(cat /run/lies.pid)')
  })

  test('guests of one network ping each other and talk TCP, until their groups forbid it', async () => {
    await inA(ping(b.address))
    await inA(reaches(b.address))

    const { security_group: closed } = await network('POST', '/security-groups', { security_group: { name: 'closed' } })
    for (const rule of closed.security_group_rules) {
      if (rule.direction === 'ingress') await network('DELETE', `/security-group-rules/${rule.id}`)
    }
    await network('PUT', `/ports/${b.portId}`, { port: { security_groups: [closed.id] } })
    await cloud.untilFails('the ping is blocked', () => inA(ping(b.address)))
    await assert.rejects(inA(reaches(b.address)))

    const allow = (rule: object) =>
      network('POST', '/security-group-rules', {
        security_group_rule: { security_group_id: closed.id, direction: 'ingress', ...rule },
      })
    await allow({ protocol: 'icmp' })
    await cloud.untilWorks('one rule allows the ping', () => inA(ping(b.address)))
    await assert.rejects(inA(reaches(b.address)), 'and nothing else')

    const { ports } = await network('GET', `/ports?id=${a.portId}`)
    await allow({
      protocol: 'tcp',
      port_range_min: '22',
      port_range_max: '22',
      remote_group_id: ports[0].security_groups[0],
    })
    await cloud.untilWorks('a rule allows the members of a group', () => inA(reaches(b.address)))
    await assert.rejects(cloud.sshFromInside(c, reaches(b.address)).then(() => cloud.sshFromInside(b, 'true')))
  })

  test('an established connection ends with the rule that allowed it', async () => {
    const { ports } = await network('GET', `/ports?id=${a.portId}`)
    const group = ports[0].security_groups[0]
    const { security_group_rules: rules } = await network('GET', `/security-group-rules?security_group_id=${group}`)
    const ssh = rules.find((rule: { port_range_min: number }) => rule.port_range_min === 22)
    await using ticks = cloud.listenFromOutside(outside.ip, 'while sleep 0.2; do echo tick; done')
    await until('the connection talks', () => ticks.heard > 3)
    await network('DELETE', `/security-group-rules/${ssh.id}`)
    await until('the connection is silent', () => ticks.silentMs > 3_000)
    await assert.rejects(inA('true'), 'no new connection comes in')
    const { id: _, tenant_id: __, ...again } = ssh
    await network('POST', '/security-group-rules', { security_group_rule: again })
    await cloud.untilWorks('the rule is back', () => inA('true'))
  })

  test('a guest that lies about its address is not heard', async () => {
    await inA('ip addr add 10.20.0.250/24 dev eth0')
    await assert.rejects(inA(ping(b.address, '-I 10.20.0.250')))
    await inA('ip addr del 10.20.0.250/24 dev eth0')
    await inA(ping(b.address))

    // By another MAC not even the answer of this ssh is heard: it comes once the guest has taken its own MAC again.
    const lie = [
      'own=$(cat /sys/class/net/eth0/address)',
      'ip link set eth0 address fa:16:3e:00:00:99',
      `if ${ping(b.address)} >/dev/null; then told=heard; else told=silence; fi`,
      'cat /sys/class/net/eth0/address',
      'ip link set eth0 address $own',
      'echo $told',
    ].join('; ')
    assert.equal(await inA(lie), 'fa:16:3e:00:00:99\nsilence\n')
    await inA(ping(b.address))
  })

  test('a router joins two networks, and leads out', async () => {
    await inA(ping(c.address))
    await inA(ping('172.24.4.1'))
    await cloud.sshFromInside(c, ping('172.24.4.1'))
    const other = await cloud.giveFloatingIp(c.id)
    await cloud.untilWorks('hairpin: from inside to a floating IP', () => inA(reaches(other.ip)))
    await inA(reaches(outside.ip))
    await cloud.client.act(c.id, { removeFloatingIp: { address: other.ip } })
    await cloud.untilFails('the floating IP leads nowhere', () => inA(reaches(other.ip)))
  })

  test('two networks with the same addresses know nothing of each other', async () => {
    const ask = 'wget -qO- http://169.254.169.254/openstack/latest/meta_data.json'
    assert.equal(JSON.parse(await inA(ask)).uuid, a.id)
    assert.equal(JSON.parse(await cloud.sshFromInside(d, ask)).uuid, d.id)
    assert.equal(d.address, a.address)
    await assert.rejects(cloud.sshFromInside(d, ping(b.address)))
  })

  test('a card comes into a running guest with its address, and goes again', async () => {
    const { body } = await cloud.client.ask('POST', `/servers/${a.id}/os-interface`, {
      interfaceAttachment: { net_id: c.networkId },
    })
    const { port_id, fixed_ips } = body.interfaceAttachment
    await until('the guest has the address', async () =>
      (await inA('ip -4 -o addr show')).includes(`${fixed_ips[0].ip_address}/`),
    )
    const { status } = await cloud.client.ask('DELETE', `/servers/${a.id}/os-interface/${port_id}`)
    assert.equal(status, 202)
    await until(
      'the card is gone',
      async () => !(await inA('ip -4 -o addr show')).includes(`${fixed_ips[0].ip_address}/`),
    )
    assert.deepEqual((await network('GET', `/ports?id=${port_id}`)).ports, [])
  })

  test('a disabled port passes nothing', async () => {
    await network('PUT', `/ports/${b.portId}`, { port: { admin_state_up: 'false' } })
    await cloud.untilFails('the port is closed', () => inA(ping(b.address)))
    await network('PUT', `/ports/${b.portId}`, { port: { admin_state_up: 'true' } })
    await cloud.untilWorks('the port is open', () => inA(ping(b.address)))
  })

  test('what somebody removed by hand is made again: a namespace, and a tap under a running guest', async () => {
    execFileSync('ip', ['-n', cloud.namespaceOf(b.networkId), 'link', 'delete', tapName(b.portId)])
    await assert.rejects(inA(ping(b.address)))
    execFileSync('ip', ['netns', 'delete', cloud.namespaceOf(routerId)])
    await cloud.untilWorks('the router is back', () => inA('true'))
    await inA(ping(c.address))
    await cloud.untilWorks('the guest has a card that works', () => inA(ping(b.address)))
  })

  test('networks go on while Novella is dead, and follow again when it is back', async () => {
    await cloud.novella.stop('SIGKILL')
    await inA('true')
    await cloud.start()
    await inA(ping(c.address))
    await network('PUT', `/ports/${b.portId}`, { port: { admin_state_up: 'false' } })
    await cloud.untilFails('changes arrive', () => inA(ping(b.address)))
  })
})
