package runtime

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/runtime/caps"
	"codeberg.org/minipod/minipod/runtime/spec"
	"codeberg.org/minipod/minipod/runtime/stage"
)

// TestExitStatus passes the command's on, with and without a reaper, and leaves nothing.
func TestExitStatus(t *testing.T) {
	inWorlds(t, func(w *world) {
		t := w.T
		w.want(w.config(sh("exit 0")), 0, "")
		before := takeCensus(t)
		for script, status := range map[string]int{
			"exit 1": 1, "exit 125": 125, "exit 126": 126, "exit 255": 255, "no-such-command": 127,
			"kill -KILL $$": 137, "kill -TERM $$": 143, "kill -SEGV $$": 139, "sleep 60 & exit 3": 3,
		} {
			cfg := w.config(sh(script + " 2>/dev/null"))
			w.want(cfg, status, "")
		}
		for script, status := range map[string]int{"exit 0": 0, "exit 7": 7, "sleep 60 & exit 3": 3} {
			cfg := w.config(sh(script))
			cfg.Reaper = false
			w.want(cfg, status, "")
		}
		before.settles(t, w.dirs.Containers())
	})
}

// TestSandbox looks around in a container: each line is what a command says there.
func TestSandbox(t *testing.T) {
	inWorlds(t, func(w *world) {
		score := -1000
		umask := uint32(0o027)
		for _, tt := range []struct {
			name    string
			script  string
			want    string // a regular expression for the whole output
			change  func(*spec.Options)
			others  bool // needs ids beside root's
			overlay bool // with a copy, mountinfo names the copy's folder, as it names those of volumes
		}{
			{name: "PID 1 is the reaper", script: `tr '\0' ' ' </proc/1/cmdline`, want: `minipod sandbox mp-[0-9a-f]{8} `},
			{name: "capabilities", script: `grep ^Cap /proc/self/status | tr -s '\t\n' ' '`, want: `CapInh: 0{16} CapPrm: 00000000a80425fb CapEff: 00000000a80425fb CapBnd: 00000000a80425fb CapAmb: 0{16} `},
			{name: "no capabilities for others", script: `grep -E '^Cap(Prm|Eff|Bnd)' /proc/self/status | tr -s '\t\n' ' '`, want: `CapPrm: 0{16} CapEff: 0{16} CapBnd: 00000000a80425fb `, others: true, change: func(o *spec.Options) { o.User = "mia" }},
			{name: "seccomp and no_new_privs", script: `grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status | tr -s '\t\n' ' '`, want: `NoNewPrivs: 1 Seccomp: 2 `},
			{name: "seccomp refuses", script: `mount -t tmpfs x /tmp 2>&1 | grep -o 'permitted\|denied'; unshare -U true 2>&1 | grep -o permitted`, want: `permitted\npermitted\n|denied\npermitted\n`},
			{name: "no mount of the host", script: `cat /proc/self/mountinfo`, want: `(?s)(.* / / .*)`, overlay: true},
			{name: "the reaper's executable", script: `(: >>/proc/1/exe) 2>&1 | grep -c .; cat /proc/1/environ /proc/1/maps 2>&1 | grep -c denied; readlink /proc/1/fd/0; ls /proc/1/root/ 2>&1 | grep -c denied`, want: `1\n2\n1\n`},
			{name: "descriptors", script: `ls /proc/self/fd; ls /proc/$$/fd; true`, want: `0\n1\n2\n3\n0\n1\n2\n(10\n)?`},
			{name: "umask", script: `umask; umask 0; touch /tmp/x; stat -c %a /tmp/x`, want: `0027\n666\n`, change: func(o *spec.Options) { o.Umask = &umask }},
			{name: "limits", script: `ulimit -n; ulimit -Hn; ulimit -c`, want: `100\n200\n0\n`, change: func(o *spec.Options) {
				o.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 200}, {Type: "RLIMIT_CORE"}}
			}},
			{name: "oom score", script: `cat /proc/self/oom_score_adj`, want: `(0|-?\d+)\n`, change: func(o *spec.Options) { o.OOMScoreAdj = &score }},
			{name: "hostname", script: `hostname; cat /proc/sys/kernel/hostname`, want: `pod\npod\n`, change: func(o *spec.Options) { o.Hostname = "pod" }},
			{name: "loopback", script: `ip -o addr show | grep -c 'lo .*inet 127.0.0.1/8'; ls /sys/class/net`, want: `1\nlo\n`},
			{name: "devices", script: `echo x >/dev/null; head -c 3 /dev/zero | od -An -tx1; (echo x >/dev/full) 2>&1 | grep -o 'space'; head -c 9 /dev/urandom | wc -c; head -c 9 /dev/random | wc -c; cat /dev/tty 2>&1 | grep -o 'No such device'`, want: ` 00 00 00\nspace\n9\n9\nNo such device( or address)?\n`},
			{name: "no other devices", script: `ls /dev`, want: `fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n`},
			{name: "links of /dev", script: `cd /dev; for l in fd stdin stdout stderr ptmx; do readlink $l; done; echo works >/dev/stderr`, want: `/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\nworks\n`},
			{name: "file systems of /dev", script: `mount | sed -n 's/.* on \(\/dev\/[a-z]*\) type \([a-z]*\) .*/\1 \2/p' | grep -E 'pts|shm|mqueue'; stat -c %a /dev/shm; echo x >/dev/shm/x; mkdir /dev/mqueue/x 2>/dev/null || touch /dev/mqueue/y; cat /dev/shm/x`, want: `/dev/pts devpts\n/dev/mqueue mqueue\n/dev/shm tmpfs\n1777\nx\n`},
			{name: "no device by mknod", script: `mknod /tmp/sda b 8 0 2>&1 | grep -o 'not permitted'`, want: `not permitted\n`},
			{name: "masked", script: `cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c; ls -A /sys/firmware | wc -l; stat -c %t,%T /proc/keys`, want: `0\n0\n1,3\n`},
			{name: "read-only kernel", script: `for f in /proc/sys/kernel/hostname /sys/x; do (echo x >$f) 2>&1 | grep -o 'Read-only'; done`, want: `(Read-only\n){2}`},
			{name: "writable process entries", script: `echo 1000 >/proc/self/oom_score_adj; cat /proc/self/oom_score_adj`, want: `1000\n`},
			{name: "layers", script: `cat /etc/layer /data/file /etc/hosts; stat -c %a /data`, want: `top\nof the image\n127.0.0.1 localhost\n750\n`},
			{name: "writable root", script: `echo x >/etc/layer; rm -r /data; ls /data 2>/dev/null; cat /etc/layer`, want: `x\n`},
			{name: "read-only root", script: `(echo x >/x) 2>&1 | grep -o Read-only; touch /home/x 2>&1 | grep -o Read-only; echo x >/dev/shm/x; echo x >/tmp/x; cat /tmp/x`, want: `Read-only\nRead-only\nx\n`, change: func(o *spec.Options) {
				o.ReadOnly = true
				o.Mounts = []specs.Mount{{Type: "tmpfs", Source: "tmpfs", Destination: "/tmp", Options: []string{"nosuid", "nodev"}}}
			}},
			{name: "working folder", script: `pwd; stat -c %a .`, want: `/made/for/this\n755\n`, change: func(o *spec.Options) { o.Workdir = "made/../made/for/this/" }},
			{name: "home", script: `echo $HOME $0 $PATH`, want: `/root sh /bin\n`},
			{name: "root's ids", script: `id -u; id -g; id -G`, want: `0\n0\n0\n`},
			{name: "own session", script: `ps -o pid,sid,pgid | grep -c "$$ *$$ *$$"`, want: `1\n`},
			{name: "nothing of the host in sight", script: `ls -d /proc/[0-9]* | wc -l; ls / | tr '\n' ' '; grep -c :/sbin/init /proc/*/cgroup`, want: `\d\nbin data dev etc home links proc sys tmp (.*:0\n)*`},
		} {
			if tt.others && w.uids.Single() || tt.overlay && w.storage.Driver != rootfs.Overlay {
				continue
			}
			w.Run(tt.name, func(t *testing.T) {
				w := *w
				w.T = t
				o := sh(tt.script)
				if tt.change != nil {
					tt.change(&o)
				}
				_, got, err := w.run(w.config(o))
				if err != nil {
					t.Fatal(err)
				}
				if !regexp.MustCompile(`^(?:` + tt.want + `)$`).MatchString(got) {
					t.Errorf("%s\ngot  %q\nwant %q", tt.script, got, tt.want)
				}
				for _, secret := range []string{w.dirs.Data, w.dirs.Data[1:], os.TempDir(), os.Getenv("HOME")} {
					if len(secret) > 4 && strings.Contains(got, secret) {
						t.Errorf("%s tells of the host: %q is in %.2000q", tt.script, secret, got)
					}
				}
			})
		}
	})
}

