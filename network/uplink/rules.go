package uplink

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"codeberg.org/minipod/minipod/internal/hint"
)

// Table is the name of the nftables table that RedirectRules and MasqueradeRules make: `nft list table ip minipod`.
const Table = "minipod"

// RedirectRules has the kernel hand every TCP connection that comes in from device, and is for nobody in pods, to port of
// this namespace, where Redirect listens. Call it on a thread that is in that namespace, with CAP_NET_ADMIN there.
// It replaces the rules of an earlier call.
func RedirectRules(device string, pods netip.Prefix, port uint16) error {
	return install(nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest, concat(
		compare(&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, expr.CmpOpEq, name(device)),
		compare(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, expr.CmpOpEq, []byte{syscall.IPPROTO_TCP}),
		notTo(pods),
		[]expr.Any{
			&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
			&expr.Redir{RegisterProtoMin: 1},
		}))
}

// MasqueradeRules gives what leaves this namespace for nobody in pods the address of the device that it leaves by: pasta
// knows no others. For the rest see RedirectRules.
func MasqueradeRules(pods netip.Prefix) error {
	return install(nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource,
		concat(notTo(pods), []expr.Any{&expr.Masq{}}))
}

func install(kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority, rule []expr.Any) (err error) {
	// A lasting connection: the other kind opens its socket later, on whatever thread, so in whatever namespace.
	c, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	defer func() { err = errors.Join(err, c.CloseLasting()) }()
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: Table}
	c.AddTable(table) // so that there is one to delete: all of it is one transaction
	c.DelTable(table)
	c.AddTable(table)
	chain := c.AddChain(&nftables.Chain{Name: "uplink", Table: table, Type: kind, Hooknum: hook, Priority: priority})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: rule})
	if err := c.Flush(); err != nil {
		return hint.Wrap(fmt.Errorf("add rules to nftables: %w", err), "have root load the kernel's part of it: modprobe -a nf_tables nft_chain_nat nft_redir nft_masq")
	}
	return nil
}

func compare(load expr.Any, op expr.CmpOp, data []byte) []expr.Any {
	return []expr.Any{load, &expr.Cmp{Op: op, Register: 1, Data: data}}
}

// notTo matches what is for no address in p. Where the kernel has br_netfilter, what one pod sends another passes by, too.
func notTo(p netip.Prefix) []expr.Any {
	mask := make([]byte, 4)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}, // ip daddr
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

func concat(parts ...[]expr.Any) (all []expr.Any) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// name is an interface's, as the kernel compares it.
func name(device string) []byte {
	b := make([]byte, syscall.IFNAMSIZ)
	copy(b[:syscall.IFNAMSIZ-1], device)
	return b
}
