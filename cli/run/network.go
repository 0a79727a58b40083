package run

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/node"
	"codeberg.org/minipod/minipod/runtime/userns"
)

// checkPorts refuses to publish what nobody could pass on.
func (r *run) checkPorts() error {
	published := len(r.Publish) > 0 || r.PublishAll
	switch {
	case !published, r.Network == flags.PodNetwork:
		return nil
	case r.hostNetwork():
		r.Warnings = append(r.Warnings, "published ports are discarded when using host network mode: the container's ports are the host's") // as docker does
		r.Publish, r.PublishAll = nil, false
		return nil
	}
	return hint.Wrap(fmt.Errorf("conflicting options: port publishing and the network mode %s", r.Network), "publish ports of a container in the pods' network: --network pod")
}

// connect opens the node, where the container is to be in the pods' network, and says what a person should know of it. It also keeps the
// network from leaving until the container is there.
func (r *run) connect() (err error) {
	if r.Network != flags.PodNetwork || r.create {
		return nil
	}
	if r.node, err = node.Open(r.dirs); err != nil {
		err = hint.Wrap(fmt.Errorf("the pods' network: %w", err), adviceOr(err, "run it without: --network none"))
		var refusal *userns.Refusal // then there is no container, either
		if !r.byDefault || len(r.Publish) > 0 || r.PublishAll || errors.As(err, &refusal) {
			return err
		}
		hint.Print(os.Stderr, fmt.Errorf("warning: the container has no network: %w", err)) // it may not need one: nobody asked for it
		r.Network, r.node = "none", nil
		return nil
	}
	for _, n := range r.node.Notices {
		fmt.Fprintf(os.Stderr, "minipod: warning: %s\n", n.Text)
		if n.Hint != "" {
			fmt.Fprintf(os.Stderr, "hint: %s\n", n.Hint)
		}
	}
	return nil
}

func adviceOr(err error, advice string) string {
	if given := hint.Of(err); given != "" {
		return given
	}
	return advice
}

// disconnect lets go of the node.
func (r *run) disconnect() {
	if r.node != nil {
		r.node.Close()
	}
}

// users is the user namespace of which the container's is to be a child; nil: the host's.
func (r *run) users() *os.File {
	if r.node == nil {
		return nil
	}
	return r.node.UserNamespace()
}

// attachment is the container's place in the pods' network, as far as it is known beforehand; nil: it has none.
func (r *run) attachment() *node.Attachment {
	if r.Network != flags.PodNetwork {
		return nil
	}
	a := &node.Attachment{Aliases: r.Aliases}
	for _, p := range r.Publish {
		a.Ports = append(a.Ports, node.Port(p))
	}
	if !r.PublishAll {
		return a
	}
	exposed := r.Expose
	for port := range r.image.Config.Config.ExposedPorts {
		ports, err := flags.ParseExposed(port)
		if err != nil { // an image may say what it likes
			continue
		}
		exposed = append(exposed, ports...)
	}
	slices.SortFunc(exposed, func(x, y flags.Port) int { return int(x.ContainerPort) - int(y.ContainerPort) })
	for _, p := range exposed {
		known := slices.ContainsFunc(a.Ports, func(has node.Port) bool {
			return has.ContainerPort == p.ContainerPort && has.Protocol == p.Protocol
		})
		if !known {
			a.Ports = append(a.Ports, node.Port{ContainerPort: p.ContainerPort, Protocol: p.Protocol})
		}
	}
	return a
}