// TestUser runs commands as other users of the image.
func TestUser(t *testing.T) {
	w := newWorld(t, false, "overlay")
	for user, want := range map[string]string{
		"":          "0 0 0 /root",
		"mia":       "1000 100 100 50 63 /home/mia",
		"1000":      "1000 100 100 50 63 /home/mia",
		"mia:staff": "1000 50 50 /home/mia",
		"77":        "77 0 0 /",
		"77:88":     "77 88 88 /",
		":users":    "0 100 100 /root",
	} {
		o := sh("echo $(id -u) $(id -g) $(id -G) $HOME")
		o.User = user
		w.want(w.config(o), 0, want+"\n")
	}
	// What another user wrote is removed with the container, and so is a folder that it closed.
	o := sh("mkdir -p /tmp/a/b && touch /tmp/a/b/c && chmod 0 /tmp/a/b /tmp/a")
	o.User = "mia"
	w.config(o)
	o.Mounts = []specs.Mount{{Type: "tmpfs", Source: "tmpfs", Destination: "/tmp", Options: []string{"mode=1777"}}}
	w.want(w.config(o), 0, "")
}

// TestSandboxFromOutside looks at a running sandbox as its user does.
func TestSandboxFromOutside(t *testing.T) {
	onOverlay(t, func(w *world) {
		t := w.T
		for _, powerful := range []bool{false, true} {
			o := sh("echo ready; sleep 60")
			if powerful {
				o.Capabilities = caps.All
			}
			before := takeCensus(t)
			b, err := w.start(w.config(o))
			if err != nil {
				_, _, _ = b.end()
				t.Fatal(err)
			}
			b.readLine("ready")
			b.checkNamespaces()
			b.checkDescriptors()
			b.checkExecutable(powerful)
			w.must(b.sandbox.Signal(syscall.SIGKILL))
			if status, _, err := b.end(); err != nil || status != 137 {
				t.Errorf("status %d, %v", status, err)
			}
			before.settles(t, w.dirs.Containers())
		}
	})
}

