/**
 * Perl that opens the tap `$name` as `$tap`, or dies saying why. Node has no ioctl; perl-base is essential in Debian
 * and starts in 5 ms. 0x400454ca is TUNSETIFF, 0x5002 is IFF_TAP|IFF_NO_PI|IFF_VNET_HDR. Source: linux/if_tun.h.
 */
export const OPEN_TAP = [
  'open(my $tap, "+<", "/dev/net/tun") or die "/dev/net/tun: $!\\n";',
  'ioctl($tap, 0x400454ca, pack("Z16 S x22", $name, 0x5002)) or die "$name: $!\\n";',
].join(' ')
