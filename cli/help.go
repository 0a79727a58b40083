package cli

import (
	"flag"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/cli/flags"
)

// appHelp and verbHelp are how help looks: usage first, examples before flags.
const appHelp = `Usage: minipod [flags] VERB [flags] [arguments]

minipod runs containers and pods as you, without root and without a daemon.

  minipod run --rm alpine echo hi      pull an image and run a command in it
  minipod run -it alpine sh            a shell, with job control
  minipod run --explain alpine true    tell every step on the way
  minipod doctor                       what this machine needs, and how to get it
{{range .VisibleCategories}}{{if .Name}}
{{.Name}}:{{range .VisibleCommands}}
  {{.Name}}{{"\t"}}{{.Usage}}{{end}}
{{end}}{{end}}
Flags:{{range .VisibleFlags}}
{{.}}{{end}}

Run "minipod VERB --help" for more about a verb.
`

const verbHelp = `Usage: {{.HelpName}}{{if .Subcommands}} VERB{{end}}{{if .VisibleFlags}} [flags]{{end}}{{if .ArgsUsage}} {{.ArgsUsage}}{{end}}

{{.Usage}}.
{{if .Description}}
{{.Description}}
{{end}}{{if .VisibleCommands}}
Verbs:{{range .VisibleCommands}}
  {{.Name}}{{"\t"}}{{.Usage}}{{end}}
{{end}}{{if .VisibleFlags}}
Flags:{{range .VisibleFlags}}
{{.}}{{end}}
{{end}}`

// examples is the part of a verb's help that people read first.
func examples(lines ...string) string {
	return "Examples:\n  " + strings.Join(lines, "\n  ")
}

// flagHelp is a flag's line in a help text, in docker's layout: "-o, --output FORM", a tab, what it does.
func flagHelp(flag urfave.Flag) string { return flagLine(flagTable([]urfave.Flag{flag})[0]) }

func flagLine(f flags.Flag) string {
	short := "    "
	if f.Short != "" {
		short = "-" + f.Short + ", "
	}
	value := " " + f.Value
	switch {
	case f.Kind == flags.Optional && f.Value != "":
		value = "[=" + f.Value + "]"
	case f.Value == "":
		value = ""
	}
	usage := f.Usage
	if f.Default != "" {
		usage += fmt.Sprintf(" (default %s)", f.Default)
	}
	return "  " + short + "--" + f.Name + value + "\t" + usage
}

// A tableFlag shows a flag of our own table (run's) to urfave/cli's help. It is never parsed there.
type tableFlag struct{ flags.Flag }

func (f tableFlag) String() string            { return flagLine(f.Flag) }
func (f tableFlag) Names() []string           { return []string{f.Name} }
func (f tableFlag) Apply(*flag.FlagSet) error { return nil }
func (f tableFlag) IsSet() bool               { return false }
func (f tableFlag) IsVisible() bool           { return true }