// readLine reads exactly the line want of the container's output.
func (b *box) readLine(want string) {
	b.w.Helper()
	line := make([]byte, len(want)+1)
	if n, err := b.output.Read(line); err != nil || string(line[:n]) != want+"\n" {
		b.w.Errorf("read %q, %v; want %q", line, err, want)
	}
}

func (b *box) proc(name string) string { return fmt.Sprintf("/proc/%d/%s", b.sandbox.PID, name) }

func (b *box) checkNamespaces() {
	for _, name := range []string{"user", "mnt", "pid_for_children", "net", "ipc", "uts", "cgroup"} {
		theirs, err := os.Readlink(b.proc("ns/" + name))
		b.w.must(err)
		ours, err := os.Readlink("/proc/self/ns/" + name)
		b.w.must(err)
		if theirs == ours {
			b.w.Errorf("the namespace %s is ours", name)
		}
	}
	status, err := os.ReadFile(b.proc("status"))
	b.w.must(err)
	if want := fmt.Sprintf("NSpid:\t%d\t1\n", b.sandbox.PID); !strings.Contains(string(status), want) {
		b.w.Errorf("no line %q in\n%s", want, status)
	}
	uid := fmt.Sprintf("Uid:\t%[1]d\t%[1]d\t%[1]d\t%[1]d\n", os.Getuid())
	if !strings.Contains(string(status), uid) {
		b.w.Errorf("root inside is not us outside: no line %q in\n%s", uid, status)
	}
}

