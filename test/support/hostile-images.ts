import type { HostileImage } from './hostile-image.ts'
import { HOSTILE_OTHERS } from './hostile-others.ts'
import { HOSTILE_QCOW2 } from './hostile-qcow2.ts'
import { HOSTILE_VMDK } from './hostile-vmdk.ts'

/** The known attacks on whoever opens a disk image: what each tries, and which check must see it. */
export const HOSTILE_IMAGES: HostileImage[] = [
  ...HOSTILE_QCOW2.map((image) => ({ ...image, format: 'qcow2' })),
  ...HOSTILE_VMDK.map((image) => ({ ...image, format: 'vmdk' })),
  ...HOSTILE_OTHERS,
]
