package cli

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/node"
	"codeberg.org/minipod/minipod/runtime"
)

// portVerb is docker's `port`.
func (a *app) portVerb() *urfave.Command {
	return &urfave.Command{
		Name: "port", Usage: "List the published ports of a container", ArgsUsage: "CONTAINER [PORT[/PROTOCOL]]", Category: groupContainers,
		Description: examples("minipod port web", "minipod port web 80", "minipod port web 53/udp"),
		Action: func(c *urfave.Context) error {
			if err := checkArgs(c, 1, 2); err != nil {
				return err
			}
			r, err := runtime.Find(a.dirs, c.Args().First())
			if err != nil {
				return err
			}
			if c.NArg() == 1 {
				for _, p := range portsOf(r) {
					for _, at := range hostSides(p) {
						fmt.Fprintf(a.out, "%d/%s -> %s\n", p.ContainerPort, p.Protocol, at)
					}
				}
				return nil
			}
			return a.printPort(c, r, c.Args().Get(1))
		},
	}
}

func (a *app) printPort(c *urfave.Context, r runtime.Record, wanted string) error {
	port, protocol, _ := strings.Cut(wanted, "/")
	protocol = cmp.Or(protocol, "tcp")
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || protocol != "tcp" && protocol != "udp" && protocol != "sctp" {
		return usageError(c, fmt.Sprintf("invalid port %q: write a number from 1 to 65535, and /udp where it is not tcp", wanted))
	}
	found := false
	for _, p := range portsOf(r) {
		if p.ContainerPort != uint16(n) || p.Protocol != protocol {
			continue
		}
		found = true
		for _, at := range hostSides(p) {
			fmt.Fprintln(a.out, at)
		}
	}
	if !found {
		return hint.Wrap(fmt.Errorf("no public port '%s/%s' published for %s", port, protocol, r.Name), "publish it when you run it: -p 8080:"+port)
	}
	return nil
}

// portsOf are the ports that a container has published now, in their order.
func portsOf(r runtime.Record) []node.Port {
	if r.Network == nil {
		return nil
	}
	ports := slices.Clone(r.Network.Ports)
	slices.SortStableFunc(ports, func(x, y node.Port) int {
		return cmp.Or(cmp.Compare(x.ContainerPort, y.ContainerPort), cmp.Compare(x.Protocol, y.Protocol), cmp.Compare(x.HostPort, y.HostPort))
	})
	return ports
}

// hostIPs are the addresses at which a port is published. All are both families', which docker lists one by one.
func hostIPs(p node.Port) []string {
	if p.HostIP == "" {
		return []string{"0.0.0.0", "::"}
	}
	return []string{p.HostIP}
}

func hostSides(p node.Port) []string {
	var list []string
	for _, ip := range hostIPs(p) {
		list = append(list, net.JoinHostPort(ip, strconv.Itoa(int(p.HostPort))))
	}
	return list
}

// portColumn is how `ps` shows ports.
func portColumn(r runtime.Record) string {
	var list []string
	for _, p := range portsOf(r) {
		for _, at := range hostSides(p) {
			list = append(list, fmt.Sprintf("%s->%d/%s", at, p.ContainerPort, p.Protocol))
		}
	}
	return strings.Join(list, ", ")
}
