package linux

import (
	"encoding/binary"
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ControlSize is room for the control data of a datagram that TellDestinations asks for.
const ControlSize = 64

// TellDestinations has a UDP socket tell of each datagram to which of this host's addresses it was sent (IP_PKTINFO, ip(7); IPV6_PKTINFO, ipv6(7)).
// It is for net.ListenConfig's Control: of what comes before, nothing is told.
func TellDestinations(_, _ string, socket syscall.RawConn) error {
	var failed error
	err := socket.Control(func(fd uintptr) {
		level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
		if domain, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil && domain == unix.AF_INET6 {
			level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO // of IPv4 it tells, too, as of mapped addresses
		}
		failed = os.NewSyscallError("setsockopt PKTINFO", unix.SetsockoptInt(int(fd), level, option, 1))
	})
	return errors.Join(err, failed)
}

// AnswerFrom returns the control data with which an answer leaves from the address that a datagram with the given control data was sent to; nil
// where that is nobody's to answer from: a multicast address, or one that was not told.
func AnswerFrom(control []byte) []byte {
	list, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for _, m := range list {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			if [4]byte(m.Data[4:8]) == [4]byte{} { // it came before it was to be told
				return nil
			}
			return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte(m.Data[4:8])}) // by whichever device leads to the client
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			to := [16]byte(m.Data[:16])
			const multicast, mappedMulticast, linkLocal = 0xff, 0xe0, 0xfe80
			mapped := [12]byte(to[:12]) == [12]byte{10: 0xff, 11: 0xff}
			if to[0] == multicast || mapped && (to[12]&0xf0 == mappedMulticast || to[12] == 0xff) {
				return nil
			}
			info := &unix.Inet6Pktinfo{Addr: to}
			if uint16(to[0])<<8|uint16(to[1]&0xc0) == linkLocal { // such an address is one of a device
				info.Ifindex = binary.NativeEndian.Uint32(m.Data[16:20])
			}
			return unix.PktInfo6(info)
		}
	}
	return nil
}
