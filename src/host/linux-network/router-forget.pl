# Makes the kernel forget tracked connections, by its netlink socket (NETLINK_NETFILTER, ctnetlink). Each line of input
# is one: protocol, source, destination, then source port and destination port, or for ICMP number, type and code, all as
# in the connection's first packet. One that is gone already is no error.
use strict;
use warnings;
use Socket;

my ($AF_NETLINK, $NETLINK_NETFILTER, $DELETE, $REQUEST_AND_ACK, $NESTED, $ENOENT) = (16, 12, 0x0102, 5, 0x8000, 2);

sub attribute {
    my ($type, $value) = @_;
    my $length = 4 + length($value);
    return pack('SS', $length, $type) . $value . "\0" x (-$length % 4);
}

socket(my $kernel, $AF_NETLINK, SOCK_RAW, $NETLINK_NETFILTER) or die "netlink: $!\n";
while (my $line = <STDIN>) {
    chomp $line;
    my ($protocol, $source, $destination, $first, $second, $third) = split ' ', $line;
    my $addresses = attribute(1, inet_aton($source)) . attribute(2, inet_aton($destination));
    my $ends = defined $third
        ? attribute(4, pack 'n', $first) . attribute(5, pack 'C', $second) . attribute(6, pack 'C', $third)
        : attribute(2, pack 'n', $first) . attribute(3, pack 'n', $second);
    my $tuple = attribute($NESTED | 1, $addresses)
        . attribute($NESTED | 2, attribute(1, pack 'C', $protocol) . $ends);
    my $body = pack('CCn', AF_INET, 0, 0) . attribute($NESTED | 1, $tuple);
    send($kernel, pack('LSSLL', 16 + length($body), $DELETE, $REQUEST_AND_ACK, $., 0) . $body, 0) or die "send: $!\n";
    defined recv($kernel, my $answer, 8192, 0) or die "recv: $!\n";
    my $error = -unpack('x16 l', $answer);
    die "connection $line: error $error\n" if $error != 0 && $error != $ENOENT;
}