// checkDescriptors holds PID 1 to what settle promises: no descriptor of the host's, no socket to us.
func (b *box) checkDescriptors() {
	entries, err := os.ReadDir(b.proc("fd"))
	b.w.must(err)
	allowed := regexp.MustCompile(`^(/dev/null|anon_inode:\[(eventpoll|eventfd|pidfd)\])$`)
	for _, e := range entries {
		to, err := os.Readlink(b.proc("fd/" + e.Name()))
		b.w.must(err)
		if !allowed.MatchString(to) {
			b.w.Errorf("PID 1 holds descriptor %s, %s", e.Name(), to)
		}
	}
}

// checkExecutable holds PID 1's binary to being out of the container's reach (CVE-2019-5736).
func (b *box) checkExecutable(sealed bool) {
	exe, err := os.Open(b.proc("exe"))
	b.w.must(err)
	defer exe.Close()
	if sealed {
		const want = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
		seals, err := unix.FcntlInt(exe.Fd(), unix.F_GET_SEALS, 0)
		if err != nil || seals&want != want {
			b.w.Errorf("PID 1's binary has the seals %#x, %v; want %#x", seals, err, want)
		}
		return
	}
	var st unix.Statfs_t
	b.w.must(unix.Fstatfs(int(exe.Fd()), &st))
	if st.Flags&unix.ST_RDONLY == 0 {
		b.w.Error("PID 1's binary is on a writable mount")
	}
}

