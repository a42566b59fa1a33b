import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DEFAULT_HARDWARE, type HardwarePlan } from '../host/host-driver.ts'
import { complainOfHardware, hardwareOf, type ImageProperties } from './hardware-of.ts'

const KERNEL = '6e1b2a4c-0000-4000-8000-000000000001'
const RAMDISK = '6e1b2a4c-0000-4000-8000-000000000002'

/** Properties, what they change of the machine, and whether an image may have them written. */
const TABLE: [ImageProperties, Partial<HardwarePlan>, 'taken' | 'refused'][] = [
  [{}, {}, 'taken'],
  [{ os_distro: 'debian', hw_unheard_of: 'x' }, {}, 'taken'],
  [{ hw_firmware_type: 'bios' }, { firmware: 'bios' }, 'taken'],
  [{ hw_firmware_type: 'uefi' }, { firmware: 'uefi' }, 'taken'],
  [{ hw_firmware_type: ' UEFI ' }, { firmware: 'uefi' }, 'taken'],
  [{ hw_firmware_type: 'coreboot' }, {}, 'refused'],
  [{ hw_firmware_type: '' }, {}, 'refused'],
  [{ hw_firmware_type: 'constructor' }, {}, 'refused'],
  [{ hw_machine_type: 'q35' }, { machine: 'q35' }, 'taken'],
  [{ hw_machine_type: 'pc' }, { machine: 'pc' }, 'taken'],
  [{ hw_machine_type: 'pc-q35-7.2' }, { machine: 'q35' }, 'taken'],
  [{ hw_machine_type: 'pc-i440fx-rhel7.6.0' }, { machine: 'pc' }, 'taken'],
  [{ hw_machine_type: 'virt' }, {}, 'refused'],
  [{ hw_machine_type: 'pc-q35-7.2,accel=kvm' }, {}, 'refused'],
  [{ hw_disk_bus: 'scsi' }, { diskBus: 'scsi' }, 'taken'],
  [{ hw_disk_bus: 'sata' }, { diskBus: 'sata' }, 'taken'],
  [{ hw_disk_bus: 'ide' }, { diskBus: 'ide' }, 'taken'],
  [{ hw_disk_bus: 'usb' }, {}, 'refused'],
  [{ hw_vif_model: 'e1000' }, { cardModel: 'e1000' }, 'taken'],
  [{ hw_vif_model: 'e1000e' }, { cardModel: 'e1000e' }, 'taken'],
  [{ hw_vif_model: 'rtl8139' }, { cardModel: 'rtl8139' }, 'taken'],
  [{ hw_vif_model: 'ne2k_pci' }, {}, 'refused'],
  [{ hw_rng_model: 'virtio' }, { hasRandom: true }, 'taken'],
  [{ hw_rng_model: '/dev/random' }, {}, 'refused'],
  [{ hw_qemu_guest_agent: 'yes' }, { hasAgent: true }, 'taken'],
  [{ hw_qemu_guest_agent: 'False' }, { hasAgent: false }, 'taken'],
  [{ hw_qemu_guest_agent: '0' }, { hasAgent: false }, 'taken'],
  [{ hw_qemu_guest_agent: 'maybe' }, {}, 'refused'],
  [{ kernel_id: '' }, {}, 'taken'],
  [{ kernel_id: 'vmlinuz' }, {}, 'refused'],
  [{ kernel_id: KERNEL, ramdisk_id: '../x' }, { kernel: plan(null, '') }, 'refused'],
  [{ kernel_id: KERNEL }, { kernel: plan(null, '') }, 'taken'],
  [{ kernel_id: KERNEL, ramdisk_id: '', os_command_line: 'quiet' }, { kernel: plan(null, 'quiet') }, 'taken'],
  [{ kernel_id: KERNEL, ramdisk_id: RAMDISK }, { kernel: plan(RAMDISK, '') }, 'taken'],
  // Nothing is loaded beside a kernel that is not there.
  [{ ramdisk_id: RAMDISK, os_command_line: 'quiet' }, {}, 'taken'],
  [{ hw_machine_type: 'pc', hw_disk_bus: 'ide' }, { machine: 'pc', diskBus: 'ide' }, 'taken'],
]

function plan(ramdiskImageId: string | null, cmdline: string): HardwarePlan['kernel'] {
  return { kernelImageId: KERNEL, ramdiskImageId, cmdline }
}

test('properties change the machine they speak of and nothing else, and what is unknown is refused where it is written', () => {
  for (const [properties, change, outcome] of TABLE) {
    const what = JSON.stringify(properties)
    assert.deepEqual(hardwareOf(properties), { ...DEFAULT_HARDWARE, ...change }, what)
    assert.equal(complainOfHardware(properties) === undefined, outcome === 'taken', what)
  }
})
