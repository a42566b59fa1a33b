/** What a server's machine keeps in the server's directory: the variables of its firmware, and what it was started as. */
import { existsSync, lchownSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { type HardwarePlan, HostError } from '../host-driver.ts'
import { finishFile } from '../volumes/disk-shelf.ts'
import { cardDriver, cardModelOf, type Firmware } from './machine-args.ts'
import type { ServerFiles } from './server-files.ts'
import type { User } from './server-user.ts'

/** Where Debian and Ubuntu have UEFI for QEMU: the build without Secure Boot, which any system boots on. */
const UEFI: Firmware = { code: '/usr/share/OVMF/OVMF_CODE_4M.fd', variables: '/usr/share/OVMF/OVMF_VARS_4M.fd' }

/**
 * The firmware a server starts with, whose variables are the server's own from its first start on.
 * @param user whom its QEMU runs as.
 * @throws HostError `startFailed` when this host has no such firmware.
 */
export async function ensureFirmware(
  { firmware }: HardwarePlan,
  files: ServerFiles,
  user: User,
): Promise<Firmware | undefined> {
  if (firmware === 'bios') return undefined
  const missing = Object.values(UEFI).find((path) => !existsSync(path))
  if (missing !== undefined) {
    throw new HostError('startFailed', 'The image asks for UEFI, which this host does not have: its package is ovmf.', {
      cause: new Error(`${missing} is not there`),
    })
  }
  const own = files.firmwareVariables
  if (!existsSync(own)) {
    const unfinished = `${own}.unfinished`
    await copyFile(UEFI.variables, unfinished)
    await finishFile(unfinished, own, 0o600)
  }
  lchownSync(own, user.uid, user.gid)
  return { code: UEFI.code, variables: own }
}

/** Writes down which cards a server that starts gets, for those that come later. */
export function noteCardModel({ cardModel }: HardwarePlan, files: ServerFiles): void {
  if (cardModel === 'virtio') rmSync(files.cardModel, { force: true })
  else writeFileSync(files.cardModel, `${cardDriver(cardModel)}\n`, { mode: 0o600, flush: true })
}

/** The model of the cards of a server that runs; virtio for those that an earlier Novella started. */
export function readCardModel(files: ServerFiles): HardwarePlan['cardModel'] {
  if (!existsSync(files.cardModel)) return 'virtio'
  const driver = readFileSync(files.cardModel, 'utf8').trim()
  const model = cardModelOf(driver)
  if (model === undefined) throw new Error(`${files.cardModel} names no card: ${driver}`)
  return model
}
