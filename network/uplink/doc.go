// Package uplink carries packets from a network namespace to the outside, with nothing installed and no privileges there.
//
//	pod ── veth ── bridge ── TUN ──▶ Serve: gVisor's TCP/IP stack ──▶ ordinary sockets of this process ──▶ outside
//
// Serve plays every host of the outside world towards the pods. A SYN makes it dial; only when the connection outside
// stands does it answer, so that "refused" and "unreachable" reach the program that asked. From then on two connections are
// joined: ends and resets are passed on. Datagrams and ICMP echo have a flow and a socket for each pair of addresses, which
// a silence ends. Only IPv4 is carried.
//
// The packets are the pods', so hostile: gVisor parses them, every table here is bounded, in all and for each source, and
// memory is held for what is in transit alone. This host's loopback is out of reach, unless Options.Alias names an address
// for it.
//
// Pasta runs passt's pasta instead, where it is installed and new enough. Redirect is for machines without /dev/net/tun: it
// carries TCP only.
package uplink
