import { HostError } from '../host-driver.ts'
import { run } from '../run-program.ts'
import type { LaunchPrograms, Tap } from './launch-command.ts'
import { OPEN_TAP } from './open-tap.ts'

/** How long QEMU may take to answer; the tools' monitor serves one client at a time. */
const ANSWER_SECONDS = 8

/** The number of sendmsg by machine. Source: asm/unistd.h of Linux. */
const SENDMSG: Partial<Record<NodeJS.Architecture, number>> = { x64: 46, arm64: 211 }

/**
 * Opens a tap and hands it to a QEMU that runs: a descriptor travels only beside the bytes of a message (SCM_RIGHTS),
 * which Node cannot send. Its name holds on the monitor it was sent to and nowhere else, hence netdev_add comes from
 * here too. What a predecessor that was killed had sent is closed first, for a tap has one owner.
 *
 *   closefd → (opens the tap) → getfd with the descriptor → netdev_add      (→ closefd, when QEMU refuses)
 *
 * Packed by hand are `struct iovec`, `struct cmsghdr` {20, SOL_SOCKET, SCM_RIGHTS, descriptor} and `struct msghdr`, as
 * 64-bit Linux has them. Source: cmsg(3), bits/socket.h.
 */
const HAND_OVER = [
  'use Socket;',
  `$SIG{ALRM} = sub { die "the monitor does not answer\\n" }; alarm ${ANSWER_SECONDS};`,
  'my ($name, $path, $sendmsg, $greet, $closefd, $getfd, $add) = @ARGV;',
  'socket(my $qmp, PF_UNIX, SOCK_STREAM, 0) or die "socket: $!\\n";',
  'connect($qmp, pack_sockaddr_un($path)) or die "$path: $!\\n";',
  'my $read = "";',
  'sub ask { my ($line, $fd) = @_; $line .= "\\n";',
  '  my $iov = pack("P Q", $line, length $line);',
  '  my $control = defined $fd ? pack("Q l l l x4", 20, 1, 1, $fd) : "";',
  '  my $message = pack("Q L x4 P Q P Q l x4", 0, 0, $iov, 1, $control, length $control, 0);',
  '  syscall($sendmsg, fileno($qmp), $message, 0x4000) == length $line or die "sendmsg: $!\\n";',
  '  for (;;) {',
  '    while ($read =~ s/^(.*)\\n//) { my $said = $1; return $said if $said =~ /"id": ?"ours"/; }',
  '    length $read < 1e6 && sysread($qmp, $read, 65536, length $read) or die "the monitor closed\\n";',
  '  } }',
  'sub demand { my $said = ask(@_); $said =~ /"error":/ and die "$said\\n"; }',
  'demand($greet);',
  'ask($closefd);',
  OPEN_TAP,
  'demand($getfd, fileno($tap));',
  'eval { demand($add); 1 } or do { my $why = $@; ask($closefd); die $why };',
].join('\n')

export interface HandOver {
  programs: LaunchPrograms
  tap: Tap
  /** The socket of a monitor that nobody is connected to. */
  monitor: string
  /** The id that the network side of a card gets. */
  netdev: string
}

/**
 * Makes a tap the network side of a card to be.
 * @throws CommandError when QEMU does not answer or refuses, with what it said; HostError `startFailed` on a machine
 * whose system calls are not known here.
 */
export async function handOverTap({ programs, tap, monitor, netdev }: HandOver): Promise<void> {
  const sendmsg = SENDMSG[process.arch]
  if (sendmsg === undefined) {
    throw new HostError('startFailed', 'This host cannot plug network cards into servers that run.', {
      cause: new Error(`the number of sendmsg on ${process.arch} is not known`),
    })
  }
  const ask = (execute: string, args: object) => JSON.stringify({ execute, arguments: args, id: 'ours' })
  const fdname = `tap-${netdev}`
  const asks = [
    ask('qmp_capabilities', {}),
    ask('closefd', { fdname }),
    ask('getfd', { fdname }),
    ask('netdev_add', { type: 'tap', id: netdev, fd: fdname }),
  ]
  const perl = [programs.perl, '-e', HAND_OVER, '--', tap.tapName, monitor, String(sendmsg), ...asks]
  await run([programs.ip, 'netns', 'exec', tap.namespace, ...perl], { timeoutMs: (ANSWER_SECONDS + 2) * 1_000 })
}
