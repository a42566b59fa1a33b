import type { Cloud } from '../cloud.ts'
import type { Row } from '../db/schema.ts'
import type { ServerDiagnostics } from '../host/diagnostics-host.ts'
import type { GuestHealth } from '../host/guest-agent-host.ts'
import { HostError } from '../host/host-driver.ts'
import { ApiError } from '../http/api-error.ts'
import type { Caller } from '../http/policy.ts'
import { getServer } from './server-store.ts'

/** All that is known of a server that runs, from its host and from the system inside. */
export interface Diagnosis {
  server: Row<'servers'>
  /** How the host runs guests. */
  accelerator: string
  figures: ServerDiagnostics
  health: GuestHealth
}

/**
 * Asks a server's host, and through it the guest, which may take some seconds where an agent misbehaves.
 * @throws ApiError itemNotFound; conflictingRequest for a server that does not run; serviceUnavailable when its host
 * cannot be asked just now.
 * Source: nova/compute/manager.py, get_diagnostics: only of a running instance.
 */
export async function diagnoseServer(cloud: Cloud, caller: Caller, serverId: string): Promise<Diagnosis> {
  const server = await getServer(cloud.db.read, caller, serverId)
  const refuse = (attribute: string, value: string, cause?: unknown): never => {
    const message = `Cannot 'get_diagnostics' instance ${server.id} while it is in ${attribute} ${value}.`
    throw new ApiError('conflictingRequest', message, { cause })
  }
  if (server.hostName === null || server.vmState !== 'active') return refuse('vm_state', server.vmState)
  const host = cloud.hosts.get(server.hostName)
  if (!host) throw new ApiError('serviceUnavailable', 'The host of this server cannot be reached just now.')
  try {
    const [{ accelerator }, figures, health] = await Promise.all([
      host.readFacts(),
      host.readDiagnostics(server.id),
      host.readGuestHealth(server.id),
    ])
    return { server, accelerator, figures, health }
  } catch (error) {
    if (!(error instanceof HostError)) throw error
    if (error.failure === 'notRunning') return refuse('power_state', 'shutdown', error)
    throw new ApiError('serviceUnavailable', error.message, { cause: error })
  }
}
