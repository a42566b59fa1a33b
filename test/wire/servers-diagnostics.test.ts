/** `GET …/diagnostics`: what a server does, as its host counts it, and how the system inside says it is. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { HostError } from '../../src/host/host-driver.ts'
import { diagnosticsView } from '../../src/servers/diagnostics-view.ts'
import { assertFault } from '../support/assert-fault.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Client, DATABASES, type TestCloud } from '../support/test-cloud.ts'

const ask = (client: Client, cloud: TestCloud, name: string) =>
  client.get(`/servers/${cloud.id[name] ?? name}/diagnostics`)
const askNova = (client: Client, cloud: TestCloud, name: string) =>
  client.get(`//compute/v2.1/servers/${cloud.id[name] ?? name}/diagnostics`)

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, servers: { web: {}, off: {}, lost: {} } })

    test('whoever may see a server learns what it does and how its guest is', async () => {
      const cloud = shared()
      const serverId = cloud.id.web ?? ''
      const agent = cloud.host.agentOf(serverId)
      agent.health = {
        version: '7.2.22',
        hostName: 'web',
        operatingSystem: 'Some Linux',
        fileSystems: 'thawed',
        clockOffsetMs: -12,
        interfaces: [{ name: 'eth0', macAddress: 'fa:16:3e:00:00:01', ipAddresses: ['10.0.0.5'] }],
      }
      cloud.clock.advance(90_000)
      const answer = await ask(cloud.member, cloud, 'web')
      assert.equal(answer.statusCode, 200, answer.body)
      const { 'novella:guest': guest, nic_details, memory_details, ...rest } = answer.json()
      assert.ok(rest.uptime >= 90 && rest.uptime < 3_600, `${rest.uptime} s`)
      const disk = { read_bytes: 0, read_requests: 0, write_bytes: 0, write_requests: 0, errors_count: 0 }
      assert.deepEqual(rest, {
        state: 'running',
        driver: 'libvirt',
        hypervisor: 'qemu',
        hypervisor_os: 'linux',
        uptime: rest.uptime,
        config_drive: false,
        num_cpus: 1,
        num_nics: nic_details.length,
        num_disks: 1,
        cpu_details: [{ id: 0, time: 0, utilisation: null }],
        disk_details: [disk],
      })
      const { server } = (await cloud.member.get(`/servers/${serverId}`)).json()
      const [[address]] = Object.values(server.addresses) as [[{ 'OS-EXT-IPS-MAC:mac_addr': string }]]
      assert.equal(nic_details[0].mac_address, address['OS-EXT-IPS-MAC:mac_addr'])
      assert.equal(memory_details.maximum, cloud.host.machine.servers.get(serverId)?.plan?.ramMib)
      assert.deepEqual(guest, {
        agent: 'answers',
        version: '7.2.22',
        host_name: 'web',
        operating_system: 'Some Linux',
        file_systems: 'thawed',
        clock_offset_ms: -12,
        interfaces: [{ name: 'eth0', mac_address: 'fa:16:3e:00:00:01', ip_addresses: ['10.0.0.5'] }],
      })
      agent.mood = 'garbage'
      const silent = (await ask(cloud.member, cloud, 'web')).json()['novella:guest']
      assert.deepEqual([silent.agent, silent.host_name, silent.interfaces], ['silent', null, []])
      agent.mood = 'answers'
    })

    test('clients of Nova get a map with a name a figure, and need an admin', async () => {
      const cloud = shared()
      assertFault(await askNova(cloud.member, cloud, 'web'), 403, /servers:diagnose/)
      const answer = await askNova(cloud.admin, cloud, 'web')
      assert.equal(answer.statusCode, 200, answer.body)
      const map = answer.json()
      for (const name of ['cpu0_time', 'vda_read', 'vda_read_req', 'vda_write_req', 'vda_errors', 'memory-rss']) {
        assert.equal(map[name], 0, name)
      }
      const words = ['rx', 'rx_packets', 'rx_errors', 'rx_drop', 'tx', 'tx_packets', 'tx_errors', 'tx_drop']
      const cards = Object.keys(map).filter((name) => name.startsWith('tap'))
      assert.deepEqual(
        cards.map((name) => name.slice('tap'.length + 12)),
        words,
      )
      assert.ok(map.memory > 0)
      assert.equal(map['novella:guest'].agent, 'answers')
    })

    test('a server that does not run has none, nor one that nobody knows, or of others', async () => {
      const cloud = shared()
      const stranger = await cloud.stranger()
      const nobody = '4f8f4e3a-0000-4000-8000-000000000000'
      assertFault(await ask(stranger, cloud, 'web'), 404, /could not be found/)
      assertFault(await ask(cloud.member, cloud, nobody), 404, /could not be found/)

      const { off = '', lost = '' } = cloud.id
      cloud.host.powerOffFromInside(lost)
      // The sweep may have seen it first.
      const isOff = /'get_diagnostics' instance .* (power_state shutdown|vm_state stopped)/
      assertFault(await ask(cloud.member, cloud, 'lost'), 409, isOff)
      await cloud.member.post(`/servers/${off}/action`, { 'os-stop': null })
      await cloud.settled()
      assertFault(await ask(cloud.member, cloud, 'off'), 409, /vm_state stopped/)
      assertFault(await askNova(cloud.admin, cloud, 'off'), 409, /vm_state stopped/)
    })

    test('a host that does not answer is another thing than a server that does not run', async () => {
      const cloud = shared()
      const { intercept } = cloud.host
      cloud.host.intercept = (verb, id, run) => {
        if (verb !== 'readDiagnostics') return intercept(verb, id, run)
        return Promise.reject(new HostError('unreachable', 'The server does not answer its host yet.'))
      }
      assertFault(await ask(cloud.member, cloud, 'web'), 503, /does not answer its host yet/)
      cloud.host.intercept = intercept
    })
  })
}

test('since 2.48 the shape is fixed: no name more, and none less', () => {
  const link = { bytes: 1, packets: 2, errors: 3, dropped: 4 }
  const view = diagnosticsView({
    server: { configDrive: 'True' },
    accelerator: 'kvm',
    figures: {
      power: 'paused',
      uptimeS: 5,
      vcpus: [{ id: 0, timeNs: 10_000_000 }],
      memory: { totalMib: 128, usedMib: 64 },
      disks: [{ readBytes: 1, readRequests: 2, writeBytes: 3, writeRequests: 4, errors: 5 }],
      cards: [{ portId: 'p', macAddress: 'fa:16:3e:00:00:01', received: link, sent: { ...link, bytes: 9 } }],
    },
  } as Parameters<typeof diagnosticsView>[0])
  assert.deepEqual(view, {
    state: 'paused',
    driver: 'libvirt',
    hypervisor: 'kvm',
    hypervisor_os: 'linux',
    uptime: 5,
    config_drive: true,
    num_cpus: 1,
    num_nics: 1,
    num_disks: 1,
    cpu_details: [{ id: 0, time: 10_000_000, utilisation: null }],
    disk_details: [{ read_bytes: 1, read_requests: 2, write_bytes: 3, write_requests: 4, errors_count: 5 }],
    nic_details: [
      {
        mac_address: 'fa:16:3e:00:00:01',
        rx_octets: 1,
        rx_errors: 3,
        rx_drop: 4,
        rx_packets: 2,
        rx_rate: null,
        tx_octets: 9,
        tx_errors: 3,
        tx_drop: 4,
        tx_packets: 2,
        tx_rate: null,
      },
    ],
    memory_details: { maximum: 128, used: 64 },
  })
})
