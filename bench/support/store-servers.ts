import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { formatAddress, parseAddress } from '../../src/lib/ip.ts'
import { SHARED_NETWORK_ID } from '../../src/networks/seed-networks.ts'

type Row = Record<string, SQLInputValue>

/** A subnet with room for all; the one of a fresh cloud has a thousand addresses. */
const CIDR = '10.64.0.0/16'
const FIRST = parseAddress('10.64.0.10').value

/**
 * Copies the only server of a cloud, with its card, address and security group, until there are `count`. All are
 * stopped then, which a host that has never heard of them agrees with. Nothing may work on the database meanwhile.
 */
export function storeServers(dataDirectory: string, count: number): void {
  const db = new DatabaseSync(join(dataDirectory, 'novella.db'))
  try {
    db.exec('begin')
    db.exec("update servers set vmState = 'stopped', powerState = 4")
    const one = (sql: string, ...values: SQLInputValue[]): Row => {
      const found = db.prepare(sql).get(...values)
      if (!found) throw new Error(`Nothing is found by ${sql}.`)
      return found
    }
    const insert = (table: string, row: Row): void => {
      const columns = Object.keys(row)
      const places = columns.map(() => '?').join(', ')
      db.prepare(`insert into ${table} (${columns.join(', ')}) values (${places})`).run(...Object.values(row))
    }
    const server = one('select * from servers')
    const port = one('select * from ports where deviceId = ?', server.id ?? '')
    const group = one('select * from portSecurityGroups where portId = ?', port.id ?? '')
    const subnet = one('select * from subnets where networkId = ?', SHARED_NETWORK_ID)
    const subnetId = randomUUID()
    insert('subnets', { ...subnet, id: subnetId, cidr: CIDR, allocationPools: '[]' })
    for (let index = 1; index < count; index++) {
      const [id, portId] = [randomUUID(), randomUUID()]
      const mac = `fa:16:3f:00:${[index >> 8, index & 255].map((byte) => byte.toString(16).padStart(2, '0')).join(':')}`
      const number = Number(server.number) + index
      const at = Number(server.createdAt) + index
      insert('servers', { ...server, id, number, name: `web-${index}`, createdAt: at, updatedAt: at })
      insert('ports', { ...port, id: portId, deviceId: id, macAddress: mac })
      insert('portAddresses', {
        subnetId,
        ipAddress: formatAddress({ version: 4, value: FIRST + BigInt(index) }),
        portId,
      })
      insert('portSecurityGroups', { ...group, portId })
    }
    db.exec(`update counters set value = value + ${count} where name = 'servers'`)
    db.exec('commit')
  } finally {
    db.close()
  }
}
