package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"codeberg.org/minipod/minipod/config"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/runtime/idmap"
	"codeberg.org/minipod/minipod/state"
)

// A host is an Env whose files are in a folder of the test's.
type host struct {
	*testing.T
	Env
}

// healthy is a Debian machine on which every check passes.
func healthy(t *testing.T) host {
	h := host{t, Env{Root: t.TempDir(), UID: 1000, GID: 1000, User: "mia", Exe: "/usr/local/bin/minipod"}}
	for name, content := range map[string]string{
		"/etc/os-release":                        "ID=debian\n",
		"/proc/sys/kernel/osrelease":             "6.1.0-18-amd64\n",
		"/proc/sys/kernel/seccomp/actions_avail": "kill_process kill_thread trap errno user_notif trace log allow\n",
		"/proc/self/status":                      "Name:\tminipod\nNoNewPrivs:\t0\nSeccomp:\t0\n",
		"/proc/self/cgroup":                      "0::/user.slice/user-1000.slice/session-1.scope\n",
		"/proc/self/mountinfo":                   wholeProc + binfmt,
		"/run/systemd/system/x":                  "",
		"/var/lib/systemd/linger/mia":            "",
		"/home/mia/x":                            "",
		"/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers": "cpu memory pids\n",
	} {
		h.write(name, content)
	}
	for _, name := range []string{"/usr/bin/newuidmap", "/usr/bin/newgidmap", "/usr/bin/fuse-overlayfs"} {
		h.write(name, "")
	}
	if err := os.MkdirAll(h.Root+"/run/user/1000", 0o700); err != nil {
		t.Fatal(err)
	}
	h.Dirs = state.Dirs{Data: "/home/mia/.local/share/minipod", Run: "/run/user/1000/minipod", Config: "/home/mia/.config/minipod"}
	h.Config = config.Default()
	h.Getenv = func(name string) string { return map[string]string{"XDG_RUNTIME_DIR": "/run/user/1000"}[name] }
	h.LookPath = func(program string) (string, error) {
		_, err := os.Stat(h.Root + "/usr/bin/" + program)
		return "/usr/bin/" + program, err
	}
	h.TryUserns = func() error { return nil }
	h.ids(65536, nil, nil)
	h.statfs("", linux.FileSystem{Free: 10 << 30})
	h.HasCaps = func(string) bool { return true }
	h.Open = func(string) error { return nil }
	h.probed(rootfs.Probed{Overlay: true, Volatile: true})
	h.Ping = func(context.Context, string, bool) error { return nil }
	return h
}

func (h *host) write(name, content string) {
	h.Helper()
	if err := os.MkdirAll(filepath.Dir(h.Root+name), 0o755); err != nil {
		h.Fatal(err)
	}
	if err := os.WriteFile(h.Root+name, []byte(content), 0o755); err != nil {
		h.Fatal(err)
	}
}

func (h *host) remove(name string) {
	h.Helper()
	if err := os.RemoveAll(h.Root + name); err != nil {
		h.Fatal(err)
	}
}

func (h *host) ids(size uint32, warning, err error) {
	h.IDs = func(int, int) (uids, gids idmap.Map, _, _ error) {
		ids := idmap.Map{{Host: 1000, Size: 1}, {Container: 1, Host: 100000, Size: size}}
		if size == 0 {
			ids = ids[:1]
		}
		return ids, ids, warning, err
	}
}

// statfs answers fs for paths that end in suffix; cgroup v2 is mounted where it should be.
func (h *host) statfs(suffix string, fs linux.FileSystem) {
	before := h.Statfs
	h.Statfs = func(path string) (linux.FileSystem, error) {
		switch {
		case strings.HasSuffix(path, suffix) && (suffix != "" || !strings.HasSuffix(path, "/sys/fs/cgroup")):
			return fs, nil
		case before == nil:
			return linux.FileSystem{Magic: linux.CgroupMagic}, nil
		}
		return before(path)
	}
}

func (h *host) probed(p rootfs.Probed) {
	h.Storage = func(context.Context) (rootfs.Probed, error) { return p, nil }
}

func TestHealthy(t *testing.T) {
	h := healthy(t)
	for _, r := range Run(t.Context(), h.Env) {
		if r.Status != OK && r.Name != "fuse-overlayfs" || len(r.Evidence) == 0 || r.Why == "" || r.Title == "" || r.Fix != nil {
			t.Errorf("%+v", r)
		}
	}
}

