import type { Reader } from '../db/database.ts'
import { listAttachments } from '../servers/block-device-store.ts'
import { readTypeNames } from './volume-type-store.ts'
import type { VolumeFacts } from './volume-view.ts'

/** What views of these volumes need besides their rows. */
export async function readVolumeFacts(read: Reader, volumeIds: readonly string[]): Promise<VolumeFacts> {
  const [typeNames, devices] = await Promise.all([readTypeNames(read), listAttachments(read, volumeIds)])
  const serverIds = [...new Set(devices.map(({ serverId }) => serverId))]
  const servers =
    serverIds.length === 0
      ? []
      : await read.selectFrom('servers').select(['id', 'hostName']).where('id', 'in', serverIds).execute()
  return {
    typeNames,
    attachments: new Map(devices.map((device) => [device.volumeId ?? '', device])),
    serverHosts: new Map(servers.map(({ id, hostName }) => [id, hostName])),
  }
}
