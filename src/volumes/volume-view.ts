import { timestampB } from '../http/timestamps.ts'
import type { BlockDevice } from '../servers/block-device-store.ts'
import { type VolumeCall, volumeLinks } from './volume-api.ts'
import type { Volume } from './volume-store.ts'

/** What belongs to volumes and is kept elsewhere; read for a whole page at once. */
export interface VolumeFacts {
  typeNames: ReadonlyMap<string, string>
  /** Volumes have one attachment at most. */
  attachments: ReadonlyMap<string, BlockDevice>
  /** Hosts of servers, by the servers' ids. */
  serverHosts: ReadonlyMap<string, string | null>
}

/** Only the id, name and links. */
export const briefVolumeView = (call: VolumeCall, { id, name }: Volume) => ({
  id,
  name: name === '' ? null : name,
  links: volumeLinks(call, 'volumes', id),
})

/** As a create or an update shows it: without what Cinder adds where volumes are looked at. */
export function changedVolumeView(call: VolumeCall, volume: Volume, facts: VolumeFacts) {
  const { version, caller } = call
  return {
    ...briefVolumeView(call, volume),
    description: volume.description,
    size: volume.sizeGib,
    status: volume.status,
    availability_zone: volume.availabilityZone,
    created_at: timestampB(volume.createdAt),
    updated_at: updatedAt(volume),
    volume_type: facts.typeNames.get(volume.typeId) ?? null,
    snapshot_id: volume.snapshotId,
    source_volid: volume.sourceVolumeId,
    metadata: JSON.parse(volume.metadata) as Record<string, string>,
    user_id: volume.userId,
    bootable: String(volume.isBootable === 1),
    encrypted: false,
    replication_status: null,
    consistencygroup_id: null,
    multiattach: false,
    attachments: attachmentViews(call, volume, facts),
    ...(caller.isAdmin ? { migration_status: null } : {}),
    ...(version >= 13 ? { group_id: null } : {}),
    ...(version >= 21 && caller.isAdmin ? { provider_id: null } : {}),
    ...(version >= 48 ? { service_uuid: null, shared_targets: version >= 69 ? null : false } : {}),
    ...(version >= 61 && caller.isAdmin ? { cluster_name: null } : {}),
    ...(version >= 63 ? { volume_type_id: volume.typeId } : {}),
    ...(version >= 65 ? { consumes_quota: true } : {}),
  }
}

/** Everything, as lists in detail and single looks show it. */
export const volumeView = (call: VolumeCall, volume: Volume, facts: VolumeFacts) => ({
  ...changedVolumeView(call, volume, facts),
  'os-vol-tenant-attr:tenant_id': volume.projectId,
  ...(volume.imageMetadata === null ? {} : { volume_image_metadata: JSON.parse(volume.imageMetadata) }),
  ...(call.caller.isAdmin
    ? {
        'os-vol-host-attr:host': backendOf(volume),
        'os-vol-mig-status-attr:migstat': null,
        'os-vol-mig-status-attr:name_id': null,
      }
    : {}),
})

/** The eight members that UOS answers to a create. Source: shared/spec/uos-volume-image.md. */
export const uosCreatedVolumeView = (volume: Volume) => ({
  id: volume.id,
  status: volume.status,
  display_name: volume.name,
  display_description: volume.description,
  attachments: [],
  created_at: timestampB(volume.createdAt),
  snapshot_id: volume.snapshotId,
  size: volume.sizeGib,
})

/** As UOS shows it in detail; a single look tells whether it boots, too. */
export const uosVolumeView = (call: VolumeCall, volume: Volume, facts: VolumeFacts) => ({
  ...briefVolumeView(call, volume),
  description: volume.description,
  status: volume.status,
  size: volume.sizeGib,
  created_at: timestampB(volume.createdAt),
  attachments: attachmentViews(call, volume, facts),
  availability_zone: volume.availabilityZone,
  source_volid: volume.sourceVolumeId,
  snapshot_id: volume.snapshotId,
  volume_type: facts.typeNames.get(volume.typeId) ?? 'None',
  metadata: JSON.parse(volume.metadata) as Record<string, string>,
  'os-vol-host-attr:host': backendOf(volume),
  'os-vol-tenant-attr:tenant_id': volume.projectId,
})

/** As UOS answers to an update: by the names that it takes, and without the members of hosts and tenants. */
export function uosUpdatedVolumeView(call: VolumeCall, volume: Volume, facts: VolumeFacts) {
  const {
    name,
    description,
    'os-vol-host-attr:host': _host,
    'os-vol-tenant-attr:tenant_id': _tenant,
    ...rest
  } = uosVolumeView(call, volume, facts)
  return { ...rest, display_name: name, display_description: description }
}

/** `host@backend#pool`, the form that clients take apart. */
const backendOf = ({ hostName }: Volume): string | null => (hostName === null ? null : `${hostName}@novella#disks`)

const updatedAt = ({ createdAt, updatedAt }: { createdAt: number; updatedAt: number }): string | null =>
  updatedAt === createdAt ? null : timestampB(updatedAt)

function attachmentViews({ caller }: VolumeCall, { id }: Volume, { attachments, serverHosts }: VolumeFacts) {
  const device = attachments.get(id)
  if (!device || (device.status !== 'attached' && device.status !== 'detaching')) return []
  return [
    {
      id,
      volume_id: id,
      attachment_id: device.id,
      server_id: device.serverId,
      host_name: caller.isAdmin ? (serverHosts.get(device.serverId) ?? null) : null,
      device: device.deviceName,
      attached_at: timestampB(device.attachedAt ?? device.createdAt),
    },
  ]
}