func TestChecks(t *testing.T) {
	missing := func(path string) error { return &os.PathError{Op: "open", Path: path, Err: syscall.ENOENT} }
	shut := func(path string) error { return &os.PathError{Op: "open", Path: path, Err: syscall.EACCES} }
	noOverlay := rootfs.Probed{Reason: "mount overlay on merged: invalid argument"}
	for _, test := range []struct {
		title    string
		change   func(*host)
		check    string
		status   Status
		evidence string
		fix      string
	}{
		{"old kernel", func(h *host) { h.write("/proc/sys/kernel/osrelease", "5.10.0-28-amd64\n") }, "kernel", Fail, "5.10.0-28-amd64, want 5.12", "Debian 12"},
		{"kernel 4", func(h *host) { h.write("/proc/sys/kernel/osrelease", "4.18.0-553.el8\n") }, "kernel", Fail, "4.18", ""},
		{"release unknown", func(h *host) { h.remove("/proc/sys/kernel/osrelease") }, "kernel", Skip, "osrelease", ""},

		{"Debian's sysctl", func(h *host) {
			h.TryUserns = func() error { return syscall.EPERM }
			h.write("/proc/sys/kernel/unprivileged_userns_clone", "0\n")
		}, "userns", Fail, "/proc/sys/kernel/unprivileged_userns_clone: 0", "sudo sysctl --system"},
		{"Ubuntu's AppArmor", func(h *host) {
			h.TryUserns = func() error { return syscall.EPERM }
			h.write("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n")
			h.write("/proc/self/attr/apparmor/current", "unconfined\n")
		}, "userns", Fail, "apparmor_restrict_unprivileged_userns: 1", `profile minipod "/usr/local/bin/minipod" flags=(unconfined) {`},
		{"in docker", func(h *host) {
			h.TryUserns = func() error { return syscall.EPERM }
			h.write("/proc/self/status", "Seccomp:\t2\n")
			h.write("/.dockerenv", "")
		}, "userns", Fail, "seccomp filter", "docker run --security-opt seccomp=unconfined"},
		{"nothing to stand on", func(h *host) { h.TryUserns = func() error { return syscall.EPERM } }, "overlay", Skip, "user namespace", ""},

		{"below docker's /proc", func(h *host) { h.write("/proc/self/mountinfo", dockerProc) }, "proc", Fail, "/proc/kcore is covered by a devtmpfs", "systempaths=unconfined"},
		{"mounts unknown", func(h *host) { h.remove("/proc/self/mountinfo") }, "proc", Skip, "mountinfo", ""},

		{"no range", func(h *host) { h.ids(0, hint.Wrap(errors.New("no range for mia"), "run `sudo usermod mia`"), nil) }, "subuid", Warn, "no range for mia", "sudo usermod mia"},
		{"short range", func(h *host) { h.ids(1000, nil, nil) }, "subuid", Warn, "1001, want 65536", "/etc/subuid"},
		{"root", func(h *host) {
			h.ids(0, nil, hint.Wrap(errors.New("minipod is rootless"), "run it as an ordinary user"))
		}, "subuid", Fail, "rootless", "ordinary user"},

		{"no range to map", func(h *host) { h.ids(0, nil, nil) }, "newuidmap", Skip, "no ranges", ""},
		{"no newuidmap, Debian", func(h *host) { h.remove("/usr/bin/newuidmap") }, "newuidmap", Fail, "newuidmap", "sudo apt-get install -y uidmap"},
		{"no newuidmap, Rocky", func(h *host) {
			h.remove("/usr/bin/newuidmap")
			h.write("/etc/os-release", "NAME=Rocky\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n")
		}, "newuidmap", Fail, "newuidmap", "sudo dnf install -y shadow-utils"},
		{"no newuidmap, Arch", func(h *host) { h.remove("/usr/bin/newuidmap"); h.write("/etc/os-release", "ID=arch\n") }, "newuidmap", Fail, "", "pacman -S --needed shadow"},
		{"no newuidmap, elsewhere", func(h *host) { h.remove("/usr/bin/newuidmap"); h.remove("/etc/os-release") }, "newuidmap", Fail, "", "# install the package that Debian calls uidmap"},
		{"unprivileged newgidmap", func(h *host) { h.HasCaps = func(path string) bool { return !strings.HasSuffix(path, "newgidmap") } }, "newuidmap", Fail, "/usr/bin/newgidmap: mode", "sudo chmod u+s /usr/bin/newgidmap"},
		{"nosuid", func(h *host) { h.statfs("/usr/bin/newuidmap", linux.FileSystem{Nosuid: true}) }, "newuidmap", Fail, "nosuid", "findmnt"},
		{"no_new_privs", func(h *host) { h.write("/proc/self/status", "NoNewPrivs:\t1\n") }, "newuidmap", Fail, "NoNewPrivs: 1", "NoNewPrivileges=no"},

		{"no seccomp", func(h *host) { h.remove("/proc/sys/kernel/seccomp/actions_avail") }, "seccomp", Fail, "actions_avail", "CONFIG_SECCOMP_FILTER"},

		{"no overlay", func(h *host) { h.probed(noOverlay) }, "overlay", Warn, "invalid argument", "MINIPOD_ROOT"},
		{"no volatile", func(h *host) { h.probed(rootfs.Probed{Overlay: true}) }, "overlay", OK, "volatile: refused", ""},
		{"probe impossible", func(h *host) {
			h.Storage = func(context.Context) (rootfs.Probed, error) { return rootfs.Probed{}, syscall.ENOSPC }
		}, "overlay", Skip, "no space", ""},
		{"fuse in its place", func(h *host) { h.probed(noOverlay) }, "fuse-overlayfs", OK, "/usr/bin/fuse-overlayfs", ""},
		{"fuse not installed", func(h *host) { h.probed(noOverlay); h.remove("/usr/bin/fuse-overlayfs") }, "fuse-overlayfs", Warn, "fuse-overlayfs", "apt-get install -y fuse-overlayfs"},
		{"fuse configured", func(h *host) { h.Config.Storage.Driver = "fuse-overlayfs"; h.remove("/usr/bin/fuse-overlayfs") }, "fuse-overlayfs", Warn, "", "apt-get"},
		{"no /dev/fuse", func(h *host) { h.probed(noOverlay); h.Open = missing }, "fuse-overlayfs", Warn, "/dev/fuse", "sudo modprobe fuse"},

		{"full disk", func(h *host) { h.statfs("/home/mia", linux.FileSystem{Free: 100 << 20}) }, "data", Warn, "0.1 GiB free", "image prune"},
		{"read-only", func(h *host) { h.statfs("/home/mia", linux.FileSystem{Free: 9 << 30, Readonly: true}) }, "data", Fail, "read-only", "MINIPOD_ROOT"},
		{"NFS", func(h *host) { h.statfs("/home/mia", linux.FileSystem{Free: 9 << 30, Magic: linux.NFSMagic}) }, "data", Fail, "NFS", "local disk"},
		{"noexec below overlay", func(h *host) { h.statfs("/home/mia", linux.FileSystem{Free: 9 << 30, Noexec: true}) }, "data", OK, "free", ""},
		{"noexec without overlay", func(h *host) {
			h.statfs("/home/mia", linux.FileSystem{Free: 9 << 30, Noexec: true})
			h.probed(noOverlay)
		}, "data", Fail, "noexec", "local disk"},

		{"no tun", func(h *host) { h.Open = missing }, "tun", Warn, "/dev/net/tun", "sudo modprobe tun"},
		{"tun shut", func(h *host) { h.Open = shut }, "tun", Warn, "permission denied", "sudo chmod 0666 /dev/net/tun"},

		{"cgroup v1", func(h *host) { h.statfs("/sys/fs/cgroup", linux.FileSystem{}) }, "cgroup", Warn, "not cgroup v2", "GRUB_CMDLINE_LINUX"},
		{"cgroup v1 on Fedora", func(h *host) {
			h.statfs("/sys/fs/cgroup", linux.FileSystem{})
			h.write("/etc/os-release", "ID=fedora\n")
		}, "cgroup", Warn, "not cgroup v2", "grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1"},
		{"no cpu controller", func(h *host) {
			h.write("/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers", "memory pids\n")
		}, "cgroup", Warn, `"memory pids", want cpu`, "Delegate=cpu cpuset io memory pids"},
		{"no systemd", func(h *host) {
			h.remove("/sys/fs/cgroup/user.slice")
			h.remove("/run/systemd")
			h.write("/proc/self/cgroup", "0::/mine\n")
			h.write("/sys/fs/cgroup/mine/cgroup.controllers", "")
		}, "cgroup", Warn, "/sys/fs/cgroup/mine/cgroup.controllers", "without systemd"},

		{"no runtime folder set", func(h *host) { h.Getenv = func(string) string { return "" } }, "runtime-dir", Warn, "not set", "export XDG_RUNTIME_DIR=/run/user/1000"},
		{"no runtime folder", func(h *host) { h.remove("/run/user") }, "runtime-dir", Warn, "no such file", "loginctl enable-linger mia"},
		{"open runtime folder", func(h *host) {
			if err := os.Chmod(h.Root+"/run/user/1000", 0o755); err != nil {
				h.Fatal(err)
			}
		}, "runtime-dir", Warn, "want drwx------", ""},

		{"no linger", func(h *host) { h.remove("/var/lib/systemd/linger/mia") }, "linger", Warn, "missing", "sudo loginctl enable-linger mia"},
		{"nobody to linger for", func(h *host) { h.remove("/run/systemd") }, "linger", Skip, "nobody ends", ""},

		{"unreachable", func(h *host) {
			h.Ping = func(context.Context, string, bool) error { return errors.New("no route to host") }
		}, "registry", Warn, "https://registry-1.docker.io/v2/: no route", `"docker.io": {"mirrors"`},
		{"mirror answers", func(h *host) {
			h.Config.Registries["docker.io"] = config.Registry{Mirrors: []string{"http://mirror.example:5000/hub"}}
			h.Ping = func(_ context.Context, base string, _ bool) error {
				if base != "http://mirror.example:5000/v2/" {
					return errors.New("no route to host")
				}
				return nil
			}
		}, "registry", OK, "http://mirror.example:5000/v2/: answers", ""},
	} {
		t.Run(test.title, func(t *testing.T) {
			h := healthy(t)
			test.change(&h)
			for _, r := range Run(t.Context(), h.Env) {
				if r.Name != test.check {
					continue
				}
				if r.Status != test.status {
					t.Errorf("status %s, want %s", r.Status, test.status)
				}
				if got := strings.Join(r.Evidence, "\n"); !strings.Contains(got, test.evidence) {
					t.Errorf("evidence %s\nwant %q in it", got, test.evidence)
				}
				if got := strings.Join(r.Fix, "\n"); !strings.Contains(got, test.fix) || (r.Status == Fail || r.Status == Warn) != (got != "") {
					t.Errorf("fix %s\nwant %q in it", got, test.fix)
				}
				return
			}
			t.Fatalf("no check %q", test.check)
		})
	}
}

