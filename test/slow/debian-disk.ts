/**
 * A Debian as its cloud images are: cloud-init, sshd and the guest agent, made of packages on this machine, and bootable
 * by itself. Made without loop devices and mounts; needs root, since its files belong to many users.
 */
import { open, readdir, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runTool } from '../../src/images/tiny/run-tool.ts'
import { run } from '../vm/bare-guest.ts'

const PACKAGES = [
  ...['linux-image-cloud-amd64', 'systemd-sysv', 'udev', 'dbus', 'cloud-init', 'openssh-server', 'netbase', 'ifupdown'],
  ...['isc-dhcp-client', 'iproute2', 'qemu-guest-agent', 'ca-certificates', 'sudo'],
]
const MIB = 1024 * 1024
const SECTOR = 512
const BOOT_MIB = 96
const ROOT_MIB = 1024
const BOOT_CODE = '/usr/lib/syslinux/mbr/mbr.bin'
const BOOT_CODE_BYTES = 440

const SYSLINUX = `DEFAULT debian
PROMPT 0
LABEL debian
  KERNEL vmlinuz
  INITRD initrd
  APPEND root=LABEL=root ro console=tty0 console=ttyS0,115200
`

/** What makes a system of packages an image: nothing in it is one machine's own. */
const FILES: Record<string, string> = {
  'etc/fstab': 'LABEL=root / ext4 errors=remount-ro 0 1\n',
  'etc/hostname': 'debian\n',
  'etc/machine-id': '',
  'etc/resolv.conf': '',
  // There are no locales to choose from, and nothing to wait for on a network without a way out.
  'etc/cloud/cloud.cfg.d/90-image.cfg': 'locale: false\napt: {preserve_sources_list: true}\n',
}

/**
 * Makes `disk.qcow2` in a directory, which takes minutes and downloads some 100 MB by this machine's APT sources.
 * @returns its path.
 */
export async function makeDebianDisk(directory: string): Promise<string> {
  const root = join(directory, 'root')
  await makeTree(root)
  const disk = await writeDebianDisk(directory, root)
  await rm(root, { recursive: true })
  return disk
}

async function makeTree(root: string): Promise<void> {
  const include = `--include=${PACKAGES.join(',')}`
  // All its files are worth nothing if the power goes: no need to wait for the disk.
  const quick = ['--dpkgopt=force-unsafe-io', '--aptopt=Acquire::Languages "none"']
  // An initial RAM disk that is packed quickly is also unpacked quickly, which an emulated processor is slow at.
  const settings = '"$1"/etc/initramfs-tools/conf.d'
  const pack = `mkdir -p ${settings} && printf 'COMPRESS=gzip\\nCOMPRESSLEVEL=1\\n' >${settings}/image`
  // What it mounts is gone with it, however it ends: below the tree lie the machine's own /proc and /sys meanwhile.
  const alone = ['--mount', '--propagation=private', 'mmdebstrap']
  const make = [
    '--mode=root',
    '--variant=minbase',
    '--quiet',
    include,
    ...quick,
    `--essential-hook=${pack}`,
    'bookworm',
    root,
  ]
  await run('unshare', [...alone, ...make])
}

/** `disk.qcow2` of a tree that packages were installed in. */
export async function writeDebianDisk(directory: string, root: string): Promise<string> {
  for (const [path, content] of Object.entries(FILES)) await writeFile(join(root, path), content)
  for (const name of await readdir(join(root, 'etc/ssh'))) {
    if (name.startsWith('ssh_host_')) await rm(join(root, 'etc/ssh', name))
  }

  const raw = join(directory, 'disk.raw')
  const rootOffset = (1 + BOOT_MIB) * MIB
  await writeFile(raw, '')
  await truncate(raw, rootOffset + ROOT_MIB * MIB)
  await writeTable(directory, raw)
  await writeBoot(directory, raw, join(root, 'boot'))
  // Straight into the partition, sparse as it is.
  const extended = `root_owner=0:0,lazy_itable_init=0,offset=${rootOffset}`
  await runTool('mke2fs', ['-q', '-F', '-t', 'ext4', '-L', 'root', '-E', extended, '-d', root, raw, `${ROOT_MIB}M`])
  const disk = join(directory, 'disk.qcow2')
  await runTool('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, disk])
  await rm(raw)
  return disk
}

async function writeTable(directory: string, raw: string): Promise<void> {
  const script = join(directory, 'partitions')
  const sectors = (mib: number): number => (mib * MIB) / SECTOR
  const parts = [`${sectors(1)},${sectors(BOOT_MIB)},6,*`, `${sectors(1 + BOOT_MIB)},${sectors(ROOT_MIB)},83`]
  await writeFile(script, `label: dos\n${parts.join('\n')}\n`)
  await runTool('sh', ['-c', 'sfdisk --quiet --no-reread --no-tell-kernel "$1" <"$2"', 'sh', raw, script])
  await using image = await open(raw, 'r+')
  await using code = await open(BOOT_CODE)
  const { buffer } = await code.read(Buffer.alloc(BOOT_CODE_BYTES), 0, BOOT_CODE_BYTES, 0)
  await image.write(buffer, 0, BOOT_CODE_BYTES, 0)
}

async function writeBoot(directory: string, raw: string, boot: string): Promise<void> {
  const names = await readdir(boot)
  const find = (prefix: string): string => join(boot, names.find((name) => name.startsWith(prefix)) ?? '')
  const files = {
    vmlinuz: find('vmlinuz-'),
    initrd: find('initrd.img-'),
    'syslinux.cfg': join(directory, 'syslinux.cfg'),
  }
  await writeFile(files['syslinux.cfg'], SYSLINUX)
  const target = `${raw}@@${MIB}`
  await runTool('mformat', ['-i', target, '-T', String((BOOT_MIB * MIB) / SECTOR), '-h', '64', '-s', '32', '::'])
  for (const [name, file] of Object.entries(files)) await runTool('mcopy', ['-i', target, file, `::/${name}`])
  await runTool('syslinux', ['--install', '--offset', String(MIB), raw])
}
