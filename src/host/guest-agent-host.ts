/**
 * What a host can ask of the system inside a guest, through the agent that runs there (QEMU's guest agent). There may be
 * none, it may be asleep, and it belongs to the tenant: it may say anything, or nothing for ten minutes. Each verb has a
 * deadline of its own, and a guest that misbehaves costs the caller that wait and nothing else.
 */

/** What a guest says of itself, none of it to be trusted; `null` and empty lists where it does not say. */
export interface GuestHealth {
  /** `answers`; `silent`: a port for it is there and nothing answers; `none`: the machine has no port, or does not run. */
  agent: 'answers' | 'silent' | 'none'
  /** Version of the agent. */
  version: string | null
  hostName: string | null
  /** As its own system tells it, e.g. `Debian GNU/Linux 12 (bookworm)`. */
  operatingSystem: string | null
  fileSystems: 'thawed' | 'frozen' | null
  /** Its clock less ours, milliseconds. */
  clockOffsetMs: number | null
  /** Without its loopback. */
  interfaces: { name: string; macAddress: string | null; ipAddresses: string[] }[]
}

/** What is known of a guest that says nothing. */
export const NO_HEALTH: Omit<GuestHealth, 'agent'> = {
  version: null,
  hostName: null,
  operatingSystem: null,
  fileSystems: null,
  clockOffsetMs: null,
  interfaces: [],
}

/** Part of `HostDriver`. */
export interface GuestAgentHost {
  /**
   * Sets the password of a user inside the guest.
   * @throws HostError `noAgent` when nothing inside answers in time, `agentRefused` with what the agent said (no such
   * user, a command it does not know), `notRunning`.
   */
  setGuestPassword(serverId: string, userName: string, password: string): Promise<void>
  /**
   * Makes public keys present in, and absent from, the user's `authorized_keys`; other lines stay.
   * @throws HostError as `setGuestPassword`.
   */
  changeGuestKeys(serverId: string, userName: string, keys: { add: string[]; remove: string[] }): Promise<void>
  /** Sets the guest's clock to ours, after it was stopped for a while. @throws HostError as `setGuestPassword`. */
  setGuestClock(serverId: string): Promise<void>
  /** Never fails for what the guest does: that is what it tells. */
  readGuestHealth(serverId: string): Promise<GuestHealth>
}
