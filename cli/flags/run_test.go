package flags

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/internal/hint"
)

// parse reads a line of space-separated words that must be right.
func parse(t *testing.T, line string) *Run {
	t.Helper()
	run, err := ParseRun(strings.Fields(line))
	if err != nil {
		t.Fatalf("%q: %v (%s)", line, err, hint.Of(err))
	}
	return run
}

func TestTableIsSortedAndComplete(t *testing.T) {
	if !slices.IsSortedFunc(runFlags, func(a, b runFlag) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the table isn't sorted by name")
	}
	shorts := map[string]bool{}
	for _, f := range runFlags {
		if f.Short != "" && shorts[f.Short] {
			t.Errorf("-%s stands for two flags", f.Short)
		}
		shorts[f.Short] = true
		if (f.Kind == Bool) != (f.Value == "") || f.Usage == "" {
			t.Errorf("--%s lacks a placeholder or a usage", f.Name)
		}
		switch target := f.target(&Run{}).(type) {
		case *bool, *string, *[]string, func(string) error:
		default:
			t.Errorf("--%s: assign doesn't know %T", f.Name, target)
		}
	}
}

func TestRunDefaults(t *testing.T) {
	want := &Run{Image: "alpine", NoNewPrivileges: true, Pull: "missing", Init: true, SigProxy: true, StopTimeout: 10}
	if got := parse(t, "alpine"); !reflect.DeepEqual(got, want) {
		t.Errorf("run = %+v, want %+v", got, want)
	}
}

func TestRunFlags(t *testing.T) {
	run := parse(t, "-dit --restart on-failure:3 --stop-signal hup --stop-timeout -1 -q --read-only --name web -w /a/../b -u 1:2 -h box --pull=never --platform linux/arm64 --net host"+
		" --cap-add NET_ADMIN --cap-drop ALL --security-opt no-new-privileges=false --security-opt seccomp=unconfined --pid private"+
		" --sig-proxy=false --oom-score-adj -7 --umask 077 --shm-size 1m --explain --step alpine ls -l --rm")
	adj, umask := -7, uint32(0o77)
	want := &Run{
		Image: "alpine", Args: []string{"ls", "-l", "--rm"}, Interactive: true, TTY: true, Remove: true, ReadOnly: true, Quiet: true,
		Name: "web", Workdir: "/b", User: "1:2", Hostname: "box", Pull: "never", Platform: "linux/arm64", Network: "host",
		CapAdd: []string{"NET_ADMIN"}, CapDrop: []string{"ALL"}, Seccomp: "unconfined", ShmSize: 1 << 20,
		OOMScoreAdj: &adj, Umask: &umask, Explain: "text", Step: true, Detach: true, StopSignal: 1, StopTimeout: -1,
		Restart: RestartPolicy{"on-failure", 3},
	}
	run.Remove = true // it excludes --restart
	if !reflect.DeepEqual(run, want) {
		t.Errorf("run = %+v, want %+v", run, want)
	}
	if run := parse(t, "--init=false alpine"); run.Init {
		t.Error("--init=false left Init on")
	}
	if run := parse(t, "alpine"); run.Entrypoint != nil {
		t.Error("without --entrypoint the image's counts")
	}
	if run := parse(t, "--entrypoint= alpine"); run.Entrypoint == nil || *run.Entrypoint != "" {
		t.Error(`--entrypoint="" is no entrypoint at all`)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("MINIPOD_TEST_SET", "from the caller")
	file := filepath.Join(t.TempDir(), "vars")
	text := "\ufeff# comment\n\n  A=1\r\nB = no\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ParseRun([]string{"--env-file", file, "img"}); err == nil || !strings.Contains(err.Error(), `line 4: invalid name "B "`) {
		t.Errorf("a name with a space: %v", err)
	}
	text = "\ufeff# comment\n\n  A=1\r\nQUOTED=\"kept\" # kept\nMINIPOD_TEST_SET\nMINIPOD_TEST_UNSET\nEMPTY=\nLAST=x=y"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := parse(t, "-e A=2 -e MINIPOD_TEST_SET -e MINIPOD_TEST_UNSET --env-file "+file+" --label-file "+file+" -l own img")
	want := []string{
		"A=1", `QUOTED="kept" # kept`, "MINIPOD_TEST_SET=from the caller", "EMPTY=", "LAST=x=y",
		"A=2", "MINIPOD_TEST_SET=from the caller", "MINIPOD_TEST_UNSET",
	}
	if !slices.Equal(run.Env, want) {
		t.Errorf("env = %q, want %q", run.Env, want)
	}
	want = []string{"A=1", `QUOTED="kept" # kept`, "MINIPOD_TEST_SET=", "MINIPOD_TEST_UNSET=", "EMPTY=", "LAST=x=y", "own="}
	if !slices.Equal(run.Labels, want) {
		t.Errorf("labels = %q, want %q", run.Labels, want)
	}
}

