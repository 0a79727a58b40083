package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	stdruntime "runtime"
	"strings"
	"sync"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"codeberg.org/minipod/minipod/image/layer"
	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/runtime/caps"
	"codeberg.org/minipod/minipod/runtime/idmap"
	"codeberg.org/minipod/minipod/runtime/seccomp"
	"codeberg.org/minipod/minipod/runtime/spec"
	"codeberg.org/minipod/minipod/runtime/stage"
	"codeberg.org/minipod/minipod/state"
)

// TestMain is what this binary is when it is not the tests. Package stage has taken its sandboxes away by then, as it
// does in minipod itself; what is left are the processes that work inside the user's id range.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == queueRole {
		if err := queue(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) == 2 && os.Args[1] == parentRole {
		fmt.Fprintln(os.Stderr, beParent())
		os.Exit(1)
	}
	args, ok := stage.EnterInside(os.Args)
	if !ok {
		os.Exit(m.Run())
	}
	var err error
	switch args[0] {
	case "stay":
		fmt.Println("here")
		time.Sleep(time.Minute)
	case "remove":
		err = RemoveTree(args[1])
	case "flatten":
		err = layer.Flatten(context.Background(), args[1], args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A world is a data folder with an image of two layers, and the way in which its containers run.
type world struct {
	*testing.T
	dirs       state.Dirs
	uids, gids idmap.Map
	storage    rootfs.Choice
}

// worlds are the machines that containers meet: with subordinate ids or one id alone, on each driver that needs no program.
var worlds = []struct {
	name   string
	single bool
	driver rootfs.Driver
}{
	{"ids on overlay", false, rootfs.Overlay},
	{"one id on overlay", true, rootfs.Overlay},
	{"ids on a copy", false, rootfs.Copy},
	{"one id on a copy", true, rootfs.Copy},
}

// inWorlds runs test in each of them.
func inWorlds(t *testing.T, test func(*world)) { t.Helper(); inSome(t, len(worlds), test) }

// onOverlay runs test where no driver but overlay matters.
func onOverlay(t *testing.T, test func(*world)) { t.Helper(); inSome(t, 2, test) }

func inSome(t *testing.T, n int, test func(*world)) {
	t.Helper()
	if few {
		n = 1
	}
	for _, tt := range worlds[:n] {
		t.Run(tt.name, func(t *testing.T) { test(newWorld(t, tt.single, tt.driver)) })
	}
}

const dataVariable = "MINIPOD_TEST_DATA"

func newWorld(t *testing.T, single bool, driver rootfs.Driver) *world {
	t.Helper()
	data := os.Getenv(dataVariable) // where we are somebody's helper process
	if data == "" {
		data = filepath.Join(t.TempDir(), "data")
	}
	w := openWorld(t, data, single, driver)
	if _, err := os.Stat(w.dirs.Layers()); err == nil {
		return w
	}
	t.Cleanup(func() {
		if err := w.removeInside(data); err != nil {
			t.Error(err)
		}
	})
	for _, dir := range []string{"bottom/bin", "bottom/etc", "bottom/tmp", "bottom/home/mia", "bottom/data/sub", "top/etc", "top/links"} {
		w.must(os.MkdirAll(filepath.Join(w.dirs.Layers(), dir), 0o755))
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skipf("there is no busybox to run (Debian's package busybox-static): %v", err)
	}
	for name, content := range map[string]string{
		"bottom/bin/busybox": string(busybox),
		"bottom/bin/script":  "echo no interpreter is named\n",
		"bottom/bin/lost":    "#!/bin/no-such-interpreter\n",
		"bottom/bin/noise":   "\x7fELF but not really",
		"bottom/etc/passwd":  "root:x:0:0::/root:/bin/sh\nmia:x:1000:100:Mia:/home/mia:/bin/sh\nghost:x:4294967294:1::/:/bin/sh\n",
		"bottom/etc/group":   "root:x:0:\nusers:x:100:\nstaff:x:50:mia,other\naudio:x:63:mia\n",
		"bottom/etc/layer":   "bottom\n",
		"top/etc/layer":      "top\n",
		"bottom/data/file":   "of the image\n",
		"bottom/etc/plain":   "",
	} {
		w.must(os.WriteFile(filepath.Join(w.dirs.Layers(), name), []byte(content), 0o755))
	}
	w.must(os.Chmod(filepath.Join(w.dirs.Layers(), "bottom/etc/plain"), 0o644))
	w.must(os.Chmod(filepath.Join(w.dirs.Layers(), "bottom/data"), 0o750))
	for _, name := range strings.Fields("cat chmod chown cp dd echo env false grep head hostname id ip kill ls mkdir mknod mount mv od ps readlink rm setsid sh sleep stat stty su tail test touch tr true tty umount wc") {
		w.must(os.Symlink("busybox", filepath.Join(w.dirs.Layers(), "bottom/bin", name)))
	}
	for name, to := range map[string]string{"proc": "/proc", "attr": "/proc/self/attr", "sys": "/sys/kernel", "up": "../../../../tmp", "root": "/"} {
		w.must(os.Symlink(to, filepath.Join(w.dirs.Layers(), "top/links", name)))
	}
	return w
}

func openWorld(t *testing.T, data string, single bool, driver rootfs.Driver) *world {
	t.Helper()
	if os.Getuid() == 0 {
		t.Skip("needs an ordinary user: minipod never runs as root (make test makes one)")
	}
	w := &world{T: t, dirs: state.Dirs{Data: data, Run: data, Config: data}, storage: rootfs.Choice{Driver: driver, Volatile: true}}
	if single {
		w.uids, w.gids = idmap.Map{{Host: uint32(os.Getuid()), Size: 1}}, idmap.Map{{Host: uint32(os.Getgid()), Size: 1}}
		return w
	}
	var warning, err error
	w.uids, w.gids, warning, err = idmap.ForUser(os.Getuid(), os.Getgid())
	w.must(err)
	if warning != nil {
		t.Skipf("this user has no subordinate ids: %v", warning)
	}
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// inside runs this binary as root of the user's ids.
func (w *world) inside(args ...string) error {
	stdruntime.LockOSThread()
	defer stdruntime.UnlockOSThread()
	status, err := stage.Inside(context.Background(), args, [3]*os.File{os.Stdin, os.Stderr, os.Stderr}, func(pid int) error { return idmap.Write(pid, w.uids, w.gids) })
	if err == nil && status != 0 {
		err = fmt.Errorf("%s inside: status %d", args[0], status)
	}
	return err
}

func (w *world) removeInside(dir string) error { return w.inside("remove", dir) }

// filter is the default profile, compiled once.
var filter = sync.OnceValues(func() ([]byte, error) {
	profile, err := seccomp.Default(caps.Default.Names())
	if err != nil {
		return nil, err
	}
	return seccomp.Compile(profile)
})

// sh is a container that runs a script; spec's other fields are defaults.
func sh(script string) spec.Options {
	return spec.Options{Args: []string{"sh", "-c", script}}
}

func (w *world) config(o spec.Options) *Config {
	w.Helper()
	o.ID, o.UIDs, o.GIDs, o.NoNewPrivileges = "0123456789abcdef", w.uids, w.gids, true
	if o.Capabilities == 0 {
		o.Capabilities = caps.Default
	}
	s, err := spec.Build(ocispec.ImageConfig{Env: []string{"PATH=/bin"}}, o)
	w.must(err)
	cfg := &Config{Bundle: Bundle{Spec: s, Layers: []string{"layers/top", "layers/bottom"}, Storage: w.storage, UIDs: w.uids, GIDs: w.gids, Reaper: true}}
	cfg.Flatten = func(dst string, lowers []string) error {
		args := []string{"flatten", dst}
		for _, dir := range lowers {
			args = append(args, filepath.Join(w.dirs.Data, dir))
		}
		return w.inside(args...)
	}
	cfg.Seccomp, err = filter()
	w.must(err)
	cfg.Files = []rootfs.File{{Target: "/etc/hosts", Content: "127.0.0.1 localhost\n"}, {Target: "/etc/resolv.conf", Content: "# none\n"}}
	return cfg
}

// A box is a container whose output we read.
type box struct {
	*Container
	w       *world
	sandbox *stage.Sandbox
	output  *os.File
}

// start starts a container. Its caller calls end, in every case.
func (w *world) start(cfg *Config) (*box, error) {
	w.Helper()
	stdruntime.LockOSThread() // end unlocks it
	c, err := Create(w.dirs, Record{Image: "test", Remove: true})
	w.must(err)
	b := &box{Container: c, w: w}
	r, theirs, err := os.Pipe()
	w.must(err)
	defer theirs.Close()
	null, err := os.Open("/dev/null")
	w.must(err)
	defer null.Close()
	b.output = r
	cfg.Stdio = [3]*os.File{null, theirs, theirs}
	if b.sandbox, err = c.Start(cfg); err != nil {
		return b, err
	}
	return b, nil
}

// end waits for the container, which must be ending, removes it and returns what it wrote.
func (b *box) end() (status int, output string, err error) {
	defer stdruntime.UnlockOSThread()
	defer b.output.Close()
	if b.sandbox != nil {
		text, e := io.ReadAll(b.output)
		output, err = string(text), e
		var e2 error
		status, e2 = b.sandbox.Wait()
		err = errors.Join(err, e2)
		if b.sandbox.Console != nil {
			b.sandbox.Console.Close()
		}
	}
	return status, output, errors.Join(err, b.Delete(b.w.removeInside))
}

// run is a container's whole life. started is why it did not start.
func (w *world) run(cfg *Config) (status int, output string, started error) {
	w.Helper()
	b, started := w.start(cfg)
	status, output, err := b.end()
	w.must(err)
	return status, output, started
}

// want runs a container and compares its output.
func (w *world) want(cfg *Config, status int, output string) {
	w.Helper()
	gotStatus, got, err := w.run(cfg)
	if err != nil {
		w.Errorf("%q: %v", cfg.Spec.Process.Args, err)
	} else if gotStatus != status || got != output {
		w.Errorf("%q: status %d, output %q; want %d, %q", cfg.Spec.Process.Args, gotStatus, got, status, output)
	}
}
