/**
 * Connections to PostgreSQL that outlive the pool that opened them, within one process: a connection is a process of the
 * server, which costs it 50 ms of processor time, and a cloud opens six or seven.
 */
import pg from 'pg'

type Done = (error?: Error) => void

/** What pg's own pool relies on, and its types do not tell. */
interface Inside {
  connect(done: Done): void
  end(done?: Done): void | Promise<void>
  ref(): void
  unref(): void
  readonly processID: number
  readonly _activeQuery: unknown
  _queryable: boolean
  _poolUseCount: number
  getTransactionStatus(): string | null
}
type Client = pg.Client & Inside

/** By what they were opened with. */
const idle = new Map<string, Client[]>()
/** Those that are on their way there. */
const returning = new Set<Client>()
const ends = new WeakMap<Client, () => Promise<void>>()

/** A client as new: one that was given back if there is one. Its `end` gives it back. */
function clientFor(options: pg.ClientConfig): Client {
  const key = JSON.stringify([options.connectionString, options.statement_timeout, options.query_timeout])
  const kept = idle.get(key)?.pop()
  if (kept) {
    kept.removeAllListeners()
    kept.ref()
    kept._poolUseCount = 0
    return kept
  }
  const client = new pg.Client(options) as unknown as Client
  const [connect, end] = [client.connect.bind(client), client.end.bind(client)]
  let isConnected = false
  ends.set(client, async () => void (await end()))
  return Object.assign(client, {
    connect(done: Done) {
      if (isConnected) process.nextTick(done)
      else
        connect((error?: Error) => {
          isConnected = !error
          done(error)
        })
    },
    end(done: Done) {
      // Only what rests between transactions is sure to be as new after this.
      if (!isConnected || !client._queryable || client._activeQuery || client.getTransactionStatus() !== 'I') {
        return end(done)
      }
      returning.add(client)
      client
        .query('discard all')
        .then(
          () => {
            keep(key, client)
            done()
          },
          () => end(done),
        )
        .finally(() => returning.delete(client))
    },
  })
}

function keep(key: string, client: Client): void {
  client.removeAllListeners()
  const forget = () => {
    const kept = idle.get(key) ?? []
    if (kept.includes(client)) kept.splice(kept.indexOf(client), 1)
  }
  client.on('error', forget)
  client.on('end', forget)
  // Nobody waits for it: the process may end.
  client.unref()
  idle.set(key, [...(idle.get(key) ?? []), client])
}

const Pool = pg.Pool

/** From now on pools of this process keep their connections for each other, to the databases that `isKept` says. */
export function keepConnections(isKept: (url: string) => boolean): void {
  // biome-ignore lint/complexity/useArrowFunction: the pool calls it with `new`.
  const Client = function (options: pg.ClientConfig) {
    return clientFor(options)
  } as unknown as new () => pg.Client
  class KeepingPool extends Pool {
    constructor(options: pg.PoolConfig) {
      super((isKept(options.connectionString ?? '') ? { ...options, Client } : options) as pg.PoolConfig)
    }
  }
  Object.assign(pg, { Pool: KeepingPool })
}

/** The server's processes that are kept here, by id. */
export const keptPids = (): number[] => [...[...idle.values()].flat(), ...returning].map((client) => client.processID)

/** Closes what is kept. */
export async function closeKept(): Promise<void> {
  const all = [...idle.values()].flat()
  idle.clear()
  await Promise.all(all.map((client) => ends.get(client)?.()))
}
