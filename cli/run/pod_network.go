package run

import (
	"context"
	"errors"

	"codeberg.org/minipod/minipod/pod"
)

// A podNetwork is what gives sandboxes their place in the network.
type podNetwork interface {
	// Attach returns when the sandbox has its address, and its ports are published.
	Attach(ctx context.Context, p *pod.Pod, box *podSandbox) (lease, error)
	// Detach takes all of that back. One that has none is no error.
	Detach(id string) error
	// Probe asks a container from inside of the pod's network namespace.
	Probe(ctx context.Context, box *podSandbox, c *pod.Container, h *pod.Handler) (good bool, message string, err error)
}

// A lease is a sandbox's place in the network.
type lease struct {
	IP          string
	DNS, Search []string
}

// loopback is a network that ends where it begins: the sandbox has lo and nothing else.
type loopback struct{}

func (loopback) Attach(context.Context, *pod.Pod, *podSandbox) (lease, error) { return lease{}, nil }
func (loopback) Detach(string) error                                          { return nil }
func (loopback) Probe(context.Context, *podSandbox, *pod.Container, *pod.Handler) (bool, string, error) {
	return false, "", errors.New("the pod has no network to be asked by")
}
