/**
 * What the image is made of. Changing anything in this directory makes a new image: its key is a hash of all files here.
 */

/** Packages whose programs the guest runs; the libraries they need are found by following their dependencies. */
export const PROGRAM_PACKAGES = ['busybox-static', 'dropbear-bin', 'qemu-guest-agent', 'jq'] as const

/** Meta-packages of a small kernel, the first that the machine's sources know wins: Debian's, Ubuntu's. */
export const KERNEL_PACKAGES = ['linux-image-cloud-amd64', 'linux-image-virtual'] as const

/** Dynamically linked programs, by where their package has them, to where the guest has them. */
export const PROGRAMS: Record<string, string> = {
  'usr/sbin/dropbear': 'usr/sbin/dropbear',
  'usr/bin/dropbearkey': 'usr/bin/dropbearkey',
  'usr/bin/dbclient': 'usr/bin/ssh',
  'usr/sbin/qemu-ga': 'usr/sbin/qemu-ga',
  'usr/bin/jq': 'usr/bin/jq',
}

/** Kernel modules that the initrd loads at once, in this order; a module that is built in is skipped. */
export const BOOT_MODULES = [
  'virtio_pci',
  'virtio_blk',
  'virtio_net',
  'virtio_console',
  'virtio_rng',
  'virtio_balloon',
  'button',
  'evdev',
] as const

/** Kernel modules that the guest loads when it needs them: the file system of a config drive. */
export const LATER_MODULES = ['isofs'] as const

/** Size of the root file system; the disk is as sparse as it is empty. */
export const ROOT_MIB = 128

/**
 * Kernel arguments. tty0 and ttyS0 both get the kernel's messages, the last one is /dev/console. The rest saves time
 * under TCG: cryptomgr.notests alone 0.6 s.
 */
export const KERNEL_ARGUMENTS =
  'root=/dev/vda2 console=tty0 console=ttyS0,115200 quiet net.ifnames=0 tsc=reliable no_timer_check ' +
  'random.trust_cpu=on cryptomgr.notests'

/** Programs of this machine that the build runs, and the Debian package each comes from. */
export const BUILD_TOOLS: Record<string, string> = {
  'apt-get': 'apt',
  'apt-cache': 'apt',
  'dpkg-deb': 'dpkg',
  mke2fs: 'e2fsprogs',
  sfdisk: 'fdisk',
  mformat: 'mtools',
  mcopy: 'mtools',
  syslinux: 'syslinux',
  'qemu-img': 'qemu-utils',
}

/** The boot code of the disk, and the package it comes from. */
export const MASTER_BOOT_RECORD = { file: '/usr/lib/syslinux/mbr/mbr.bin', package: 'syslinux-common' } as const