// TestAllCapabilities gives a container every power there is over its namespaces: PID 1's binary stays as it is.
func TestAllCapabilities(t *testing.T) {
	onOverlay(t, func(w *world) {
		t := w.T
		o := sh(`(echo x >>/proc/1/exe) 2>&1 | grep -c .; cp /proc/1/exe /tmp/copy && echo readable; mount -o remount,rw,bind /proc/1/exe 2>/dev/null; (echo x >>/proc/1/exe) 2>&1 | grep -c .; grep ^CapEff /proc/self/status | grep -c 0000000000000000`)
		o.Capabilities = caps.All
		cfg := w.config(o)
		cfg.Seccomp = nil
		_, got, err := w.run(cfg)
		if err != nil || strings.ReplaceAll(got, "readable\n", "") != "1\n1\n0\n" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// TestPrivilegeRaising lets set-uid programs work where the user wants that: seccomp must still be on.
func TestPrivilegeRaising(t *testing.T) {
	w := newWorld(t, false, "overlay")
	o := sh(`grep -E '^(Seccomp|NoNewPrivs|CapEff):' /proc/self/status | tr -s '\t\n' ' '`)
	for user, eff := range map[string]string{"": "00000000a80425fb", "mia": "0000000000000000"} {
		o.User = user
		cfg := w.config(o)
		cfg.Spec.Process.NoNewPrivileges = false
		w.want(cfg, 0, "CapEff: "+eff+" NoNewPrivs: 0 Seccomp: 2 ")
	}
}

// TestVolumes binds folders of the host, some of them new volumes.
func TestVolumes(t *testing.T) {
	inWorlds(t, func(w *world) {
		t := w.T
		shared := t.TempDir()
		w.must(os.WriteFile(filepath.Join(shared, "file"), []byte("host's\n"), 0o644))
		bind := func(source, target string, options ...string) specs.Mount {
			return specs.Mount{Type: "bind", Source: source, Destination: target, Options: append(options, "rbind", "rprivate")}
		}
		o := sh("cat /mnt/deep/file; echo new >/mnt/deep/new; cat /one; (echo x >/ro/x) 2>&1 | grep -o Read-only; readlink /links/up")
		o.Mounts = []specs.Mount{bind(shared, "/mnt/deep"), bind(shared+"/file", "/one"), bind(shared, "/ro", "ro")}
		w.want(w.config(o), 0, "host's\nhost's\nRead-only\n../../../../tmp\n")
		if text, err := os.ReadFile(filepath.Join(shared, "new")); err != nil || string(text) != "new\n" {
			t.Errorf("the container's file: %q, %v", text, err)
		}

		if onOwnMount("/dev/shm") { // below a read-only bind, a writable mount would be a surprise
			o = sh("(echo x >/hostdev/shm/x) 2>&1 | grep -o Read-only")
			o.Mounts = []specs.Mount{bind("/dev", "/hostdev", "ro")}
			w.want(w.config(o), 0, "Read-only\n")
		}

		// A link of the image that leads out ends at the container's root; the host's /tmp stays what it is.
		o = sh("cat /tmp/file; mount | grep -c ' on /tmp '")
		o.Mounts = []specs.Mount{bind(shared, "/links/up")}
		w.want(w.config(o), 0, "host's\n1\n")

		volume := filepath.Join(w.dirs.Volumes(), "v", "_data")
		w.must(os.MkdirAll(volume, 0o755))
		for _, script := range []string{"cat /data/file; stat -c %a /data; ls -d /data/sub; echo changed >/data/file", "cat /data/file"} {
			o = sh(script)
			o.Mounts = []specs.Mount{bind(volume, "/data")}
			cfg := w.config(o)
			cfg.Fill = []string{volume}
			want := "changed\n"
			if len(script) > 20 {
				want = "of the image\n750\n/data/sub\n"
			}
			w.want(cfg, 0, want)
		}
	})
}

func onOwnMount(dir string) bool {
	info, err := os.ReadFile("/proc/self/mountinfo")
	return err == nil && strings.Contains(string(info), " "+dir+" ")
}

// TestRefused gives the stage what it can't do. Each is one error that names the step, with docker's exit status, and nothing
// is left.
func TestRefused(t *testing.T) {
	onOverlay(t, func(w *world) {
		t := w.T
		host := t.TempDir()
		leak, err := os.Open(host)
		w.must(err)
		defer leak.Close()
		open, err := unix.FcntlInt(leak.Fd(), unix.F_DUPFD, 7) // and not close-on-exec: a folder of the host, for the taking
		w.must(err)
		defer unix.Close(open)
		bind := func(source, target string) func(*spec.Options) {
			return func(o *spec.Options) {
				o.Mounts = []specs.Mount{{Type: "bind", Source: source, Destination: target, Options: []string{"rbind"}}}
			}
		}
		tmpfs := func(target string) func(*spec.Options) {
			return func(o *spec.Options) { o.Mounts = []specs.Mount{{Type: "tmpfs", Source: "tmpfs", Destination: target}} }
		}
		args := func(args ...string) func(*spec.Options) { return func(o *spec.Options) { o.Args = args } }
		workdir := func(dir string) func(*spec.Options) { return func(o *spec.Options) { o.Workdir = dir } }
		user := func(name string) func(*spec.Options) { return func(o *spec.Options) { o.User = name } }
		type refusal struct {
			name, step string
			exit       int
			is         error
			change     func(*spec.Options)
		}
		cases := []refusal{
			{"bind source", "gather", 125, fs.ErrNotExist, bind(host+"/missing", "/x")},
			{"bind of what others own", "gather", 125, syscall.EACCES, bind("/proc/1/root/etc", "/x")},
			{"file on a folder", "volumes", 125, nil, bind("/etc/passwd", "/etc")},
			{"folder on a file", "volumes", 125, nil, bind(host, "/etc/passwd")},
			{"target below a file", "volumes", 125, syscall.ENOTDIR, bind(host, "/etc/passwd/x")},
			{"inside /proc", "volumes", 125, nil, bind("/etc/passwd", "/proc/self/attr/current")},
			{"over /proc", "volumes", 125, nil, bind(host, "/proc")},
			{"through a link into /proc", "volumes", 125, nil, bind(host, "/links/proc/sys")},
			{"through a link to /proc", "volumes", 125, nil, bind(host, "/links/proc")},
			{"through a link into /sys", "volumes", 125, nil, bind(host, "/links/sys")},
			{"tmpfs over /proc/scsi", "volumes", 125, nil, tmpfs("/proc/fs")},
			{"tmpfs over /proc", "volumes", 125, nil, tmpfs("/proc")},
			{"a tmpfs option", "gather", 125, syscall.EINVAL, func(o *spec.Options) {
				o.Mounts = []specs.Mount{{Type: "tmpfs", Source: "x", Destination: "/x", Options: []string{"no-such-option=1"}}}
			}},
			{"user", "user", 125, nil, user("nobody-here")},
			{"group", "user", 125, nil, user("root:nobody-here")},
			{"user without an id", "user", 125, nil, user("ghost")},
			{"working folder is a file", "workdir", 125, syscall.ENOTDIR, workdir("/etc/passwd")},
			{"working folder below a file", "workdir", 125, syscall.ENOTDIR, workdir("/etc/passwd/x")},
			{"working folder can't be made", "workdir", 125, nil, workdir("/proc/x")},
			{"command", "find-command", 127, fs.ErrNotExist, args("no-such-command")},
			{"command by path", "find-command", 127, fs.ErrNotExist, args("/bin/no-such-command")},
			{"command empty", "find-command", 127, fs.ErrNotExist, args("")},
			{"command is a folder", "find-command", 126, syscall.EISDIR, args("/bin")},
			{"command is no program", "find-command", 126, syscall.EACCES, args("/etc/plain")},
			{"command below a file", "find-command", 127, nil, args("/etc/plain/x")},
			{"script without interpreter", "exec", 126, syscall.ENOEXEC, args("/bin/script")},
			{"interpreter missing", "exec", 127, syscall.ENOENT, args("/bin/lost")},
			{"broken program", "exec", 126, syscall.ENOEXEC, args("/bin/noise")},
			{"limit above ours", "limits", 125, syscall.EPERM, func(o *spec.Options) {
				o.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1, Hard: 1 << 40}}
			}},
		}
		for fd := range 10 {
			cases = append(cases, refusal{fmt.Sprintf("working folder on descriptor %d", fd), "workdir", 125, nil, workdir(fmt.Sprintf("/proc/self/fd/%d", fd))})
		}
		w.want(w.config(sh("true")), 0, "")
		for _, tt := range cases {
			for _, reaper := range []bool{true, false} {
				if !reaper && (tt.step != "exec" && tt.step != "limits" || few) {
					continue // the same code
				}
				before := takeCensus(t)
				o := sh("pwd; ls -a")
				tt.change(&o)
				cfg := w.config(o)
				cfg.Reaper = reaper
				status, output, err := w.run(cfg)
				if err == nil {
					t.Errorf("%s: started, status %d: %s", tt.name, status, output)
				} else {
					checkFailure(t, tt.name, tt.step, tt.exit, tt.is, err)
				}
				before.settles(t, w.dirs.Containers())
			}
		}
	})
}

func checkFailure(t *testing.T, name, step string, exit int, is, err error) {
	t.Helper()
	var failure *stage.Failure
	switch {
	case !asFailure(err, &failure):
		t.Errorf("%s: %v is no *stage.Failure", name, err)
	case failure.Step != step || failure.Exit != exit:
		t.Errorf("%s: step %s, exit %d; want %s, %d (%v)", name, failure.Step, failure.Exit, step, exit, err)
	case is != nil && !isErr(err, is):
		t.Errorf("%s: %v is not %v", name, err, is)
	}
}