func TestMounts(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	bind := func(source, target string, options ...string) Mount {
		return Mount{Type: "bind", Source: source, Target: target, Options: options}
	}
	volume := func(name, target string, options ...string) Mount {
		return Mount{Type: "volume", Source: name, Target: target, Options: options}
	}
	noCopy := volume("data", "/d", "rbind", "rw", "rprivate")
	noCopy.NoCopy = true
	for _, c := range []struct {
		flag, value string
		want        Mount
	}{
		{"-v", "/a:/b", bind("/a", "/b", "rbind", "rw", "rprivate")},
		{"-v", "/a/../c:/b/", bind("/c", "/b", "rbind", "rw", "rprivate")},
		{"-v", "./x:/b:ro", bind(here+"/x", "/b", "rbind", "ro", "rprivate")},
		{"-v", ".:/b:rslave,ro,z", bind(here, "/b", "rbind", "ro", "rslave")},
		{"-v", "data:/d", volume("data", "/d", "rbind", "rw", "rprivate")},
		{"-v", "data:/d:nocopy", noCopy},
		{"-v", "/d", volume("", "/d", "rbind", "rw", "rprivate")},
		{"--mount", "type=bind,src=/a,dst=/b,readonly", bind("/a", "/b", "rbind", "ro", "rprivate")},
		{"--mount", "Type=bind,source=x,target=/b,ro=false,bind-propagation=shared,bind-nonrecursive", bind(here+"/x", "/b", "bind", "rw", "shared")},
		{"--mount", `type=bind,"src=/a,b",dst=/b`, bind("/a,b", "/b", "rbind", "rw", "rprivate")},
		{"--mount", "source=data,destination=/d,volume-nocopy", noCopy},
		{"--mount", "dst=/d", volume("", "/d", "rbind", "rw", "rprivate")},
		{"--mount", "tmpfs-size=1m,dst=/t,type=tmpfs,tmpfs-mode=1770,ro", Mount{
			Type: "tmpfs", Target: "/t", Options: []string{"nosuid", "nodev", "noexec", "size=1048576", "mode=1770", "ro"},
		}},
		{"--tmpfs", "/t", Mount{Type: "tmpfs", Target: "/t", Options: []string{"nosuid", "nodev", "noexec"}}},
		{"--tmpfs", "/t:rw,exec,size=64m,mode=1777", Mount{
			Type: "tmpfs", Target: "/t", Options: []string{"nosuid", "nodev", "noexec", "exec", "size=64m", "mode=1777"},
		}},
	} {
		run, err := ParseRun([]string{c.flag, c.value, "img"})
		if err != nil {
			t.Errorf("%s %s: %v", c.flag, c.value, err)
		} else if !reflect.DeepEqual(run.Mounts, []Mount{c.want}) {
			t.Errorf("%s %s = %+v, want %+v", c.flag, c.value, run.Mounts, c.want)
		}
	}
	if run := parse(t, "-v /a:/b:Z img"); len(run.Warnings) != 1 || !strings.Contains(run.Warnings[0], "Z is ignored") {
		t.Errorf("warnings = %q", run.Warnings)
	}
}

