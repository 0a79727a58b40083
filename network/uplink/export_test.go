package uplink

import (
	"os"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// Card is the TUN device as a network card of gVisor's, for a test that plays the pod. start it when it belongs to a stack.
func Card(tun *os.File) (card stack.LinkEndpoint, start func(), err error) {
	l, err := newLink(tun, MTU)
	if err != nil {
		return nil, nil, err
	}
	return l, l.start, nil
}
