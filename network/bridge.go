package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"

	"codeberg.org/minipod/minipod/internal/linux"
)

const (
	// Bridge is the bridge's name.
	Bridge = "mp0"
	// TUN is the name of the way out.
	TUN = "tun0"
	// Interface is a pod's.
	Interface = "eth0"
	// MTU is as large as gVisor's stack takes it: there is no wire that would ask for less, and each packet has its price.
	MTU = 65520
)

// In calls do on a thread that has joined the network namespace, which then ends with it.
func In(ns *os.File, do func() error) error {
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread()    // and never unlocked: the thread is thrown away
		if linux.OnMainThread() { // but this one can't be: parked, it would keep the namespace, and /proc/PID/ns/net would show it
			failed <- In(ns, do) // while we hold it, the next goroutine gets another
			runtime.UnlockOSThread()
			return
		}
		err := linux.JoinNetwork(ns)
		if err == nil {
			err = do()
		}
		failed <- err
	}()
	return <-failed
}

// Make makes the bridge in this thread's network namespace, or puts in order the one that is there, and returns its index. It is idempotent.
func Make(subnet netip.Prefix) (bridge int, err error) {
	if lo, err := netlink.LinkByName("lo"); err != nil {
		return 0, fmt.Errorf("look up lo: %w", err)
	} else if err := netlink.LinkSetUp(lo); err != nil {
		return 0, fmt.Errorf("bring up lo: %w", err)
	}
	gateway := Gateway(subnet)
	attributes := netlink.NewLinkAttrs()
	attributes.Name, attributes.MTU, attributes.HardwareAddr = Bridge, MTU, MAC(gateway) // without one it would have its lowest port's, which comes and goes
	snooping := false                                                                    // nobody asks for multicast here, and it takes its time
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attributes, MulticastSnooping: &snooping}); err != nil && !errors.Is(err, syscall.EEXIST) {
		return 0, fmt.Errorf("make the bridge %s: %w", Bridge, err)
	}
	link, err := netlink.LinkByName(Bridge)
	if err != nil {
		return 0, fmt.Errorf("look up the bridge %s: %w", Bridge, err)
	}
	if err := netlink.AddrReplace(link, address(gateway, subnet)); err != nil {
		return 0, fmt.Errorf("give the bridge the address %s: %w", gateway, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return 0, fmt.Errorf("bring up the bridge %s: %w", Bridge, err)
	}
	return link.Attrs().Index, nil
}

func address(a netip.Addr, subnet netip.Prefix) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(subnet.Bits(), 32)}}
}

// OpenUplink makes the interface through which packets leave this thread's network namespace, and sends there what is for nobody here.
func OpenUplink() (*os.File, error) {
	tun, err := linux.OpenTUN(TUN)
	if err != nil {
		return nil, err
	}
	err = func() error {
		link, err := netlink.LinkByName(TUN)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetMTU(link, MTU); err != nil {
			return err
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
		if err := netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: everything()}); err != nil {
			return err
		}
		return Forward()
	}()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set up %s: %w", TUN, err), tun.Close())
	}
	return tun, nil
}

// Forward has this thread's network namespace pass on packets that are not its own.
func Forward() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }

func everything() *net.IPNet { return &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)} }

// Plug makes a pair of devices: veth at the bridge, in this thread's network namespace, and eth0 in the pod's, down. One message
// does it all, and makes eth0 where it belongs: to move it there would wait for each processor to have forgotten it.
// The bridge knows who is there, and learns nothing: frames for others are not shown to this one, whatever it or they say.
func Plug(bridge int, veth string, pod *os.File, mac net.HardwareAddr) error {
	if err := plug(bridge, veth, pod, mac); err != nil {
		return fmt.Errorf("make a pair of veth devices: %w", err)
	}
	err := func() error {
		link, err := netlink.LinkByName(veth)
		if err != nil {
			return err
		}
		port := link.Attrs().Index
		if err := settle(port); err != nil {
			return err
		}
		return netlink.NeighAppend(&netlink.Neigh{
			LinkIndex: port, Family: syscall.AF_BRIDGE, State: netlink.NUD_NOARP, Flags: netlink.NTF_MASTER, HardwareAddr: mac,
		})
	}()
	if err != nil {
		return errors.Join(fmt.Errorf("tell the bridge who is at %s: %w", veth, err), Unplug(veth))
	}
	return nil
}