func TestValues(t *testing.T) {
	run := parse(t, "--ulimit nofile=1024:2048 --ulimit core=-1 --ulimit nofile=5 --add-host a:1.2.3.4 --add-host b=::1 --add-host c:[::2] img")
	limits := []Ulimit{{"core", Unlimited, Unlimited}, {"nofile", 5, 5}}
	if !reflect.DeepEqual(run.Ulimits, limits) {
		t.Errorf("ulimits = %v, want %v", run.Ulimits, limits)
	}
	hosts := []Host{{"a", "1.2.3.4"}, {"b", "::1"}, {"c", "::2"}}
	if !reflect.DeepEqual(run.AddHosts, hosts) {
		t.Errorf("hosts = %v, want %v", run.AddHosts, hosts)
	}
	for text, want := range map[string]int64{"5": 5, "5b": 5, "64k": 1 << 16, "1m": 1 << 20, "1G": 1 << 30, "2KiB": 2048, "1tb": 1 << 40} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "k", "1x", "1.5g", "9999999t", "1i", "1 k"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q) = %d", text, got)
		}
	}
}

func TestModes(t *testing.T) {
	run := parse(t, "--network container:web --ipc container:0123abcd --uts container:web --pid container:web img")
	if run.Network != "container:web" || run.IPC != "container:0123abcd" || run.UTS != "container:web" || run.PID != "container:web" || !run.Init {
		t.Errorf("%+v", run)
	}
	if name, ok := Joined(run.IPC); name != "0123abcd" || !ok {
		t.Errorf("%q, %v", name, ok)
	}
	if run = parse(t, "--pid host --ipc host img"); run.PID != "host" || run.IPC != "host" || !run.Init {
		t.Errorf("%+v", run)
	}
	run = parse(t, "--network host --ipc none --uts private --pid private img")
	if run.Network != "host" || run.IPC != "none" || run.UTS != "" || run.PID != "" || run.Init {
		t.Errorf("%+v", run)
	}
	if name, ok := Joined(run.Network); ok {
		t.Errorf("the host's network is %q's", name)
	}
}

