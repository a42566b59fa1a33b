/** The durable actions that change a volume's bytes, or copy them to an image. */
import type { Action } from '../actions/action.ts'
import type { ImageFormat, VolumeSource } from '../host/volume-host.ts'
import { adoptImageFile, dropImage, setImageStatus } from '../images/image-writer.ts'
import {
  COPY_DEADLINE_MS,
  failedAs,
  LONGEST_COPY_MS,
  restAfter,
  restingStatus,
  type VolumeParts,
  type VolumeSubject,
  volumeAction,
} from './volume-action.ts'
import { updateVolume, type Volume } from './volume-store.ts'

export interface ExtendInput {
  newSizeGib: number
}

/** To grow a disk writes next to nothing, but one that is being copied is not touched before: see `withVolume` of hosts. */
const EXTEND_DEADLINE_MS = LONGEST_COPY_MS + 10 * 60_000

/**
 * Makes a volume larger, also one that a guest has.
 *
 *   grow `extending`      as before, and larger; or error_extending. One that is attached stays in-use in any case.
 */
export function extendVolume(parts: VolumeParts): Action<ExtendInput, 'grow', VolumeSubject> {
  return volumeAction<ExtendInput, 'grow'>(parts, {
    name: 'extendVolume',
    first: 'grow',
    deadlineMs: EXTEND_DEADLINE_MS,
    steps: {
      async grow({ volume, host, input }) {
        await host.ensureVolumeSize(volume.id, input.newSizeGib)
        const change = { sizeGib: input.newSizeGib, faultMessage: null }
        return { done: true, save: (tx) => restAfter(parts, tx, volume.id, 'extending', change) }
      },
    },
    failed: ({ volume }, error) => ({
      done: true,
      async save(tx) {
        if ((await restingStatus(tx, volume.id)) === 'available') {
          return failedAs(parts, volume.id, 'error_extending', error)(tx)
        }
        await restAfter(parts, tx, volume.id, 'extending', { faultMessage: error.message })
      },
    }),
    abandoned: (tx, volumeId, error) => failedAs(parts, volumeId, 'error_extending', error)(tx),
  })
}

export interface UploadInput {
  imageId: string
  /** Left out: qcow2. */
  format?: ImageFormat
}

/**
 * Makes an image of a volume, also of one that a guest has.
 *
 *   copy `uploading`       image active, volume as before
 *     └──→ dropImage       no image, volume as before
 */
export function uploadVolume(parts: VolumeParts): Action<UploadInput, 'copy' | 'dropImage', VolumeSubject> {
  return volumeAction<UploadInput, 'copy' | 'dropImage'>(parts, {
    name: 'uploadVolume',
    first: 'copy',
    deadlineMs: COPY_DEADLINE_MS,
    steps: {
      async copy({ volume, host, input }) {
        const file = await host.ensureImageOf(input.imageId, { kind: 'volume', volumeId: volume.id }, input.format)
        const adopt = await adoptImageFile(parts, input.imageId, file)
        return {
          done: true,
          async save(tx) {
            await adopt(tx)
            await restAfter(parts, tx, volume.id, 'uploading')
          },
        }
      },
      async dropImage({ volume, input }) {
        const drop = await dropImage(parts, input.imageId)
        return {
          done: true,
          async save(tx) {
            await drop(tx)
            await restAfter(parts, tx, volume.id, 'uploading')
          },
        }
      },
    },
    failed: ({ volume, input }, error) => ({
      go: 'dropImage',
      async save(tx) {
        await setImageStatus(tx, input.imageId, 'killed', parts.clock.now())
        await updateVolume(tx, volume.id, { faultMessage: error.message }, parts.clock.now())
      },
    }),
    abandoned: (tx, volumeId, error) => restAfter(parts, tx, volumeId, 'uploading', { faultMessage: error.message }),
  })
}

export interface ResetInput {
  source: VolumeSource
  /** What the row says afterwards. */
  change: Partial<Volume>
}

/**
 * Puts back what a snapshot holds, or in its place what an image holds.
 *
 *   reset `reverting` or `downloading`      available, or error
 */
export function resetVolume(
  parts: VolumeParts,
  name: 'revertVolume' | 'reimageVolume',
): Action<ResetInput, 'reset', VolumeSubject> {
  const task = name === 'revertVolume' ? 'reverting' : 'downloading'
  return volumeAction<ResetInput, 'reset'>(parts, {
    name,
    first: 'reset',
    deadlineMs: COPY_DEADLINE_MS,
    steps: {
      async reset({ volume, host, input }) {
        await host.resetVolume(volume.id, input.source)
        const change = { ...input.change, faultMessage: null }
        return { done: true, save: (tx) => restAfter(parts, tx, volume.id, task, change) }
      },
    },
    failed: ({ volume }, error) => ({ done: true, save: failedAs(parts, volume.id, 'error', error) }),
    abandoned: (tx, volumeId, error) => failedAs(parts, volumeId, 'error', error)(tx),
  })
}
