package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	urfave "github.com/urfave/cli/v2"
)

// Version is stamped by the linker: make builds with -ldflags "-X …/cli.Version=v1.2.3". Nothing assigns it.
var Version = "unstamped"

// versionRecord is `minipod version`, in docker's words.
type versionRecord struct {
	Client clientVersion
}

type clientVersion struct {
	Version   string
	GoVersion string
	GitCommit string
	BuildTime string `json:",omitempty"` // when the commit was made: builds are reproducible
	Os        string
	Arch      string
}

func thisVersion() clientVersion {
	v := clientVersion{Version: Version, GoVersion: runtime.Version(), GitCommit: "unknown", Os: runtime.GOOS, Arch: runtime.GOARCH}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	modified := false
	for _, setting := range build.Settings {
		switch setting.Key {
		case "vcs.revision":
			v.GitCommit = setting.Value[:min(12, len(setting.Value))]
		case "vcs.time":
			v.BuildTime = setting.Value
		case "vcs.modified":
			modified = setting.Value == "true"
		}
	}
	if modified {
		v.GitCommit += "-modified"
	}
	return v
}

func (a *app) versionVerb() *urfave.Command {
	return &urfave.Command{
		Name: "version", Usage: "Print the version", Category: groupMachine,
		Description: examples("minipod version", "minipod version -o json", "minipod version --format '{{.Client.Version}}'"),
		Flags:       recordFlags(),
		Action: func(c *urfave.Context) error {
			if err := checkArgs(c, 0, 0); err != nil {
				return err
			}
			v := thisVersion()
			return a.printRecord(c, versionRecord{v}, func() {
				fmt.Fprintf(a.out, "Client: minipod\n Version:    %s\n Go version: %s\n Git commit: %s\n", v.Version, v.GoVersion, v.GitCommit)
				if v.BuildTime != "" {
					fmt.Fprintf(a.out, " Built:      %s\n", v.BuildTime)
				}
				fmt.Fprintf(a.out, " OS/Arch:    %s/%s\n", v.Os, v.Arch)
			})
		},
	}
}

// printVersionLine is `minipod --version`.
func (a *app) printVersionLine() error {
	v := thisVersion()
	_, err := fmt.Fprintf(a.out, "minipod version %s, build %s\n", v.Version, v.GitCommit)
	return err
}

// recordFlags are the flags of verbs that print one object.
func recordFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "print as `FORM`: json or yaml"},
		&urfave.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "print by a Go `TEMPLATE`; \"json\" prints an object"},
	}
}

// printRecord prints record as the flags ask, or for a person by human.
func (a *app) printRecord(c *urfave.Context, record any, human func()) error {
	output, format := c.String("output"), c.String("format")
	switch {
	case output == "" && format == "":
		human()
		return nil
	case output != "" && format != "":
		return usageError(c, "--output and --format exclude each other")
	case format != "":
		return printInspect(a.out, []any{record}, format)
	case output == "json" || output == "yaml":
		return printRecords(a.out, output, record)
	}
	return usageError(c, fmt.Sprintf("unknown output form %q: use json or yaml", output))
}