func TestRunErrors(t *testing.T) {
	for _, c := range []struct{ in, err, hint string }{
		{"", "run needs an image", "minipod run alpine"},
		{"--rm --restart always img", "conflicting options: --rm and --restart", "leave one of them out"},
		{"--restart never img", `unknown value "never"`, "use no or always"},
		{"--restart always:3 img", `invalid restart policy "always:3"`, "on-failure:5"},
		{"--stop-signal NOPE img", "invalid signal: NOPE", "TERM"},
		{"--stop-timeout -2 img", "invalid value -2", "-1"},
		{"-y img", "unknown shorthand flag: 'y' in -y", "minipod run --help"},
		{"--volum /a img", "unknown flag: --volum", "did you mean --volume?"},
		{"--net moon img", `--network: unknown value "moon"`, "use pod or none or host"},
		{"--net container: img", `--network: invalid container name ""`, "minipod ps"},
		{"--net container:a/b img", `--network: invalid container name "a/b"`, "minipod ps"},
		{"--ipc shared img", `--ipc: unknown value "shared"`, "use shareable or private or none or host or container:NAME"},
		{"--uts host img", "--uts: the host's name", "--hostname"},
		{"--uts other img", `--uts: unknown value "other"`, "use private or container:NAME"},
		{"--pid other img", `--pid: unknown value "other"`, "use private or host or container:NAME"},
		{"--net container:a --hostname b img", "conflicting options: hostname and the network mode", "leave one"},
		{"--uts container:a --hostname b img", "conflicting options: hostname and the UTS mode", "leave one"},
		{"--net container:a --add-host b:1.2.3.4 img", "conflicting options: custom host-to-IP mapping and the network mode", "leave one"},
		{"--ipc container:a --shm-size 1m img", "conflicting options: --shm-size and the IPC mode", "leave one"},
		{"--pid container:a --init=false img", "conflicting options: --init=false and the PID mode", "leave one"},
		{"--pull sometimes img", `--pull: unknown value "sometimes"`, "use missing or always or never"},
		{"--ipc host --shm-size 1m img", "conflicting options: --shm-size and the IPC mode", "leave one"},
		{"--pid host --init=false img", "conflicting options: --init=false and the PID mode", "leave one"},
		{"--privileged img", "--privileged: there is no root", "--cap-add"},
		{"-w tmp img", `--workdir: the working folder "tmp" is not absolute`, "begin it with /"},
		{"--name a/b img", `--name: invalid container name "a/b"`, "letters"},
		{"-h a:b img", `--hostname: invalid host name "a:b"`, "letters"},
		{"--umask 9 img", `--umask: invalid umask "9"`, "octal"},
		{"--oom-score-adj 1001 img", "--oom-score-adj: invalid value 1001", "-1000"},
		{"--security-opt apparmor=x img", `--security-opt: unknown option "apparmor=x"`, "seccomp"},
		{"--ulimit nofiles=5 img", `--ulimit: unknown limit "nofiles"`, "did you mean nofile?"},
		{"--ulimit nofile=5:4 img", "--ulimit: nofile: the soft limit 5 is above the hard limit 4", "NAME=SOFT:HARD"},
		{"--ulimit nofile img", `--ulimit: invalid limit ""`, "NAME=SOFT"},
		{"--add-host a img", `--add-host: invalid host "a"`, "NAME:IP"},
		{"-e =x img", `--env: invalid variable "=x"`, "NAME=VALUE"},
		{"-l =x img", `--label: invalid label "=x"`, "NAME=VALUE"},
		{"--env-file /nonexistent img", "--env-file: open /nonexistent: no such file or directory", "check the name"},
		{"-v a/b:/c img", `--volume: invalid volume name "a/b"`, "./"},
		{"-v /a:b img", `--volume: mount target "b" is not absolute`, "begin it with /"},
		{"-v /a:/.. img", "--volume: the container's root", "below"},
		{"-v /a:/b:rx img", `--volume: unknown option "rx"`, "did you mean"},
		{"-v /a:/b:ro,rw img", "ro and rw", "keep one"},
		{"-v /a:/b:c:d img", "too many colons", "--mount"},
		{"-v :/b img", "the source is empty", "TARGET alone"},
		{"-v /a:/b -v /c:/b/ img", "duplicate mount point: /b", "one thing"},
		{"--mount type=npipe,dst=/a img", `--mount: unknown mount type "npipe"`, "type=bind"},
		{"--mount type=bind,dst=/a img", "--mount: a bind mount needs a source", "source=PATH"},
		{"--mount type=bind,src=/a img", "--mount: a mount needs a target", "target=PATH"},
		{"--mount dst=/a,sorce=b img", `--mount: unknown key "sorce"`, "did you mean source?"},
		{"--mount type=tmpfs,src=/a,dst=/b img", "--mount: a tmpfs has no source", "type=bind"},
		{"--mount dst=/a,tmpfs-size=1m img", "--mount: tmpfs-size doesn't go with type=volume", "type=tmpfs"},
		{"--mount dst=/a,ro=maybe img", `--mount: invalid value "maybe" for ro`, "ro=false"},
		{"--tmpfs /a:size=big img", `--tmpfs: invalid option "size=big"`, "size=64m"},
		{"--tmpfs /a:nosiud img", `--tmpfs: unknown option "nosiud"`, "did you mean nosuid?"},
	} {
		t.Run(fmt.Sprintf("%q", c.in), func(t *testing.T) {
			run, err := ParseRun(strings.Fields(c.in))
			if err == nil {
				t.Fatalf("no error: %+v", run)
			}
			if !strings.Contains(err.Error(), c.err) || !strings.Contains(hint.Of(err), c.hint) {
				t.Errorf("%v with hint %q; want %s with %s", err, hint.Of(err), c.err, c.hint)
			}
			if status := hint.ExitStatus(err, 0); status != 125 {
				t.Errorf("exit status %d, want 125", status)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is more than a line", err)
			}
		})
	}
}

func BenchmarkParseRun(b *testing.B) {
	line := strings.Fields("--rm --network none -v /a:/b -e A=1 alpine true")
	for b.Loop() {
		if _, err := ParseRun(line); err != nil {
			b.Fatal(err)
		}
	}
}
