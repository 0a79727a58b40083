package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/internal/hint"
)

// arrange rewrites a command line as docker reads it into one that urfave/cli reads.
//
// Docker lets flags follow arguments (`rmi alpine -f`), joins short ones (`-af`, `-ojson`) and stops at `--`. The
// std flag package below urfave/cli stops at the first argument and knows no joined flags. So each flag becomes
// --name=value, in front of the arguments, and unknown ones are answered here, with the nearest name.
// Verbs with SkipFlagParsing (run) parse for themselves, and get what follows their name as it is.
func arrange(tree *urfave.App, args []string) ([]string, error) {
	var out []string
	path, flags, verbs := tree.Name, tree.Flags, tree.Commands
	for {
		// Above a verb the first argument is its name, so flags come before it; below the last verb they mix.
		before, rest, err := splitFlags(path, flags, args, len(verbs) == 0)
		if err != nil {
			return nil, err
		}
		out = append(out, before...)
		if len(verbs) == 0 {
			return append(append(out, "--"), rest...), nil
		}
		if len(rest) == 0 || slices.Contains(before, "--help=true") || slices.Contains(before, "--h=true") {
			return out, nil
		}
		verb := find(verbs, rest[0])
		if verb == nil {
			return nil, unknownVerb(path, rest[0], verbs)
		}
		out, args = append(out, rest[0]), rest[1:]
		if verb.SkipFlagParsing {
			return append(out, args...), nil
		}
		path, flags, verbs = path+" "+verb.Name, verb.Flags, verb.Subcommands
	}
}

// splitFlags takes the flags out of args, in their --name=value form. Where mixed is false it ends at the first
// argument that is none.
func splitFlags(path string, flags []urfave.Flag, args []string, mixed bool) (found, rest []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			return found, append(rest, args...), nil
		case len(arg) < 2 || arg[0] != '-': // "-" alone is a file: standard input
			rest = append(rest, arg)
			if !mixed {
				return found, append(rest, args...), nil
			}
		case arg[1] == '-':
			var flag string
			if flag, args, err = longFlag(path, flags, arg, args); err != nil {
				return nil, nil, err
			}
			found = append(found, flag)
		default:
			var joined []string
			if joined, args, err = shortFlags(path, flags, arg, args); err != nil {
				return nil, nil, err
			}
			found = append(found, joined...)
		}
	}
	return found, rest, nil
}

// longFlag reads --name, --name=value or --name value.
func longFlag(path string, flags []urfave.Flag, arg string, args []string) (string, []string, error) {
	name, value, given := strings.Cut(arg[2:], "=")
	flag := lookup(flags, name)
	switch {
	case flag == nil || len(name) == 1: // std's flag package would take --f for -f, docker does not
		return "", nil, unknownFlag(path, flags, "unknown flag: --"+name, name)
	case given:
	case !takesValue(flag):
		value = "true"
	case len(args) == 0:
		return "", nil, seeHelp(path, "flag needs an argument: --"+name)
	default:
		value, args = args[0], args[1:]
	}
	return "--" + name + "=" + value, args, nil
}

// shortFlags reads -a, -af, -ojson, -o=json and -o json.
func shortFlags(path string, flags []urfave.Flag, arg string, args []string) (found, left []string, err error) {
	for i := 1; i < len(arg); i++ {
		name := arg[i : i+1]
		flag := lookup(flags, name)
		if flag == nil {
			text := fmt.Sprintf("unknown shorthand flag: %q in %s", name, arg)
			return nil, nil, unknownFlag(path, flags, text, strings.TrimLeft(arg, "-"))
		}
		if !takesValue(flag) {
			if value, given := strings.CutPrefix(arg[i+1:], "="); given {
				return append(found, "--"+name+"="+value), args, nil
			}
			found = append(found, "--"+name+"=true")
			continue
		}
		value := strings.TrimPrefix(arg[i+1:], "=")
		if value == "" {
			if len(args) == 0 {
				return nil, nil, seeHelp(path, fmt.Sprintf("flag needs an argument: %q in %s", name, arg))
			}
			value, args = args[0], args[1:]
		}
		return append(found, "--"+name+"="+value), args, nil
	}
	return found, args, nil
}

// lookup finds the flag of that name; help is one of every verb.
func lookup(flags []urfave.Flag, name string) urfave.Flag {
	for _, flag := range flags {
		if slices.Contains(flag.Names(), name) {
			return flag
		}
	}
	if name == "help" || name == "h" {
		return &urfave.BoolFlag{Name: "help", Aliases: []string{"h"}}
	}
	return nil
}

// takesValue tells flags with a value from switches. A flag with an optional value (--explain[=json]) is a switch
// here, as it is for docker: its value needs the "=".
func takesValue(flag urfave.Flag) bool {
	if optional, ok := flag.(interface{ IsBoolFlag() bool }); ok && optional.IsBoolFlag() {
		return false
	}
	if generic, ok := flag.(*urfave.GenericFlag); ok {
		if optional, ok := generic.Value.(interface{ IsBoolFlag() bool }); ok {
			return !optional.IsBoolFlag()
		}
	}
	documented, ok := flag.(urfave.DocGenerationFlag)
	return !ok || documented.TakesValue()
}

func find(verbs []*urfave.Command, name string) *urfave.Command {
	for _, verb := range verbs {
		if verb.HasName(name) {
			return verb
		}
	}
	return nil
}

// unknownVerb is the answer to a verb that does not exist, with the nearest that does.
func unknownVerb(path, name string, verbs []*urfave.Command) error {
	var names []string
	for _, verb := range verbs {
		if !verb.Hidden {
			names = append(names, verb.Names()...)
		}
	}
	advice := "run `" + path + " --help` to see the verbs there are"
	if near := nearest(name, names); near != "" {
		advice = "run `" + path + " " + near + "`, if you meant that"
	}
	return badUsage(fmt.Errorf("unknown command: %s %s", path, name), advice)
}

func unknownFlag(path string, flags []urfave.Flag, text, name string) error {
	var names []string
	for _, flag := range flags {
		names = append(names, flag.Names()...)
	}
	if near := nearest(name, names); near != "" {
		return badUsage(errors.New(text), "use --"+near+", if you meant that; `"+path+" --help` lists all")
	}
	return seeHelp(path, text)
}

// nearest returns the name that is a slip of the finger away from typed, or "".
func nearest(typed string, names []string) string {
	best, distance := "", 1+(len(typed)+1)/3 // one slip in three letters
	for _, name := range names {
		if d := editDistance(typed, name); d < distance && len(name) > 1 {
			best, distance = name, d
		}
	}
	return best
}

// editDistance is Levenshtein's, with a swap of neighbours as one slip.
func editDistance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// badUsage is an error of whoever typed: docker's exit status for it is 125, whatever the verb.
func badUsage(err error, advice string) error {
	return hint.Exit(hint.Wrap(err, advice), hint.ExitRuntime)
}

func seeHelp(path, text string) error {
	return badUsage(errors.New(text), "run `"+path+" --help`")
}

func usageError(c *urfave.Context, text string) error { return seeHelp(c.Command.HelpName, text) }

// onUsageError is called for values that urfave/cli cannot parse, as in --flag=true=false.
func onUsageError(c *urfave.Context, err error, _ bool) error {
	path := "minipod"
	if c.Command != nil && c.Command.HelpName != "" {
		path = c.Command.HelpName
	}
	return badUsage(err, "run `"+path+" --help`")
}
