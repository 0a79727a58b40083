package uplink

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// forget ends the TCP connections of a pod that is gone. It had no time to say so, or nobody took it to us any more: they would stay until
// keep-alive probes find out, for two hours, each with its place among all of them and a connection outside. Flows and pings end by their silence.
func (u *uplink) forget(pod netip.Addr) {
	for _, e := range u.stack.RegisteredEndpoints() {
		inside, ok := e.(*tcp.Endpoint)
		if !ok {
			continue
		}
		switch inside.EndpointState() {
		case tcp.StateEstablished, tcp.StateFinWait1, tcp.StateFinWait2, tcp.StateCloseWait, tcp.StateLastAck, tcp.StateClosing:
		default: // it is none yet, which ends without an answer, or none any more
			continue
		}
		if info, ok := inside.Info().(*stack.TransportEndpointInfo); ok && addrPort(info.ID.RemoteAddress, 0).Addr() == pod {
			inside.Abort() // the stream's own business is the rest
		}
	}
}
