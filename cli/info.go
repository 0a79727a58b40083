package cli

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/config"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/runtime/idmap"
	"codeberg.org/minipod/minipod/volume"
)

// infoRecord is `minipod info`: where things are, what this machine gives us, what the user configured.
type infoRecord struct {
	ServerVersion string
	Data          string
	RunFolder     string
	ConfigFile    string
	Containers    int
	Images        int
	Volumes       int
	Driver        string
	KernelVersion string
	OSType        string
	Architecture  string
	NCPU          int
	CgroupVersion string
	Namespaces    []string
	User          string
	UIDMap        idmap.Map
	GIDMap        idmap.Map
	Unqualified   string
	Registries    map[string]config.Registry
	Warnings      []string
}

func (a *app) infoVerb() *urfave.Command {
	return &urfave.Command{
		Name: "info", Usage: "Print where things are kept and what this machine offers", Category: groupMachine,
		Description: "For what is missing and how to get it, run `minipod doctor`.\n\n" +
			examples("minipod info", "minipod info -o json", "minipod info -f '{{.Data}}'"),
		Flags: recordFlags(),
		Action: func(c *urfave.Context) error {
			if err := checkArgs(c, 0, 0); err != nil {
				return err
			}
			record, err := a.info()
			if err != nil {
				return err
			}
			return a.printRecord(c, record, func() { a.printInfo(record) })
		},
	}
}

func (a *app) info() (*infoRecord, error) {
	settings, err := config.Load(a.dirs)
	if err != nil {
		return nil, err
	}
	r := &infoRecord{
		ServerVersion: Version, Data: a.dirs.Data, RunFolder: a.dirs.Run, ConfigFile: settings.File(),
		Driver: settings.Storage.Driver, OSType: runtime.GOOS, Architecture: runtime.GOARCH, NCPU: runtime.NumCPU(),
		CgroupVersion: cgroupVersion(os.Stat), Namespaces: namespaces(), User: fmt.Sprintf("%d:%d", os.Geteuid(), os.Getegid()),
		Unqualified: settings.Unqualified, Registries: settings.Registries, Warnings: []string{},
	}
	if r.KernelVersion, err = linux.KernelRelease(); err != nil {
		return nil, err
	}
	uids, gids, warning, err := idmap.ForUser(os.Geteuid(), os.Getegid())
	for _, w := range []error{warning, err} { // info still answers where containers cannot run
		if w != nil {
			r.Warnings = append(r.Warnings, w.Error())
		}
	}
	r.UIDMap, r.GIDMap = uids, gids
	if r.Images, r.Containers, err = a.counts(); err != nil {
		return nil, err
	}
	volumes, err := volume.Open(a.dirs).List()
	r.Volumes = len(volumes)
	return r, err
}

func (a *app) printInfo(r *infoRecord) {
	w := tabwriter.NewWriter(a.out, 0, 8, 1, ' ', 0)
	defer w.Flush()
	line := func(title, format string, v ...any) { fmt.Fprintf(w, title+":\t"+format+"\n", v...) }
	line("Version", "%s", r.ServerVersion)
	line("Data", "%s", r.Data)
	line("Run", "%s", r.RunFolder)
	line("Configuration", "%s", r.ConfigFile)
	line("Containers", "%d", r.Containers)
	line("Images", "%d", r.Images)
	line("Volumes", "%d", r.Volumes)
	line("Storage driver", "%s", r.Driver)
	line("Kernel", "%s", r.KernelVersion)
	line("OS/Arch", "%s/%s", r.OSType, r.Architecture)
	line("CPUs", "%d", r.NCPU)
	line("Cgroup version", "%s", r.CgroupVersion)
	line("Namespaces", "%s", strings.Join(r.Namespaces, " "))
	line("User", "%s", r.User)
	line("User ids", "%s", describeMap(r.UIDMap))
	line("Group ids", "%s", describeMap(r.GIDMap))
	line("Registry of short names", "%s", r.Unqualified)
	for _, host := range slices.Sorted(maps.Keys(r.Registries)) {
		registry := r.Registries[host]
		text := "mirrors " + strings.Join(registry.Mirrors, ", ")
		if len(registry.Mirrors) == 0 {
			text = "no mirrors"
		}
		if registry.Insecure {
			text += "; insecure"
		}
		line("Registry "+host, "%s", text)
	}
	for _, warning := range r.Warnings {
		line("WARNING", "%s", warning)
	}
}

// describeMap prints an id map as "0 is 1000, 1-65536 are 100000-165535".
func describeMap(m idmap.Map) string {
	var parts []string
	for _, r := range m {
		if r.Size == 1 {
			parts = append(parts, fmt.Sprintf("%d is %d", r.Container, r.Host))
			continue
		}
		parts = append(parts, fmt.Sprintf("%d-%d are %d-%d", r.Container, r.Container+r.Size-1, r.Host, r.Host+r.Size-1))
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// cgroupVersion looks for the files that only a cgroup2 mount has, where systemd puts it. "hybrid" is version 1
// with an empty version 2 beside it: limits do not work there.
func cgroupVersion(stat func(string) (os.FileInfo, error)) string {
	for _, at := range []struct{ file, version string }{
		{"/sys/fs/cgroup/cgroup.controllers", "2"},
		{"/sys/fs/cgroup/unified/cgroup.controllers", "1 (hybrid)"},
		{"/sys/fs/cgroup/memory", "1"},
	} {
		if _, err := stat(at.file); err == nil {
			return at.version
		}
	}
	return "none"
}

// namespaces lists the kinds that this kernel has.
func namespaces() []string {
	var kinds []string
	entries, err := os.ReadDir("/proc/self/ns")
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), "_for_children") {
			kinds = append(kinds, entry.Name())
		}
	}
	return kinds
}

// hostPlatform is this machine's, as images name theirs.
func hostPlatform() string { return runtime.GOOS + "/" + runtime.GOARCH }
