package cli

import (
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"
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

// flagHelp is a flag's line in a help text, in docker's layout: "-o, --output FORM", a tab, what it does. The word
// in backquotes in a flag's usage is the name of its value.
func flagHelp(flag urfave.Flag) string {
	documented, ok := flag.(urfave.DocGenerationFlag)
	if !ok {
		return "      --" + strings.Join(flag.Names(), ", --")
	}
	short, long := "    ", ""
	for _, name := range flag.Names() {
		if len(name) == 1 {
			short = "-" + name + ", "
		} else if long == "" {
			long = "--" + name
		}
	}
	usage := documented.GetUsage()
	if before, rest, quoted := strings.Cut(usage, "`"); quoted {
		value, after, _ := strings.Cut(rest, "`")
		usage, long = before+value+after, long+" "+value
	}
	if value := documented.GetDefaultText(); takesValue(flag) && value != "" {
		usage += fmt.Sprintf(" (default %s)", value)
	}
	return "  " + short + long + "\t" + usage
}