func TestAddresses(t *testing.T) {
	for _, test := range []struct {
		place    string
		insecure bool
		want     string
	}{
		{"docker.io", false, "https://registry-1.docker.io/v2/"},
		{"quay.io", false, "https://quay.io/v2/"},
		{"quay.io", true, "https://quay.io/v2/ http://quay.io/v2/"},
		{"http://mirror:5000/prefix", false, "http://mirror:5000/v2/"},
		{"mirror/prefix/more", false, "https://mirror/v2/"},
		{"localhost:5000", false, "https://localhost:5000/v2/ http://localhost:5000/v2/"},
		{"[::1]:5000", false, "https://[::1]:5000/v2/ http://[::1]:5000/v2/"},
		{"127.0.0.1", false, "https://127.0.0.1/v2/ http://127.0.0.1/v2/"},
	} {
		if got := strings.Join(addresses(test.place, test.insecure), " "); got != test.want {
			t.Errorf("addresses(%q, %v) = %s, want %s", test.place, test.insecure, got, test.want)
		}
	}
}

func TestPing(t *testing.T) {
	strict := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	defer strict.Close()
	if err := ping(t.Context(), strict.URL+"/v2/", true); err != nil {
		t.Errorf("401 is an answer: %v", err)
	}
	if err := ping(t.Context(), strict.URL+"/v2/", false); err == nil {
		t.Error("an unknown certificate was believed")
	}
	strict.Close()
	if err := ping(t.Context(), strict.URL+"/v2/", true); err == nil || strings.Contains(err.Error(), "/v2/") {
		t.Errorf("a closed port: %v", err)
	}
}

