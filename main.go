// Command minipod runs containers and Pods without root and without a daemon.
//
// This one binary plays every role, by its argv[1]; docs/architecture.md draws them. Two roles never come here: a
// sandbox (runtime/stage) and most of `minipod run` (cli/run) take their leave while the program still initialises.
package main

import (
	"os"

	"codeberg.org/minipod/minipod/cli"
	"codeberg.org/minipod/minipod/node"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/runtime/stage"
)

func main() {
	if args, ok := stage.EnterInside(os.Args); ok {
		os.Exit(cli.Inside(args))
	}
	if len(os.Args) > 1 && os.Args[1] == runtime.FuseVerb {
		os.Exit(cli.MountFuse(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == runtime.JoinVerb {
		os.Exit(cli.InContainer(os.Args[2:]))
	}
	if node.Born(os.Args) {
		os.Exit(cli.Node())
	}
	os.Exit(cli.Main(os.Args[1:]))
}
