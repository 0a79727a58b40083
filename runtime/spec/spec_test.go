package spec

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/runtime/caps"
	"codeberg.org/minipod/minipod/runtime/idmap"
)

var update = flag.Bool("update", false, "write the golden files anew")

const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// plain is what `minipod run alpine` asks for.
func plain() Options {
	return Options{
		ID: id, Capabilities: caps.Default, NoNewPrivileges: true,
		UIDs: idmap.Map{{Container: 0, Host: 1000, Size: 1}, {Container: 1, Host: 100000, Size: 65536}},
		GIDs: idmap.Map{{Container: 0, Host: 1000, Size: 1}, {Container: 1, Host: 100000, Size: 65536}},
	}
}

var alpine = ocispec.ImageConfig{
	Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	Cmd: []string{"/bin/sh"},
}

var nginx = ocispec.ImageConfig{
	User: "nginx", WorkingDir: "srv", Entrypoint: []string{"/entrypoint.sh"}, Cmd: []string{"nginx", "-g", "daemon off;"},
	Env: []string{"PATH=/nginx/bin:/bin", "NGINX_VERSION=1.27"}, StopSignal: "SIGQUIT",
	Labels: map[string]string{"maintainer": "nginx", "tier": "front"},
}

func TestGolden(t *testing.T) {
	full := plain()
	adj, umask := -5, uint32(0o27)
	full.Hostname, full.Args, full.Workdir, full.User, full.Terminal = "web", []string{"ls", "-l"}, "/work/./x", "33:33", true
	full.Env = []string{"NGINX_VERSION", "EXTRA=a=b", "PATH=/bin"}
	full.Mounts = []specs.Mount{
		{Destination: "/data/deep", Type: "bind", Source: "/srv/deep", Options: []string{"rbind", "ro", "rprivate"}},
		{Destination: "/data", Type: "bind", Source: "/srv", Options: []string{"rbind", "rw", "rprivate"}},
		{Destination: "/dev/shm", Type: "tmpfs", Options: []string{"nosuid", "size=1m"}},
	}
	full.ReadOnly, full.Capabilities, full.OOMScoreAdj, full.Umask = true, 1<<10, &adj, &umask
	full.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1024, Hard: 2048}}
	full.Labels = map[string]string{"tier": "back"}

	host := plain()
	host.HostNetwork, host.ShmSize, host.NoNewPrivileges = true, 1<<20, false
	host.UIDs, host.GIDs = host.UIDs[:1], host.GIDs[:1]

	hosts := plain()
	hosts.HostPID, hosts.HostIPC, hosts.HostQueues = true, true, true

	for _, c := range []struct {
		name    string
		image   ocispec.ImageConfig
		options Options
	}{
		{"alpine", alpine, plain()},
		{"nginx", nginx, plain()},
		{"all-options", nginx, full},
		{"host-network-one-id", alpine, host},
		{"host-pid-ipc", alpine, hosts},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Build(c.image, c.options)
			if err != nil {
				t.Fatal(err)
			}
			var text bytes.Buffer
			encoder := json.NewEncoder(&text)
			encoder.SetIndent("", "  ")
			if err := encoder.Encode(s); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", c.name+".json")
			if *update {
				if err := os.WriteFile(file, text.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(text.Bytes(), want) {
				t.Errorf("the specification is no longer that of %s; run the test with -update and read the difference:\n%s", file, text.Bytes())
			}
		})
	}
}

func TestCommand(t *testing.T) {
	shell, none := "/bin/sh", ""
	for _, c := range []struct {
		name       string
		image      ocispec.ImageConfig
		entrypoint *string
		args       string
		want       string
	}{
		{"image's both", nginx, nil, "", "/entrypoint.sh nginx -g daemon off;"},
		{"arguments replace cmd", nginx, nil, "nginx -t", "/entrypoint.sh nginx -t"},
		{"entrypoint drops cmd", nginx, &shell, "", "/bin/sh"},
		{"both replaced", nginx, &shell, "-c ls", "/bin/sh -c ls"},
		{"entrypoint taken away", nginx, &none, "ls", "ls"},
		{"nothing left", nginx, &none, "", ""},
		{"nothing there", ocispec.ImageConfig{}, nil, "", ""},
	} {
		o := plain()
		o.Entrypoint, o.Args = c.entrypoint, strings.Fields(c.args)
		s, err := Build(c.image, o)
		if c.want == "" {
			if err == nil || hint.Of(err) == "" || hint.ExitStatus(err, 0) != 125 {
				t.Errorf("%s: error %v, hint %q, exit status %d", c.name, err, hint.Of(err), hint.ExitStatus(err, 0))
			}
			continue
		}
		if err != nil || strings.Join(s.Process.Args, " ") != c.want {
			t.Errorf("%s: %v, %v; want %s", c.name, s, err, c.want)
		}
	}
}

