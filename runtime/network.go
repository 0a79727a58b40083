package runtime

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/node"
	"codeberg.org/minipod/minipod/runtime/stage"
)

// A connection is a container's way into the pod network, at one start.
type connection struct {
	node       *node.Node // nil: it is not there by itself
	opened     bool       // by us
	attachment node.Attachment
	took       time.Duration // to attach
}

// open opens the node, where the container is in the pod network.
func (c *Container) open(cfg *Config) (*connection, error) {
	if cfg.Attach == nil {
		return &connection{}, nil
	}
	n := &connection{node: cfg.Node, attachment: *cfg.Attach}
	n.attachment.ID = c.ID
	if n.attachment.Name == "" {
		n.attachment.Name = c.Name
	}
	if n.node != nil {
		return n, nil
	}
	if cfg.Sandbox != nil {
		return nil, errors.New("the sandbox was forked without a network")
	}
	var err error
	n.node, err = node.Open(c.dirs)
	n.opened = true
	return n, err
}

func (n *connection) close() {
	if n.opened && n.node != nil {
		n.node.Close()
	}
}

// users is the user namespace of which the sandbox's is to be a child; nil: the host's.
func (n *connection) users() *os.File {
	if n.node == nil {
		return nil
	}
	return n.node.UserNamespace()
}

// attach gives the sandbox its place in the network. What it returns is the place of whom it shares the network with, otherwise; or nil.
func (n *connection) attach(pid int, birth uint64, joins *joins) (*node.Lease, error) {
	if n.node == nil {
		if d := joins.donors[specs.NetworkNamespace]; d != nil {
			return d.Network, nil
		}
		return nil, nil
	}
	n.attachment.PID, n.attachment.Birth = pid, birth
	began := time.Now()
	lease, err := n.node.Attach(n.attachment)
	n.took = time.Since(began)
	if err != nil {
		return nil, err
	}
	return &lease, nil
}

// tell tells what the node has done, with --explain.
func (n *connection) tell(narrate func(stage.Event), lease *node.Lease) {
	if narrate == nil || n.node == nil {
		return
	}
	e := stage.Event{Step: "network", Who: "node", Why: "a virtual cable leads from the bridge of all pods into its network namespace, and it has an address there", Micros: n.took.Microseconds()}
	for _, call := range []string{
		fmt.Sprintf("newlink(veth%d at mp0, eth0 in the network namespace of process %d, mtu %d)", n.attachment.PID, n.attachment.PID, lease.MTU),
		fmt.Sprintf("newaddr(eth0, %s/%d)", lease.IP, lease.Prefix), fmt.Sprintf("newroute(default via %s)", lease.Gateway),
	} {
		e.Calls = append(e.Calls, stage.CallResult{Call: call, Result: "ok"})
	}
	for _, p := range lease.Ports {
		e.Calls = append(e.Calls, stage.CallResult{Call: fmt.Sprintf("listen(%s:%d/%s)", p.HostIP, p.HostPort, p.Protocol), Result: "ok"})
	}
	narrate(e)
}

// own is the lease, where it is the container's and not another's.
func (n *connection) own(lease *node.Lease) *node.Lease {
	if n.node == nil {
		return nil
	}
	return lease
}

// introduce completes the files that tell of the network: what hostname's address is, and whom to ask for others'.
func introduce(plan *stage.Plan, hostname string, lease *node.Lease) {
	for i := range plan.Rootfs.Files {
		f := &plan.Rootfs.Files[i]
		switch {
		case f.Target == "/etc/hosts" && lease != nil:
			f.Content += lease.IP + "\t" + hostname + "\n"
		case f.Target == "/etc/hosts":
			f.Content += "127.0.0.1\t" + hostname + "\n"
		case f.Target == "/etc/resolv.conf" && lease != nil && len(lease.DNS) > 0:
			f.Content = resolver(lease)
		}
	}
}

// resolver is a resolv.conf(5) that names the network's DNS.
func resolver(lease *node.Lease) string {
	text := ""
	if len(lease.Search) > 0 {
		text = "search " + strings.Join(lease.Search, " ") + "\n"
	}
	for _, address := range lease.DNS {
		text += "nameserver " + address + "\n"
	}
	return text
}
