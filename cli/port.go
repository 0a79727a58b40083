package cli

import (
	"fmt"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/runtime"
)

// portVerb is docker's `port`. Nothing is published yet (run has no -p), so there is nothing to list; whoever asks for one port is told.
func (a *app) portVerb() *urfave.Command {
	return &urfave.Command{
		Name: "port", Usage: "List the published ports of a container", ArgsUsage: "CONTAINER [PORT[/PROTOCOL]]", Category: groupContainers,
		Description: "Ports can't be published yet: with --network host the container's ports are the host's.",
		Action: func(c *urfave.Context) error {
			if err := checkArgs(c, 1, 2); err != nil {
				return err
			}
			r, err := runtime.Find(a.dirs, c.Args().First())
			if err != nil || c.NArg() == 1 {
				return err
			}
			port, protocol, _ := strings.Cut(c.Args().Get(1), "/")
			if protocol == "" {
				protocol = "tcp"
			}
			if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || protocol != "tcp" && protocol != "udp" && protocol != "sctp" {
				return usageError(c, fmt.Sprintf("invalid port %q: write a number from 1 to 65535, and /udp where it is not tcp", c.Args().Get(1)))
			}
			return hint.Wrap(fmt.Errorf("no public port '%s/%s' published for %s", port, protocol, r.Name), "run it with --network host, where its ports are the host's")
		},
	}
}