func TestEnvironmentOfAStrangeImage(t *testing.T) {
	got := environment("box", false, []string{"A=1", "=x", "B", "A=2", "C=3"}, []string{"C", "HOSTNAME=other"})
	if want := []string{defaultPath, "HOSTNAME=other", "A=2"}; !slices.Equal(got, want) {
		t.Errorf("environment = %q, want %q", got, want)
	}
}

// An image's list of variables is as long as it likes: what a person waits for grows as it does, and not with its square. How long that is
// depends on the machine.
func TestEnvironmentOfAHugeImage(t *testing.T) {
	const times = 32
	list := make([]string, times*6_000)
	for i := range list {
		list[i] = "V" + strconv.Itoa(i) + "=x"
	}
	merge := func(list []string) time.Duration {
		best := time.Hour
		for range 3 { // of which other work on this machine may disturb two
			began := processorTime(t)
			if got := environment("box", false, list, list); len(got) != len(list)+2 {
				t.Fatalf("%d variables of %d", len(got), len(list))
			}
			best = min(best, processorTime(t)-began)
		}
		return best
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if short, long := merge(list[:len(list)/times]), merge(list); long > 20*times*short { // the map grows out of the processor's caches, which others want, too
		t.Errorf("%v, and %v for %d times as many", short, long, times)
	}
}

// processorTime is what this thread, to which the caller is locked, has had of a processor: other work on this machine does not count.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		t.Fatal(err)
	}
	return time.Duration(now.Nano())
}

func TestNULIsRefused(t *testing.T) {
	for _, image := range []ocispec.ImageConfig{
		{Cmd: []string{"ls\x00-l"}},
		{Cmd: []string{"ls"}, Env: []string{"A=\x00"}},
		{Cmd: []string{"ls"}, WorkingDir: "/a\x00"},
		{Cmd: []string{"ls"}, User: "root\x00"},
	} {
		if _, err := Build(image, plain()); err == nil || hint.ExitStatus(err, 0) != 125 {
			t.Errorf("%+v: error %v", image, err)
		}
	}
}

func TestMountOnDevReplacesWhatIsBelow(t *testing.T) {
	o := plain()
	o.Mounts = []specs.Mount{{Destination: "/dev/", Type: "bind", Source: "/dev"}}
	for _, m := range mounts(o) {
		if strings.HasPrefix(m.Destination, "/dev/") && m.Source != "/dev" {
			t.Errorf("%v is left", m)
		}
	}
}

// Nobody takes the kernel's /proc away: the runtime would believe what an image wrote there (CVE-2019-16884).
func TestProcStays(t *testing.T) {
	o := plain()
	o.Mounts = []specs.Mount{{Destination: "/proc", Type: "bind", Source: "/volume"}}
	if first := mounts(o)[0]; first.Destination != "/proc" || first.Type != "proc" {
		t.Errorf("the first mount is %v", first)
	}
}

func TestTheTablesStay(t *testing.T) {
	s, err := Build(alpine, plain())
	if err != nil {
		t.Fatal(err)
	}
	s.Linux.MaskedPaths[0] = "changed"
	if maskedPaths[0] == "changed" {
		t.Error("a caller who edits the specification edits everybody's")
	}
}

func BenchmarkBuild(b *testing.B) {
	for b.Loop() {
		if _, err := Build(alpine, plain()); err != nil {
			b.Fatal(err)
		}
	}
}

// TestIsHosts tells what comes with a namespace of the host's from a volume with the same source and target.
func TestIsHosts(t *testing.T) {
	none, all := plain(), plain()
	all.HostNetwork, all.HostPID, all.HostIPC, all.HostQueues = true, true, true, true
	for name, tt := range map[string]struct {
		options Options
		want    string
	}{"none": {none, ""}, "all": {all, "/proc /sys /dev/mqueue /dev/shm"}} {
		s, err := Build(alpine, tt.options)
		if err != nil {
			t.Fatal(err)
		}
		var marked []string
		for _, m := range append(s.Mounts, specs.Mount{Destination: "/data", Type: "bind", Source: "/data"}) {
			if IsHosts(s, m) {
				marked = append(marked, m.Destination)
			}
		}
		if got := strings.Join(marked, " "); got != tt.want {
			t.Errorf("%s: %s", name, got)
		}
		if IsHosts(s, specs.Mount{Destination: "/dev/shm", Type: "bind", Source: "/dev/shm"}) != (tt.want != "") {
			t.Errorf("%s: /dev/shm", name)
		}
	}
}
