package run

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/node"
	"codeberg.org/minipod/minipod/pod"
)

// attachmentOf is the pod's place in the network, as far as it is known before the sandbox is.
func attachmentOf(p *pod.Pod, hostname string) *node.Attachment {
	if p.Spec.HostNetwork {
		return nil
	}
	name, _, _ := strings.Cut(hostname, ".")
	a := &node.Attachment{Name: p.Metadata.Name, Namespace: p.Metadata.Namespace, Hostname: name, Subdomain: p.Spec.Subdomain}
	for _, list := range [][]pod.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			for _, port := range list[i].Ports {
				if port.HostPort == 0 {
					continue
				}
				protocol := strings.ToLower(port.Protocol)
				if protocol == "" {
					protocol = "tcp"
				}
				a.Ports = append(a.Ports, node.Port{
					HostIP: port.HostIP, HostPort: uint16(port.HostPort), ContainerPort: uint16(port.ContainerPort), Protocol: protocol,
				})
			}
		}
	}
	return a
}

// detach takes the sandbox's place in the network back, where there is a network still.
func (b *podSandbox) detach() error {
	if b.lease == nil {
		return nil
	}
	n, err := node.Connect(b.host.dirs)
	if errors.Is(err, node.ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer n.Close()
	return n.Detach(b.id)
}

// Probe asks a container from inside of the pod's network namespace.
func (h *podHost) Probe(ctx context.Context, c *pod.Container, handler *pod.Handler) (good bool, message string, err error) {
	h.mu.Lock()
	box := h.box
	h.mu.Unlock()
	if box == nil {
		return false, "", errors.New("the sandbox has just ended")
	}
	q, err := question(c, handler)
	if err != nil {
		return false, "", err
	}
	if box.lease != nil {
		q.ID = box.id
	}
	q.Timeout = time.Minute
	if deadline, ok := ctx.Deadline(); ok {
		q.Timeout = time.Until(deadline)
	}
	n, err := node.Open(h.dirs)
	if err != nil {
		return false, "", err
	}
	defer n.Close()
	answer, err := n.Probe(q)
	return answer.OK, answer.Message, err
}

// question is what is to be asked.
func question(c *pod.Container, h *pod.Handler) (q node.Probe, err error) {
	port := func(p pod.Port) error {
		number, err := p.Resolve(c)
		q.Port = uint16(number)
		return err
	}
	switch {
	case h.HTTPGet != nil:
		get := &node.HTTPGet{Scheme: strings.ToLower(h.HTTPGet.Scheme), Path: h.HTTPGet.Path}
		if get.Scheme == "" {
			get.Scheme = "http"
		}
		for _, header := range h.HTTPGet.Headers {
			get.Headers = append(get.Headers, [2]string{header.Name, header.Value})
		}
		q.HTTP, q.Host = get, h.HTTPGet.Host
		return q, port(h.HTTPGet.Port)
	case h.TCPSocket != nil:
		q.Host = h.TCPSocket.Host
		return q, port(h.TCPSocket.Port)
	case h.GRPC != nil:
		service := ""
		if h.GRPC.Service != nil {
			service = *h.GRPC.Service
		}
		q.GRPC, q.Port = &service, uint16(h.GRPC.Port)
		return q, nil
	}
	return q, fmt.Errorf("missing probe handler for %s", c.Name)
}
