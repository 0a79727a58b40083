package cli

import (
	"context"
	"os"

	"codeberg.org/minipod/minipod/cli/run"
	"codeberg.org/minipod/minipod/image/layer"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/runtime"
)

// Inside runs what another minipod asked for in the user's namespace: one of our own verbs, which people never type, or any
// other. It returns the exit status.
func Inside(args []string) int {
	if len(args) > 2 && args[0] == run.FlattenVerb {
		return status(layer.Flatten(context.Background(), args[1], args[2:]))
	}
	if len(args) > 2 && args[0] == run.GroupVerb {
		return status(run.SetGroup(args[1], args[2:]))
	}
	if len(args) == 3 && args[0] == copyVerb {
		return copyStoppedFiles(args[1], args[2])
	}
	if len(args) == 2 {
		switch verb, argument := args[0], args[1]; verb {
		case run.RemoveVerb:
			return status(runtime.RemoveTree(argument))
		case run.ReadVerb:
			return status(run.ReadFile(argument))
		case run.CompileVerb:
			return status(run.CompileSeccomp(argument, &run.Parts{Compile: compileSeccomp}))
		case run.ProbeVerb:
			return status(run.ProbeStorage(argument))
		}
	}
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, args: args, inside: true}
	return a.start()
}

// MountFuse is `minipod mount-fuse`, which joined a sandbox's namespaces.
func MountFuse(args []string) int { return status(runtime.MountFuse(args)) }

func status(err error) int {
	if err == nil {
		return 0
	}
	hint.Print(os.Stderr, err)
	return hint.ExitStatus(err, hint.ExitRuntime)
}
