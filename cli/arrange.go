package cli

import (
	"errors"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/nearest"
)

// arrange rewrites a command line as docker reads it into one that urfave/cli reads.
//
// Docker lets flags follow arguments (`rmi alpine -f`), joins short ones (`-af`, `-ojson`) and ends them at `--`. The
// std flag package below urfave/cli ends them at the first argument and knows no joined ones. So our own parser, the
// one of run, reads the flags, and each goes on as --name=value in front of the arguments. Verbs with
// SkipFlagParsing (run) parse for themselves, and get what follows their name as it is.
func arrange(tree *urfave.App, args []string) ([]string, error) {
	var out []string
	path, known, verbs := tree.Name, tree.Flags, tree.Commands
	for {
		// Above a verb the first argument is its name, so flags come before it; below the last verb they mix.
		before, rest, err := splitFlags(flagTable(known), args, len(verbs) == 0)
		switch {
		case errors.Is(err, flags.ErrHelp):
			return append(out, "--help"), nil
		case err != nil:
			return nil, badUsage(err, "run `"+path+" --help`")
		}
		out = append(out, before...)
		if len(verbs) == 0 {
			return append(append(out, "--"), rest...), nil
		}
		if len(rest) == 0 {
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
		path, known, verbs = path+" "+verb.Name, verb.Flags, verb.Subcommands
	}
}

// splitFlags takes the flags out of args, in their --name=value form. Where mixed is false it ends at the first
// argument that is none.
func splitFlags(table []flags.Flag, args []string, mixed bool) (found, arguments []string, err error) {
	for {
		settings, rest, err := flags.Parse(table, args)
		if err != nil {
			return nil, nil, err
		}
		for _, s := range settings {
			if s.Flag.Kind == flags.Optional && s.Value == "" {
				found = append(found, "--"+s.Flag.Name)
				continue
			}
			found = append(found, "--"+s.Flag.Name+"="+s.Value)
		}
		parsed := len(args) - len(rest)
		if ended := parsed > 0 && args[parsed-1] == "--"; ended || !mixed || len(rest) == 0 {
			return found, append(arguments, rest...), nil
		}
		arguments, args = append(arguments, rest[0]), rest[1:]
	}
}

// flagTable describes urfave/cli's flags to our parser, and to help. The word in backquotes in a flag's usage is the
// name of its value.
func flagTable(known []urfave.Flag) []flags.Flag {
	table := make([]flags.Flag, 0, len(known))
	for _, flag := range known {
		if ours, ok := flag.(tableFlag); ok {
			table = append(table, ours.Flag)
			continue
		}
		f := flags.Flag{Kind: flags.Strings}
		for _, name := range flag.Names() {
			if len(name) == 1 {
				f.Short = name
			} else {
				f.Name = name
			}
		}
		if documented, ok := flag.(urfave.DocGenerationFlag); ok {
			before, quoted, _ := strings.Cut(documented.GetUsage(), "`")
			value, after, _ := strings.Cut(quoted, "`")
			f.Usage, f.Value = before+value+after, value
			if !documented.TakesValue() {
				f.Kind = flags.Bool
			} else {
				f.Default = documented.GetDefaultText()
			}
		}
		if generic, ok := flag.(*urfave.GenericFlag); ok {
			if optional, ok := generic.Value.(interface{ IsBoolFlag() bool }); ok && optional.IsBoolFlag() {
				f.Kind, f.Default = flags.Optional, ""
			}
		}
		table = append(table, f)
	}
	return table
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
		names = append(names, verb.Names()...)
	}
	language := language()
	advice := language.Say("run `%s --help` to see the verbs there are", path)
	if near := nearest.Name(name, names); near != "" {
		advice = language.Say("run `%s %s`, if you meant that", path, near)
	}
	return badUsage(&translatedError{errors.New(language.Say("unknown command: %s %s", path, name)), language}, advice)
}

// badUsage is an error of whoever typed: docker's exit status for it is 125, whatever the verb. Advice that err has
// already is better than ours.
func badUsage(err error, advice string) error {
	if hint.Of(err) == "" {
		err = hint.Wrap(err, advice)
	}
	return hint.Exit(err, hint.ExitRuntime)
}

func usageError(c *urfave.Context, text string) error {
	return badUsage(errors.New(text), "run `"+c.Command.HelpName+" --help`")
}

// onUsageError is called for values that urfave/cli cannot parse.
func onUsageError(c *urfave.Context, err error, _ bool) error { return usageError(c, err.Error()) }
