import { MOST_CARDS } from '../host-driver.ts'
import { OPEN_TAP } from './open-tap.ts'

/** A tap device, and the namespace it is in, by name. */
export interface Tap {
  namespace: string
  tapName: string
}

/** The programs a launch needs, as absolute paths. */
export interface LaunchPrograms {
  qemu: string
  ip: string
  perl: string
  setpriv: string
  unshare: string
}

export interface LaunchInput {
  programs: LaunchPrograms
  taps: readonly Tap[]
  user: { uid: number; gid: number }
  /** A group QEMU keeps besides its own: the one that may open /dev/kvm. */
  extraGid: number | undefined
  qemuArgs: readonly string[]
}

/** The first descriptor after stdio; the taps follow each other from here. */
export const FIRST_TAP_FD = 3
/** The descriptor under which QEMU finds the pipe that its console goes to: after those of all taps. */
export const CONSOLE_FD = FIRST_TAP_FD + MOST_CARDS

/** Opens a tap as a descriptor that outlives exec, then becomes the next command. */
const KEEP_TAP = [
  '$^F = 255;',
  'my $want = shift; my $name = shift;',
  OPEN_TAP,
  'fileno($tap) == $want or die "tap $name came as descriptor ".fileno($tap)."\\n";',
  'exec { $ARGV[0] } @ARGV or die "$ARGV[0]: $!\\n";',
].join(' ')

/** The descriptor under which QEMU finds the tap of each port, in the order of the ports. */
export const tapFds = (count: number): number[] => Array.from({ length: count }, (_, i) => FIRST_TAP_FD + i)

/**
 * The command that becomes QEMU; every link of the chain execs the next, so that the process id stays. Pure.
 *
 *   for each tap:  ip netns exec NAMESPACE perl (opens the tap) →
 *   unshare        a network namespace of its own, empty: QEMU reaches a network by its taps only, and so neither
 *                  the host's network nor the tenant's from the inside, past filters and metadata →
 *   setpriv        the unprivileged user, no capability, no way back → qemu
 *
 * As taps come as descriptors, a server may have ports in several namespaces.
 */
export function launchCommand(input: LaunchInput): string[] {
  const { programs, user } = input
  const fds = tapFds(input.taps.length)
  const taps = input.taps.flatMap(({ namespace, tapName }, i) => [
    ...[programs.ip, 'netns', 'exec', namespace],
    ...[programs.perl, '-e', KEEP_TAP, '--', String(fds[i]), tapName],
  ])
  return [
    ...taps,
    programs.unshare,
    '--net',
    '--ipc',
    ...asUser(programs.setpriv, user, input.extraGid),
    programs.qemu,
  ].concat(input.qemuArgs)
}

/** The words that put before a command make it run as `user`, without capabilities and without a way to get any. */
export function asUser(
  setpriv: string,
  user: { uid: number; gid: number },
  extraGid: number | undefined = undefined,
): string[] {
  const groups = extraGid === undefined ? '--clear-groups' : `--groups=${extraGid}`
  const rights = ['--no-new-privs', '--inh-caps=-all', '--bounding-set=-all']
  return [setpriv, `--reuid=${user.uid}`, `--regid=${user.gid}`, groups, ...rights]
}