// TestDocumented holds docs/rootless.md to the checks that there are.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/rootless.md")
	if err != nil {
		t.Fatal(err)
	}
	h := healthy(t)
	results := Run(t.Context(), h.Env)
	for _, r := range results {
		if !strings.Contains(string(page), "\n| ["+r.Name+"](#") {
			t.Errorf("docs/rootless.md has no row for the check %s", r.Name)
		}
	}
	if rows := strings.Count(string(page), "\n| ["); rows != len(results) {
		t.Errorf("docs/rootless.md has %d rows for %d checks", rows, len(results))
	}
}

// TestHost runs the checks on the machine that we are on: whatever they find, each must say something.
func TestHost(t *testing.T) {
	dir := t.TempDir()
	e, err := Host(state.Dirs{Data: dir, Run: dir, Config: dir}, config.Default(), nil)
	if err != nil {
		t.Fatal(err)
	}
	e.Ping = func(context.Context, string, bool) error { return errors.New("this test stays offline") }
	results := Run(t.Context(), e)
	for _, r := range results {
		if len(r.Evidence) == 0 || (r.Status == Fail || r.Status == Warn) != (len(r.Fix) > 0) {
			t.Errorf("%+v", r)
		}
	}
	text, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", text)
}

func TestDevice(t *testing.T) {
	for _, line := range device("net/tun", "tun", fs.ErrPermission) {
		if strings.Contains(line, `KERNEL=="net/tun"`) {
			t.Errorf("udev knows the device by its last name: %s", line)
		}
	}
}