// settle has the bridge neither learn from a port nor try it with frames for addresses that it does not know.
func settle(port int) error {
	request := nl.NewNetlinkRequest(syscall.RTM_SETLINK, syscall.NLM_F_ACK)
	message := nl.NewIfInfomsg(syscall.AF_BRIDGE)
	message.Index = int32(port)
	request.AddData(message)
	info := nl.NewRtAttr(syscall.IFLA_PROTINFO|nlaNested, nil)
	info.AddRtAttr(nl.IFLA_BRPORT_LEARNING, []byte{0})
	info.AddRtAttr(nl.IFLA_BRPORT_UNICAST_FLOOD, []byte{0})
	request.AddData(info)
	_, err := request.Execute(syscall.NETLINK_ROUTE, 0)
	return err
}

func plug(bridge int, veth string, pod *os.File, mac net.HardwareAddr) error {
	request := nl.NewNetlinkRequest(syscall.RTM_NEWLINK, syscall.NLM_F_CREATE|syscall.NLM_F_EXCL|syscall.NLM_F_ACK)
	message := nl.NewIfInfomsg(syscall.AF_UNSPEC)
	message.Flags, message.Change = syscall.IFF_UP, syscall.IFF_UP
	request.AddData(message)
	request.AddData(nl.NewRtAttr(syscall.IFLA_IFNAME, nl.ZeroTerminated(veth)))
	request.AddData(nl.NewRtAttr(syscall.IFLA_MTU, nl.Uint32Attr(MTU)))
	request.AddData(nl.NewRtAttr(syscall.IFLA_MASTER, nl.Uint32Attr(uint32(bridge))))
	info := nl.NewRtAttr(syscall.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth")) // LAB: veth
	peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(peer, syscall.AF_UNSPEC) // up it can't be yet: it has no peer itself at that moment (veth_open, ENOTCONN)
	peer.AddRtAttr(syscall.IFLA_IFNAME, nl.ZeroTerminated(Interface))
	peer.AddRtAttr(syscall.IFLA_MTU, nl.Uint32Attr(MTU))
	peer.AddRtAttr(syscall.IFLA_ADDRESS, mac)
	peer.AddRtAttr(netNSFD, nl.Uint32Attr(uint32(pod.Fd())))
	request.AddData(info)
	_, err := request.Execute(syscall.NETLINK_ROUTE, 0)
	return err
}

// What package syscall is too old for.
const (
	netNSFD   = 28      // IFLA_NET_NS_FD
	nlaNested = 1 << 15 // NLA_F_NESTED
)

// Configure gives eth0 of this thread's network namespace, a pod's, its address and the way out.
func Configure(a netip.Addr, subnet netip.Prefix) error {
	link, err := netlink.LinkByName(Interface)
	if err != nil {
		return fmt.Errorf("look up %s: %w", Interface, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring up %s: %w", Interface, err)
	}
	if err := netlink.AddrAdd(link, address(a, subnet)); err != nil {
		return fmt.Errorf("give %s the address %s: %w", Interface, a, err)
	}
	gateway := Gateway(subnet)
	known := &netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: gateway.AsSlice(), HardwareAddr: MAC(gateway)}
	if err := netlink.NeighSet(known); err != nil { // nobody is to be asked, who could lie
		return fmt.Errorf("tell where %s is: %w", gateway, err)
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: everything(), Gw: gateway.AsSlice()}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("route by %s: %w", gateway, err)
	}
	// As in docker: a container's users may listen at low ports, which are its own. Where /proc/sys can't be written, they may not.
	_ = os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0)
	// What a pod sends by TCP ends on this machine, at another pod or at the uplink, and no wire between can be congested. Hosts' BBR, made for wires, waits
	// between packets. Of the kernel's others this one is everywhere, and nobody needs to allow it.
	_ = os.WriteFile("/proc/sys/net/ipv4/tcp_congestion_control", []byte("reno"), 0)
	return nil
}

// Unplug removes veth from this thread's network namespace, and with it its other end. One that is gone is no error.
func Unplug(veth string) error {
	link, err := netlink.LinkByName(veth)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil && !errors.Is(err, syscall.ENODEV) {
		return fmt.Errorf("remove %s: %w", veth, err)
	}
	return nil
}

// Ports returns the names of the devices at the bridge in this thread's network namespace.
func Ports(bridge int) ([]string, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list network devices: %w", err)
	}
	var names []string
	for _, l := range links {
		if l.Attrs().MasterIndex == bridge {
			names = append(names, l.Attrs().Name)
		}
	}
	return names, nil
}
