import type { BlockDevice } from './block-device-store.ts'

/** A volume of a server, as S20 shows it: its id is the volume's (I-23). */
export const attachmentView = ({ serverId, volumeId, deviceName: device }: BlockDevice) => ({
  device,
  id: volumeId ?? '',
  serverId,
  volumeId: volumeId ?? '',
})
