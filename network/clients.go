package network

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/vishvananda/netlink"
)

// ClientMark is that of the packets of connections that come to a pod in the name of a client outside: it begins them, and the pod's
// answers have it by the kernel's doing. It is no secret: who has CAP_NET_RAW in a pod may set it
// (since Linux 5.17), and keeps what he sends within the pod by it.
const ClientMark = 0x6d70

// clientTable is the routing table by which what has ClientMark goes nowhere but to this namespace itself, whatever its destination.
const clientTable = 0x6d70

// KeepClients prepares this thread's network namespace, a pod's, for TCP connections that are made there in the name of others
// (linux.NewClientSocket). The program's answers are for addresses that are not there; they come back to our socket all the same:
//
//	socket, transparent, mark ── SYN, from 203.0.113.7 ──► lo ──► program: what it accepts has the mark (tcp_fwmark_accept)
//	        ◄── lo ◄── table 0x6d70: all is local ◄── SYN-ACK, to 203.0.113.7, mark; a refusal, too (fwmark_reflect)
//
// It is idempotent.
func KeepClients() error {
	for _, name := range []string{"tcp_fwmark_accept", "fwmark_reflect"} {
		if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte("1"), 0); err != nil {
			return fmt.Errorf("keep clients' addresses: %w", err)
		}
	}
	// Those whose addresses can't be kept, of this host's own programs, all come from one. Each connection's port is remembered for a minute, and after 28,000
	// of them there would be none; so old that it can't be confused, after a second, it may be had again (tcp_tw_reuse, ip-sysctl.rst).
	_ = os.WriteFile("/proc/sys/net/ipv4/tcp_tw_reuse", []byte("1"), 0)
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("look up lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil { // the sandbox may not have got there yet
		return fmt.Errorf("bring up lo: %w", err)
	}
	local := &netlink.Route{
		LinkIndex: lo.Attrs().Index, Dst: everything(), Table: clientTable, Type: syscall.RTN_LOCAL, Scope: netlink.SCOPE_HOST,
	}
	if err := netlink.RouteReplace(local); err != nil {
		return fmt.Errorf("keep clients' addresses: route all to lo: %w", err)
	}
	rule := netlink.NewRule()
	rule.Family, rule.Mark, rule.Table = netlink.FAMILY_V4, ClientMark, clientTable
	if err := netlink.RuleAdd(rule); err != nil && !errors.Is(err, syscall.EEXIST) {
		return fmt.Errorf("keep clients' addresses: add a routing rule: %w", err)
	}
	return nil
}
