import { GuestDiagnostics } from './guest-diagnostics.ts'
import { GuestTalks } from './guest-talks.ts'
import type { Guests } from './guests.ts'
import type { HostNetwork } from './host-network.ts'
import type { QemuPrograms } from './qemu-programs.ts'

/** What can be asked of guests besides their power; loaded with the first question. */
export interface GuestInquiry {
  talks: GuestTalks
  diagnostics: GuestDiagnostics
}

/** @param parts.now epoch milliseconds. */
export const newGuestInquiry = (parts: {
  guests: Guests
  network: HostNetwork
  programs: QemuPrograms
  now: () => number
}): GuestInquiry => ({ talks: new GuestTalks(parts.guests), diagnostics: new GuestDiagnostics(parts) })
