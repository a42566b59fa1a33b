/** N27 to N35, in both dialects. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { findGuest } from '../../src/metadata/find-guest.ts'
import { readGuestFacts } from '../../src/metadata/guest-facts.ts'
import { countRows } from '../support/count-rows.ts'
import { createServer, SHARED } from '../support/create-servers.ts'
import { assertNetworkError, type Body, bodyOf, DIALECTS, make } from '../support/network-requests.ts'
import { assertSameShape } from '../support/same-shape.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES } from '../support/test-cloud.ts'

const { uos, neutron } = DIALECTS
const UOS_MEMBERS = [
  'id',
  'name',
  'network_id',
  'tenant_id',
  'mac_address',
  'fixed_ips',
  'security_groups',
  'status',
  'admin_state_up',
  'device_id',
  'device_owner',
  'allowed_address_pairs',
  'binding:vnic_type',
  'binding:disable_anti_spoofing',
]

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })
    const newNetwork = async () => {
      const client = await shared().stranger()
      const { id } = await make(client, 'networks', { name: 'net' })
      const subnet = await make(client, 'subnets', { network_id: id, ip_version: 4, cidr: '10.0.0.0/24' })
      const add = (wish: Body = {}) => make(client, 'ports', { network_id: id, ...wish })
      const put = async (port: { id: string }, change: Body) =>
        bodyOf(await client.put(`${uos}/ports/${port.id}`, { port: change }), 200).port
      return { client, id, subnet, add, put }
    }

    test('N28 N29 N27: a port has an address, a MAC and the default group', async () => {
      const { client, id, subnet } = await newNetwork()
      const wish = { port: { name: 'p', network_id: id, fixed_ips: [{ subnet_id: subnet.id }], admin_state_up: true } }
      const { port } = bodyOf(await client.post(`${uos}/ports`, wish), 201)
      assert.deepEqual(Object.keys(port).sort(), UOS_MEMBERS.toSorted())
      const group = (await client.get(`${uos}/security-groups`)).json().security_groups[0].id
      assert.match(port.mac_address, /^fa:16:3e(:[0-9a-f]{2}){3}$/)
      assert.match(port.fixed_ips[0].ip_address, /^10\.0\.0\.\d+$/)
      assert.deepEqual(
        { ...port, id: '', mac_address: '', fixed_ips: [] },
        {
          id: '',
          name: 'p',
          network_id: id,
          tenant_id: client.projectId,
          mac_address: '',
          fixed_ips: [],
          security_groups: [group],
          status: 'DOWN',
          admin_state_up: true,
          device_id: '',
          device_owner: '',
          allowed_address_pairs: [],
          'binding:vnic_type': 'normal',
          'binding:disable_anti_spoofing': false,
        },
      )
      const shown = bodyOf(await client.get(`${uos}/ports/${port.id}`), 200).port
      assert.deepEqual(Object.keys(shown).sort(), [...UOS_MEMBERS, 'created_at', 'extra_dhcp_opts'].sort())
      const { ports } = bodyOf(await client.get(`${uos}/ports`), 200)
      assert.deepEqual(ports.map((one: Body) => one.device_owner).sort(), ['', 'network:dhcp'])
    })

    test('Neutron shows a port as its own sample has it, and its binding to admins', async () => {
      const { add } = await newNetwork()
      const port = await add({
        extra_dhcp_opts: [{ opt_name: 'bootfile-name', opt_value: 'pxelinux.0' }],
        allowed_address_pairs: [{ ip_address: '12.12.11.12', mac_address: 'fa:14:2a:b3:cb:f0' }],
        tags: ['blue', 'red'],
      })
      const { 'binding:vnic_type': kind, ...plain } = port
      const sample = JSON.parse(readFileSync(new URL('../fixtures/network/port-create.json', import.meta.url), 'utf8'))
      const ours = new Set(Object.keys(plain))
      assertSameShape(plain, Object.fromEntries(Object.entries(sample.port).filter(([name]) => ours.has(name))))
      assert.deepEqual([kind, port.tags], ['normal', ['blue', 'red']])
      const seen = (await shared().admin.get(`${neutron}/ports/${port.id}`)).json().port
      assert.deepEqual(
        [seen['binding:vif_type'], seen['binding:host_id'], seen['binding:profile'], seen['binding:vif_details']],
        ['unbound', '', {}, {}],
      )
    })

    test('a port gets the addresses it wishes: several, certain ones, or none', async () => {
      const { client, id, subnet, add } = await newNetwork()
      const other = await make(client, 'subnets', { network_id: id, ip_version: 4, cidr: '10.0.1.0/24' })
      const port = await add({ fixed_ips: [{ ip_address: '10.0.0.77' }, { subnet_id: other.id }] })
      assert.deepEqual(port.fixed_ips[0], { subnet_id: subnet.id, ip_address: '10.0.0.77' })
      assert.equal(port.fixed_ips[1].subnet_id, other.id)
      assert.deepEqual((await add({ fixed_ips: [] })).fixed_ips, [])
      const both = [{ subnet_id: other.id, ip_address: '10.0.1.77' }]
      assert.deepEqual((await add({ fixed_ips: both })).fixed_ips, both)
    })

    test('a port has one address of each version, and one of each subnet where cards make their own', async () => {
      const { client, id, add } = await newNetwork()
      const six = (cidr: string, mode?: string) =>
        make(client, 'subnets', {
          network_id: id,
          ip_version: 6,
          cidr,
          ...(mode ? { ipv6_ra_mode: mode, ipv6_address_mode: mode } : {}),
        })
      await six('fd00:1::/64', 'slaac')
      await six('fd00:2::/64', 'dhcpv6-stateless')
      await six('fd00:3::/112', 'dhcpv6-stateful')
      const { fixed_ips } = await add({ mac_address: 'FA:16:3E:AA:BB:CC' })
      assert.deepEqual(
        fixed_ips.map((one: Body) => one.ip_address.replace(/^(10\.0\.0|fd00:3:).*/, '$1')),
        ['10.0.0', 'fd00:1::f816:3eff:feaa:bbcc', 'fd00:2::f816:3eff:feaa:bbcc', 'fd00:3:'],
      )
      const wish = { port: { network_id: id, fixed_ips: [{ ip_address: 'fd00:1::5' }] } }
      assertNetworkError(await client.post(`${neutron}/ports`, wish), 400, 'InvalidInput')
    })

    test('a server shows its addresses of both versions', async () => {
      const cloud = shared()
      const { client, id } = await newNetwork()
      const modes = { ipv6_ra_mode: 'slaac', ipv6_address_mode: 'slaac' }
      await make(client, 'subnets', { network_id: id, ip_version: 6, cidr: 'fd00:1::/64', ...modes })
      const server = await createServer(cloud, { networks: [{ uuid: id }] }, client)
      const addresses = server.addresses.net as Body[]
      assert.deepEqual(
        addresses.map(({ version }) => version),
        [4, 6],
      )
      assert.match(addresses.find(({ version }) => version === 6)?.addr, /^fd00:1::/)
      const plan = [...cloud.machine.ports.values()].find(({ serverId }) => serverId === server.id)
      assert.equal(plan?.addresses.length, 2)
      const guest = await findGuest(cloud.cloud.db.read, id, addresses[0]?.addr)
      assert.ok(guest)
      const { cards } = await readGuestFacts(cloud.cloud, guest)
      assert.deepEqual(
        cards.map(({ portId }) => portId),
        [plan?.portId],
      )
    })

    test('N30 N31 N34: anti-spoofing, name and state change, and the host hears of it', async () => {
      const cloud = shared()
      const { client, id, put } = await newNetwork()
      const server = await createServer(cloud, { networks: [{ uuid: id }] }, client)
      const [port] = (await client.get(`${uos}/ports?device_id=${server.id}`)).json().ports
      assert.equal((await put(port, { name: 'renamed' })).name, 'renamed')
      assert.equal(
        (await put(port, { 'binding:disable_anti_spoofing': 'True' }))['binding:disable_anti_spoofing'],
        true,
      )
      assert.equal((await put(port, { admin_state_up: 'false' })).admin_state_up, false)
      await cloud.settled()
      const plan = () => cloud.machine.ports.get(port.id)
      assert.deepEqual([plan()?.antiSpoofing, plan()?.isUp], [false, false])
      assert.equal((await client.get(`${uos}/ports/${port.id}`)).json().port.status, 'DOWN')
      assert.equal((await put(port, { disable_anti_spoofing: 'False' }))['binding:disable_anti_spoofing'], false)
      await cloud.settled()
      assert.equal(plan()?.antiSpoofing, true)
    })

    test('N32: the list of groups takes the place of the one before', async () => {
      const cloud = shared()
      const { client, id, put } = await newNetwork()
      const group = await make(client, 'security-groups', { name: 'web' })
      const server = await createServer(cloud, { networks: [{ uuid: id }] }, client)
      const [port] = (await client.get(`${uos}/ports?device_id=${server.id}`)).json().ports
      assert.deepEqual((await put(port, { security_groups: [group.id] })).security_groups, [group.id])
      await cloud.settled()
      assert.deepEqual(
        cloud.machine.ports.get(port.id)?.securityGroups?.map(({ groupId }) => groupId),
        [group.id],
      )
      assert.deepEqual((await put(port, { security_groups: [] })).security_groups, [])
      const foreign = await make(await cloud.stranger(), 'security-groups', { name: 'theirs' })
      const answer = await client.put(`${uos}/ports/${port.id}`, { port: { security_groups: [foreign.id] } })
      assertNetworkError(answer, 404, 'SecurityGroupNotFound')
    })

    test("N33: allowed addresses; a pair without a MAC has the port's own", async () => {
      const cloud = shared()
      const { client, id, put } = await newNetwork()
      const server = await createServer(cloud, { networks: [{ uuid: id }] }, client)
      const [port] = (await client.get(`${uos}/ports?device_id=${server.id}`)).json().ports
      const pairs = [{ ip_address: '10.9.9.9/16' }, { ip_address: '10.8.0.1', mac_address: 'FA:16:3E:00:00:01' }]
      assert.deepEqual((await put(port, { allowed_address_pairs: pairs })).allowed_address_pairs, [
        { ip_address: '10.9.0.0/16', mac_address: port.mac_address },
        { ip_address: '10.8.0.1', mac_address: 'fa:16:3e:00:00:01' },
      ])
      await cloud.settled()
      assert.deepEqual(cloud.machine.ports.get(port.id)?.allowedAddresses, [
        { ipAddress: '10.9.0.0/16', macAddress: port.mac_address },
        { ipAddress: '10.8.0.1', macAddress: 'fa:16:3e:00:00:01' },
      ])
      assert.deepEqual((await put(port, { allowed_address_pairs: [] })).allowed_address_pairs, [])
    })

    test('DHCP options are set, changed and taken away by name, and reach the host by number', async () => {
      const cloud = shared()
      const { client, id, put } = await newNetwork()
      const server = await createServer(cloud, { networks: [{ uuid: id }] }, client)
      const [port] = (await client.get(`${uos}/ports?device_id=${server.id}`)).json().ports
      const opts = [
        { opt_name: 'bootfile-name', opt_value: 'pxelinux.0' },
        { opt_name: 'ntp-server', opt_value: '192.0.2.1', ip_version: '4' },
      ]
      await put(port, { extra_dhcp_opts: opts })
      await cloud.settled()
      assert.deepEqual(cloud.machine.ports.get(port.id)?.dhcpOptions, [
        { name: '67', value: 'pxelinux.0', ipVersion: 4 },
        { name: '42', value: '192.0.2.1', ipVersion: 4 },
      ])
      const changed = await put(port, { extra_dhcp_opts: [{ opt_name: 'bootfile-name', opt_value: null }] })
      assert.deepEqual(changed.extra_dhcp_opts, [{ opt_name: 'ntp-server', opt_value: '192.0.2.1', ip_version: 4 }])
    })

    test('a new list of addresses keeps those that still fit', async () => {
      const { client, id, subnet, add, put } = await newNetwork()
      const port = await add({ fixed_ips: [{ ip_address: '10.0.0.50' }, { ip_address: '10.0.0.51' }] })
      const addresses = async (fixed_ips: Body) =>
        (await put(port, { fixed_ips })).fixed_ips.map((one: Body) => one.ip_address)
      assert.deepEqual(await addresses([{ ip_address: '10.0.0.51' }, { ip_address: '10.0.0.60' }]), [
        '10.0.0.51',
        '10.0.0.60',
      ])
      assert.deepEqual(await addresses([{ subnet_id: subnet.id, ip_address: '10.0.0.60' }]), ['10.0.0.60'])
      assert.deepEqual(await addresses([{ subnet_id: subnet.id }]), ['10.0.0.60'])
      const freed = await add({ fixed_ips: [{ ip_address: '10.0.0.50' }] })
      const taken = await client.put(`${uos}/ports/${port.id}`, { port: { fixed_ips: [{ ip_address: '10.0.0.50' }] } })
      assertNetworkError(taken, 409, 'IpAddressAlreadyAllocated')
      assert.deepEqual((await client.get(`${uos}/ports/${port.id}`)).json().port.fixed_ips[0].ip_address, '10.0.0.60')
      assert.deepEqual(await addresses([]), [])
      assert.equal(freed.network_id, id)
    })

    test('an admin changes the MAC of an unused port, and the addresses made of it follow', async () => {
      const { client, id, add } = await newNetwork()
      const modes = { ipv6_ra_mode: 'slaac', ipv6_address_mode: 'slaac' }
      await make(client, 'subnets', { network_id: id, ip_version: 6, cidr: 'fd00:1::/64', ...modes })
      const port = await add({ mac_address: 'fa:16:3e:aa:00:01' })
      const change = { port: { mac_address: 'fa:16:3e:aa:00:02' } }
      assertNetworkError(await client.put(`${neutron}/ports/${port.id}`, change), 403, 'PolicyNotAuthorized')
      const changed = bodyOf(await shared().admin.put(`${neutron}/ports/${port.id}`, change), 200).port
      assert.equal(changed.mac_address, 'fa:16:3e:aa:00:02')
      assert.deepEqual(
        changed.fixed_ips.map((one: Body) => one.ip_address),
        [port.fixed_ips[0].ip_address, 'fd00:1::f816:3eff:feaa:2'],
      )
      const taken = { port: { network_id: id, mac_address: 'FA:16:3E:AA:00:02' } }
      assertNetworkError(await client.post(`${neutron}/ports`, taken), 409, 'MacAddressInUse')
    })

    test('a port without filters has no groups, and gets them only when filters are on', async () => {
      const { client, add, put } = await newNetwork()
      const open = await add({ port_security_enabled: false })
      assert.deepEqual([open.port_security_enabled, open.security_groups], [false, []])
      const change = (port: Body, wish: Body) => client.put(`${neutron}/ports/${port.id}`, { port: wish })
      const { id: group } = await make(client, 'security-groups', { name: 'g' })
      assertNetworkError(
        await change(open, { security_groups: [group] }),
        400,
        'PortSecurityAndIPRequiredForSecurityGroups',
      )
      const pairs = { allowed_address_pairs: [{ ip_address: '10.0.0.9' }] }
      assertNetworkError(await change(open, pairs), 409, 'AddressPairAndPortSecurityRequired')
      const closed = await add()
      assertNetworkError(
        await change(closed, { port_security_enabled: false }),
        409,
        'PortSecurityPortHasSecurityGroup',
      )
      bodyOf(await change(closed, { port_security_enabled: false, security_groups: [] }), 200)
      assert.deepEqual((await put(open, { port_security_enabled: true, security_groups: [group] })).security_groups, [
        group,
      ])
    })

    test('N35: a port is deleted, and its address is free', async () => {
      const cloud = shared()
      const { client, add } = await newNetwork()
      await add({ security_groups: [] })
      const before = await countRows(cloud)
      const wish = { fixed_ips: [{ ip_address: '10.0.0.9' }], security_groups: [] }
      for (let round = 0; round < 2; round++) {
        const port = await add({ ...wish, tags: ['red'] })
        bodyOf(await client.delete(`${uos}/ports/${port.id}`), 204)
        assertNetworkError(await client.get(`${uos}/ports/${port.id}`), 404, 'PortNotFound')
      }
      assert.deepEqual(await countRows(cloud), before)
    })

    test("a server's port leaves the server when it is deleted; the DHCP service keeps its own", async () => {
      const cloud = shared()
      const { client, id, add } = await newNetwork()
      const mine = await add()
      const server = await createServer(cloud, { networks: [{ uuid: id }, { port: mine.id }] }, client)
      bodyOf(await client.delete(`${neutron}/ports/${mine.id}`), 204)
      await cloud.settled()
      assertNetworkError(await client.get(`${neutron}/ports/${mine.id}`), 404, 'PortNotFound')
      assert.equal(cloud.machine.ports.has(mine.id), false)
      const { ports } = (await client.get(`${neutron}/ports?device_id=${server.id}`)).json()
      assert.equal(ports.length, 1)
      const [dhcp] = (await client.get(`${neutron}/ports?device_owner=network:dhcp`)).json().ports
      assertNetworkError(await client.delete(`${neutron}/ports/${dhcp.id}`), 409, 'ServicePortInUse')
      const change = { port: { fixed_ips: [] } }
      assertNetworkError(await client.put(`${neutron}/ports/${dhcp.id}`, change), 409, 'PortInUse')
    })

    test('several are made at once, with their tags', async () => {
      const { client, id } = await newNetwork()
      const ports = [
        { network_id: id, name: 'a', tags: ['x'] },
        { network_id: id, name: 'b' },
      ]
      const made = bodyOf(await client.post(`${neutron}/ports`, { ports }), 201).ports
      assert.deepEqual(
        made.map((one: Body) => [one.name, one.tags]),
        [
          ['a', ['x']],
          ['b', []],
        ],
      )
    })

    test('lists are filtered by what a port has', async () => {
      const { client, id, subnet, add } = await newNetwork()
      const group = await make(client, 'security-groups', { name: 'g' })
      const one = await add({ name: 'one', fixed_ips: [{ ip_address: '10.0.0.71' }], security_groups: [group.id] })
      const two = await add({ name: 'two', fixed_ips: [{ ip_address: '10.0.0.72' }], device_id: 'nothing' })
      const names = async (query: string) =>
        (await client.get(`${neutron}/ports?${query}&sort_key=name`)).json().ports.map((port: Body) => port.name)
      assert.deepEqual(await names(`network_id=${id}`), ['', 'one', 'two'])
      assert.deepEqual(await names('name=one&name=two'), ['one', 'two'])
      assert.deepEqual(await names(`id=${two.id}`), ['two'])
      assert.deepEqual(await names(`mac_address=${one.mac_address}`), ['one'])
      assert.deepEqual(await names('device_id=nothing'), ['two'])
      assert.deepEqual(await names('fixed_ips=ip_address=10.0.0.71'), ['one'])
      assert.deepEqual(await names(`fixed_ips=subnet_id=${subnet.id}`), ['', 'one', 'two'])
      assert.deepEqual(await names('fixed_ips=ip_address_substr=0.7'), ['one', 'two'])
      assert.deepEqual(await names(`security_groups=${group.id}`), ['one'])
      assert.deepEqual(await names(`network_id=${SHARED}`), [])
    })
  })
}
