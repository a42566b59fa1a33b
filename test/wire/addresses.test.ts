/** Addresses and MACs under concurrency: whatever comes and goes at once, nobody has what another has. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type Body, DIALECTS, make } from '../support/network-requests.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Client, DATABASES } from '../support/test-cloud.ts'

const { neutron } = DIALECTS
/** Of a /28 without its own address, the broadcast and the gateway. */
const POOL = 13
const CIDR = { ip_version: 4, cidr: '10.0.0.0/28', enable_dhcp: false }

/** What is asked at once: ports made without a wish or with one, and ports deleted, by their place in what is there. */
type Step = { make: 'any' } | { make: number } | { delete: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Step>({ make: 'any' }) },
  { weight: 1, arbitrary: fc.integer({ min: 2, max: 14 }).map((last) => ({ make: last })) },
  { weight: 2, arbitrary: fc.nat({ max: 20 }).map((at) => ({ delete: at })) },
)

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })

    test('no address or MAC is given twice, each is free with its port, and a pool can be used up', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const { id } = await make(client, 'networks', {})
      await make(client, 'subnets', { network_id: id, ...CIDR })
      await fc.assert(
        fc.asyncProperty(fc.array(fc.array(step, { maxLength: 8 }), { maxLength: 4 }), async (rounds) => {
          for (const round of rounds) {
            const before = await listPorts(client, id)
            const answers = await Promise.all(round.map((one) => ask(client, id, before, one)))
            for (const { statusCode, body } of answers) assert.ok([201, 204, 404, 409].includes(statusCode), body)
            assertApart(await listPorts(client, id))
          }
          const left = POOL - (await listPorts(client, id)).length
          const filled = await Promise.all(Array.from({ length: left + 1 }, () => ask(client, id, [], { make: 'any' })))
          const made = filled.filter(({ statusCode }) => statusCode === 201)
          const refused = filled.filter(({ statusCode }) => statusCode === 409)
          assert.deepEqual([made.length, refused.length], [left, 1])
          const all = await listPorts(client, id)
          assertApart(all)
          assert.equal(all.length, POOL)
          await Promise.all(all.map((port) => client.delete(`${neutron}/ports/${port.id}`)))
          const { db } = cloud.cloud
          const kept = await db.read
            .selectFrom('portAddresses')
            .selectAll()
            .where('ipAddress', 'like', '10.0.0.%')
            .execute()
          assert.deepEqual(kept, [])
        }),
        { numRuns: 8 },
      )
    })

    test('one address asked for by many at once is one port more', async () => {
      const client = await shared().stranger()
      const { id } = await make(client, 'networks', {})
      await make(client, 'subnets', { network_id: id, ...CIDR })
      const wish = {
        port: { network_id: id, fixed_ips: [{ ip_address: '10.0.0.7' }], mac_address: 'fa:16:3e:01:02:03' },
      }
      const answers = await Promise.all(Array.from({ length: 8 }, () => client.post(`${neutron}/ports`, wish)))
      assert.deepEqual(answers.map(({ statusCode }) => statusCode).sort(), [201, ...Array(7).fill(409)])
      assert.equal((await listPorts(client, id)).length, 1)
    })

    test('as many ports as the quota has room for, however many are asked for at once', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const { id } = await make(client, 'networks', {})
      await make(client, 'subnets', { network_id: id, ...CIDR })
      await cloud.admin.put(`${neutron}/quotas/${client.projectId}`, { quota: { port: 3 } })
      const answers = await Promise.all(Array.from({ length: 8 }, () => ask(client, id, [], { make: 'any' })))
      assert.deepEqual(answers.map(({ statusCode }) => statusCode).sort(), [201, 201, 201, ...Array(5).fill(409)])
    })

    test('projects may use the same addresses', async () => {
      const cloud = shared()
      const [one, other] = await Promise.all(
        [await cloud.stranger(), await cloud.stranger()].map(async (client) => {
          const { id } = await make(client, 'networks', {})
          await make(client, 'subnets', { network_id: id, ...CIDR })
          return make(client, 'ports', { network_id: id, fixed_ips: [{ ip_address: '10.0.0.5' }] })
        }),
      )
      assert.equal(one?.fixed_ips[0].ip_address, other?.fixed_ips[0].ip_address)
    })

    test('a subnet is deleted or has a new port, never both', async () => {
      const client = await shared().stranger()
      for (let round = 0; round < 5; round++) {
        const { id } = await make(client, 'networks', {})
        const subnet = await make(client, 'subnets', { network_id: id, ...CIDR })
        const [made, gone] = await Promise.all([
          client.post(`${neutron}/ports`, { port: { network_id: id, fixed_ips: [{ subnet_id: subnet.id }] } }),
          client.delete(`${neutron}/subnets/${subnet.id}`),
        ])
        const outcome = `${made.statusCode} ${gone.statusCode}`
        assert.ok(['201 409', '400 204'].includes(outcome), `${outcome} ${made.body} ${gone.body}`)
      }
    })
  })
}

const listPorts = async (client: Client, networkId: string): Promise<Body[]> =>
  (await client.get(`${neutron}/ports?network_id=${networkId}`)).json().ports

function ask(client: Client, networkId: string, there: Body[], step: Step) {
  if ('delete' in step)
    return client.delete(`${neutron}/ports/${there[step.delete % (there.length || 1)]?.id ?? 'none'}`)
  const fixed_ips = step.make === 'any' ? {} : { fixed_ips: [{ ip_address: `10.0.0.${step.make}` }] }
  return client.post(`${neutron}/ports`, { port: { network_id: networkId, security_groups: [], ...fixed_ips } })
}

function assertApart(ports: Body[]): void {
  const addresses = ports.flatMap((port) => port.fixed_ips.map((one: Body) => one.ip_address))
  assert.equal(addresses.length, ports.length)
  assert.equal(new Set(addresses).size, ports.length)
  assert.equal(new Set(ports.map((port) => port.mac_address)).size, ports.length)
}
