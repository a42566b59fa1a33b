/**
 * What an image's `hw_*` properties say about the machine it wants. Pure: values in, a plan or a complaint out.
 * Source: Glance's "useful image properties", as far as our hosts understand them.
 */
import { DEFAULT_HARDWARE, type HardwarePlan } from '../host/host-driver.ts'
import { isUuidLike } from '../lib/ids.ts'

export type ImageProperties = Readonly<Record<string, string>>

type Table<Value> = Readonly<Record<string, Value>>

const FIRMWARE: Table<HardwarePlan['firmware']> = { bios: 'bios', uefi: 'uefi' }
const DISK_BUS: Table<HardwarePlan['diskBus']> = { virtio: 'virtio', scsi: 'scsi', sata: 'sata', ide: 'ide' }
const CARD_MODEL: Table<HardwarePlan['cardModel']> = {
  virtio: 'virtio',
  e1000: 'e1000',
  e1000e: 'e1000e',
  rtl8139: 'rtl8139',
}
const RANDOM: Table<true> = { virtio: true }
/** Whether the servers of an image have a config drive that do not wish for one. */
const CONFIG_DRIVE: Table<true> = { mandatory: true, optional: true }
const YES_NO: Table<boolean> = { yes: true, no: false, true: true, false: false, 1: true, 0: false }
/** Names of versions of a machine, as clouds that must move guests use them; ours starts the newest of its kind. */
const MACHINE_VERSION = /^pc-(q35|i440fx)-[\w.]{1,32}$/

/** Each property that is looked at: what it says, undefined where that is nothing we know, and what it may say. */
const MACHINE_WORDS = ['q35', 'pc']
const readMachine = (value: string): HardwarePlan['machine'] | undefined => {
  if (value === 'q35' || value === 'pc') return value
  const kind = MACHINE_VERSION.exec(value)?.[1]
  return kind === undefined ? undefined : kind === 'q35' ? 'q35' : 'pc'
}

const KNOWN: Readonly<Record<string, readonly string[]>> = {
  hw_firmware_type: Object.keys(FIRMWARE),
  hw_machine_type: MACHINE_WORDS,
  hw_disk_bus: Object.keys(DISK_BUS),
  hw_vif_model: Object.keys(CARD_MODEL),
  hw_rng_model: Object.keys(RANDOM),
  hw_qemu_guest_agent: ['yes', 'no', 'true', 'false'],
  img_config_drive: Object.keys(CONFIG_DRIVE),
}

const find = <Value>(table: Table<Value>, value: string | undefined): Value | undefined => {
  const word = value?.trim().toLowerCase() ?? ''
  return Object.hasOwn(table, word) ? table[word] : undefined
}

/**
 * The machine that an image's properties ask for. What they leave open, or say in words we do not know, is as for any
 * Linux: properties were checked when they were written, and a server must start whatever they say.
 */
export function hardwareOf(properties: ImageProperties): HardwarePlan {
  const { firmware, machine, diskBus, cardModel, hasRandom, hasAgent } = DEFAULT_HARDWARE
  return {
    firmware: find(FIRMWARE, properties.hw_firmware_type) ?? firmware,
    machine: readMachine(properties.hw_machine_type?.trim() ?? '') ?? machine,
    diskBus: find(DISK_BUS, properties.hw_disk_bus) ?? diskBus,
    cardModel: find(CARD_MODEL, properties.hw_vif_model) ?? cardModel,
    hasRandom: find(RANDOM, properties.hw_rng_model) ?? hasRandom,
    hasAgent: find(YES_NO, properties.hw_qemu_guest_agent) ?? hasAgent,
    kernel: kernelOf(properties),
  }
}

function kernelOf({ kernel_id, ramdisk_id, os_command_line }: ImageProperties): HardwarePlan['kernel'] {
  if (kernel_id === undefined || !isUuidLike(kernel_id)) return null
  const ramdiskImageId = ramdisk_id !== undefined && isUuidLike(ramdisk_id) ? ramdisk_id : null
  return { kernelImageId: kernel_id, ramdiskImageId, cmdline: os_command_line ?? '' }
}

/** What is wrong with the first property that no host would understand, in the caller's terms; undefined: nothing. */
export function complainOfHardware(properties: ImageProperties): string | undefined {
  for (const [name, words] of Object.entries(KNOWN)) {
    const value = properties[name]
    if (value === undefined || isKnown(name, value)) continue
    return `${name} is '${value}'; it must be one of ${words.join(', ')}.`
  }
  for (const name of ['kernel_id', 'ramdisk_id'] as const) {
    const value = properties[name]
    // Clients write an empty text for none.
    if (value !== undefined && value !== '' && !isUuidLike(value)) {
      return `${name} is '${value}'; it must be the id of an image.`
    }
  }
  return undefined
}

function isKnown(name: string, value: string): boolean {
  switch (name) {
    case 'hw_firmware_type':
      return find(FIRMWARE, value) !== undefined
    case 'hw_machine_type':
      return readMachine(value.trim()) !== undefined
    case 'hw_disk_bus':
      return find(DISK_BUS, value) !== undefined
    case 'hw_vif_model':
      return find(CARD_MODEL, value) !== undefined
    case 'img_config_drive':
      return find(CONFIG_DRIVE, value) !== undefined
    case 'hw_rng_model':
      return find(RANDOM, value) !== undefined
    default:
      return find(YES_NO, value) !== undefined
  }
}
