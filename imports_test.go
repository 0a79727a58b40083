package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "codeberg.org/minipod/minipod"

// runPath are the packages that `minipod run` starts with, before main's heavier ones initialise. Each
// millisecond of theirs is a millisecond of every container's start.
var runPath = []string{
	"cli/flags", "cli/run", "config", "events", "image/layer", "image/reference", "image/store", "internal/dbus", "internal/hint", "internal/jsonl", "internal/lang",
	"internal/linux", "internal/nearest", "internal/wire", "kube/event", "kube/store", "logs", "node", "pod", "pod/volume", "reaper", "rootfs", "runtime", "runtime/caps", "runtime/cgroup", "runtime/idmap",
	"runtime/seccomp/cache", "runtime/spec", "runtime/stage", "runtime/userns", "state", "supervisor", "volume",
}

// An importRule forbids some packages to import some others, for a reason.
type importRule struct {
	from   func(pkg string) bool
	forbid []string // import paths, or prefixes ending in /
	why    string
}

var importRules = []importRule{
	{
		not("internal/linux", "runtime/stage", "reaper"),
		[]string{"golang.org/x/sys/unix"},
		"raw system calls live in internal/linux, where EINTR and CLOEXEC are dealt with once",
	},
	{
		is(runPath...),
		[]string{
			"net", "net/http", "crypto/tls", "regexp", "text/template", "html/template", "github.com/google/go-containerregistry/",
			"github.com/urfave/", "github.com/moby/profiles/", "github.com/elastic/", "github.com/klauspost/", "sigs.k8s.io/", "k8s.io/",
			"github.com/miekg/", "gvisor.dev/", "github.com/google/nftables", "github.com/vishvananda/",
		},
		"it is linked before main in `minipod run`, where each package's initialisation is weighed",
	},
	{
		not("kube/manifest", "kube/print", "kube/selector"),
		[]string{"k8s.io/"},
		"Kubernetes' types take more than a millisecond to initialise: kube/manifest alone knows them, kube/print and kube/selector some of their words, and what uses those starts after main",
	},
	{
		is("runtime/stage", "rootfs", "reaper", "internal/linux", "runtime/caps"),
		[]string{"github.com/opencontainers/"},
		"it runs inside every container's PID 1, which idles below 1 MB",
	},
	{
		is("reaper"),
		[]string{"os/exec"},
		"in PID 1 the reaper alone waits; os/exec would wait behind its back",
	},
	{
		not(".", "cli", "cli/"),
		[]string{module + "/cli"},
		"libraries return errors; only cli prints and exits",
	},
	{
		is("state", "internal/hint"),
		[]string{module + "/image/", module + "/runtime", module + "/runtime/", module + "/rootfs", module + "/reaper", module + "/volume", module + "/internal/linux"},
		"everything stands on it",
	},
	{
		is("image/layer", "image/reference", "image/store", "image/registry", "image"),
		[]string{module + "/runtime", module + "/runtime/", module + "/rootfs", module + "/reaper"},
		"images know nothing of processes",
	},
	{
		is("internal/linux", "reaper", "rootfs"),
		[]string{module + "/image/", module + "/runtime", module + "/runtime/", module + "/volume"},
		"it is the ground that runtime stands on",
	},
}

func is(pkgs ...string) func(string) bool {
	return func(pkg string) bool {
		return slices.ContainsFunc(pkgs, func(p string) bool { return pkg == p || strings.HasSuffix(p, "/") && strings.HasPrefix(pkg, p) })
	}
}

func not(pkgs ...string) func(string) bool {
	in := is(pkgs...)
	return func(pkg string) bool { return !in(pkg) }
}

// TestImports holds the rules of the design: which package may import which, and why.
func TestImports(t *testing.T) {
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (name == ".git" || name == ".cache" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(name))
		stdRuntime, ourRuntime := false, false
		for _, spec := range f.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			stdRuntime = stdRuntime || imported == "runtime"
			ourRuntime = ourRuntime || imported == module+"/runtime"
			if spec.Name != nil && spec.Name.Name == "_" {
				if imported != "unsafe" && imported != "embed" { // go:linkname and go:embed need those two
					t.Errorf("%s imports %s for its side effect, which hides work in every process that links it", name, imported)
				}
			}
			for _, r := range importRules {
				if r.from(pkg) && slices.ContainsFunc(r.forbid, func(p string) bool {
					return imported == p || strings.HasSuffix(p, "/") && strings.HasPrefix(imported, p)
				}) {
					t.Errorf("%s may not import %s: %s", name, imported, r.why)
				}
			}
		}
		if stdRuntime && ourRuntime {
			t.Errorf("%s imports the standard library's runtime and ours; nobody can read that", name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
