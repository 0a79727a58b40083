package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"codeberg.org/minipod/minipod/internal/hint"
)

// Table is the name of the nftables table that Guard makes: `nft list table bridge minipod`.
const Table = "minipod"

// A Place is where a pod is at the bridge: which cable leads to it, and the one address that it has.
type Place struct {
	Veth    string
	Address netip.Addr
}

// Guard has the bridge of this thread's network namespace take from a pod only what is in its own name: IPv4, and ARP, with the hardware
// address and the IP address of its place. A container may make any frame that it likes (CAP_NET_RAW is among Docker's defaults); by such
// frames it could take addresses of other pods or of the gateway, whose DNS they ask, and by one of IPv6 make itself the router of all.
// What Guard set up before is replaced in one step. Who comes later is let in by Admit.
//
// TRUST BOUNDARY: what comes in from a veth is a pod's, and hostile.
func Guard(places []Place) error {
	err := change(func(c *nftables.Conn, set *nftables.Set) error {
		c.AddTable(set.Table) // so that there is one to delete: all of it is one transaction
		c.DelTable(set.Table)
		c.AddTable(set.Table)
		if err := c.AddSet(set, nil); err != nil {
			return err
		}
		const most = 512 // of a message, whose list has 64 KB
		for some := range slices.Chunk(places, most) {
			if err := c.SetAddElements(set, elements(some)); err != nil {
				return err
			}
		}
		drop := nftables.ChainPolicyDrop
		chain := c.AddChain(&nftables.Chain{
			Name: "from-pods", Table: set.Table, Type: nftables.ChainTypeFilter, Policy: &drop,
			Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRaw, // before the bridge learns anything by it
		})
		for _, rule := range [][]expr.Any{fromPlaceIPv4(set), fromPlaceARP(set)} {
			c.AddRule(&nftables.Rule{Table: set.Table, Chain: chain, Exprs: append(rule, &expr.Verdict{Kind: expr.VerdictAccept})})
		}
		return nil
	})
	if err != nil {
		return hint.Wrap(fmt.Errorf("guard the bridge %s: %w", Bridge, err), "have root load the kernel's part of it: modprobe nf_tables")
	}
	return nil
}

// Admit lets the frames of a pod pass the guard.
func Admit(p Place) error {
	err := change(func(c *nftables.Conn, set *nftables.Set) error { return c.SetAddElements(set, elements([]Place{p})) })
	if err != nil {
		return fmt.Errorf("admit %s at %s: %w", p.Address, p.Veth, err)
	}
	return nil
}

// Expel takes back what Admit did. One who was not admitted is no error.
func Expel(p Place) error {
	err := change(func(c *nftables.Conn, set *nftables.Set) error { return c.SetDeleteElements(set, elements([]Place{p})) })
	if err != nil && !errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("expel %s from %s: %w", p.Address, p.Veth, err)
	}
	return nil
}

// change does one transaction about the set of those who are admitted.
func change(what func(*nftables.Conn, *nftables.Set) error) (err error) {
	// A lasting connection: the other kind opens its socket later, on whatever thread, so in whatever namespace.
	c, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	defer func() { err = errors.Join(err, c.CloseLasting()) }()
	key, err := nftables.ConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr, nftables.TypeIPAddr)
	if err != nil {
		return err
	}
	set := &nftables.Set{
		Table: &nftables.Table{Family: nftables.TableFamilyBridge, Name: Table}, Name: "places", KeyType: key, Concatenation: true,
	}
	if err := what(c, set); err != nil {
		return err
	}
	return c.Flush()
}

// elements are the set's: a key is the cable, the hardware address that goes with the address, and the address, each padded to words.
func elements(places []Place) []nftables.SetElement {
	list := make([]nftables.SetElement, 0, len(places))
	for _, p := range places {
		key := make([]byte, syscall.IFNAMSIZ, syscall.IFNAMSIZ+12)
		copy(key[:syscall.IFNAMSIZ-1], p.Veth)
		key = append(append(key, MAC(p.Address)...), 0, 0)
		list = append(list, nftables.SetElement{Key: append(key, p.Address.AsSlice()...)})
	}
	return list
}

// Where headers have what is asked for.
const (
	etherSource = 6  // of the frame
	ipv4Source  = 12 // saddr
	arpMAC      = 8  // RFC 826: ar$sha
	arpIP       = 14 // ar$spa
)

// fromPlaceIPv4 matches IPv4 that comes from where its source is.
func fromPlaceIPv4(set *nftables.Set) []expr.Any {
	return append(protocol(syscall.ETH_P_IP), from(set, expr.PayloadBaseLLHeader, etherSource, ipv4Source)...)
}

// fromPlaceARP matches ARP about IPv4 on Ethernet whose sender is where it comes from, by both of the hardware addresses that it names.
func fromPlaceARP(set *nftables.Set) []expr.Any {
	return slices.Concat(protocol(syscall.ETH_P_ARP),
		[]expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 0, Len: 6},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0, 1, 8, 0, 6, 4}}, // and thereby where the rest of it is
		},
		from(set, expr.PayloadBaseLLHeader, etherSource, arpIP), from(set, expr.PayloadBaseNetworkHeader, arpMAC, arpIP))
}

func protocol(number uint16) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(number)},
	}
}

// from matches what comes from a place: the device, the hardware address at mac, and the address at ip of the network header.
func from(set *nftables.Set, base expr.PayloadBase, mac, ip uint32) []expr.Any {
	const device, hardware, address = 1, 2, 14 // NFT_REG_1 and 2 have 16 bytes each; NFT_REG32_06 is what comes after the first 8 of the latter
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: device},
		&expr.Payload{DestRegister: hardware, Base: base, Offset: mac, Len: 6},
		&expr.Payload{DestRegister: address, Base: expr.PayloadBaseNetworkHeader, Offset: ip, Len: 4},
		&expr.Lookup{SourceRegister: device, SetName: set.Name, SetID: set.ID},
	}
}
