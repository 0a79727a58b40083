package stage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/volume"
)

// A step is a line of the story: its name, what it does, and what it is for.
type step struct {
	name string
	do   func(*sandbox) error
	why  string
}

// sandboxSteps is how a container comes to be, from the first instruction in the new namespaces to the program. The
// order matters; steps_test.go holds it to the reasons that stand here.
var sandboxSteps = []step{
	{"become-root", (*sandbox).becomeRoot, "uid 0 of this user namespace, and nobody outside of it"},
	{"private-mounts", (*sandbox).privateMounts, "nothing that we mount leaks to the host"},
	{"gather", (*sandbox).gather, "whatever comes from the host is taken along now, attached to nowhere"},
	{"overlay", (*sandbox).overlay, "image layers below, this container's writes above"},
	{"fill-volumes", (*sandbox).fillVolumes, "a new named volume starts with what the image has there"},
	{pivotRoot, (*sandbox).pivotRoot, "the host's tree is out of reach from here"},
	{"proc", (*sandbox).proc, "a /proc that shows only this pid namespace"},
	{"dev", (*sandbox).dev, "a few harmless devices, terminals and shared memory of its own"},
	{"sys", (*sandbox).sys, "the kernel's view of devices and cgroups, read-only"},
	{"volumes", (*sandbox).volumes, "the folders that the user shares, and those that live in memory"},
	{"files", (*sandbox).files, "names and resolvers: /etc/hosts, /etc/hostname, /etc/resolv.conf"},
	{"mask", (*sandbox).mask, "what /proc and /sys tell of the host is covered"},
	{"console", (*sandbox).console, "a terminal of its own, whose other end the user holds"},
	{"read-only", (*sandbox).readOnly, "the image can't be changed where the user wants it so"},
	{"hostname", (*sandbox).hostname, "the UTS namespace gets its name"},
	{"loopback", (*sandbox).loopback, "a new network namespace has one interface, and it is down"},
	{"sysctls", (*sandbox).sysctls, "what of the kernel's parameters belongs to these namespaces"},
	{"user", (*sandbox).user, "the image's own /etc/passwd says who runs the program"},
	{"workdir", (*sandbox).workdir, "where the program starts"},
	{"find-command", (*sandbox).findCommand, "the PATH of the container decides which file it is"},
	{"oom-score", (*sandbox).oomScore, "whom the kernel kills first when memory ends"},
}

func (s *sandbox) becomeRoot() error {
	err := linux.BecomeRootOnThread(s.plan.Process.Setgroups)
	if err := s.did(err, "setgroups(0) setresgid(0, 0, 0) setresuid(0, 0, 0)"); err != nil {
		return err
	}
	linux.NewSessionKeyring()
	// A change of credentials clears the parent-death signal, so it is set here and not before execve. Had the parent
	// died in between, this would be an orphan for ever: so it answers, and a dead parent does not take the answer.
	if err := s.did(linux.SetParentDeathSignal(syscall.SIGKILL), "prctl(PR_SET_PDEATHSIG, SIGKILL)"); err != nil {
		return err
	}
	return s.send(message{Kind: "alive"})
}

func (s *sandbox) privateMounts() error {
	if s.plan.joinsPIDs() { // while we still see the /proc that shows us
		if err := s.setOOMScore(); err != nil {
			return err
		}
	}
	if s.plan.sharesPIDs() {
		for _, kind := range restKinds {
			text, err := os.Readlink("/proc/self/ns/" + kind)
			if err != nil {
				return err
			}
			s.rest = append(s.rest, text)
		}
	}
	return s.root.MakePrivate()
}

func (s *sandbox) gather() error  { return s.root.Gather() }
func (s *sandbox) overlay() error { return s.root.MountRoot() }

func (s *sandbox) fillVolumes() error {
	for _, m := range s.plan.Rootfs.Mounts {
		if !m.Fill {
			continue
		}
		err := volume.Fill(m.Source, func(dir string) error { return s.root.CopyFromImage(m.Target, dir) })
		if err != nil {
			return fmt.Errorf("fill the volume for %s: %w", m.Target, err)
		}
	}
	return nil
}

func (s *sandbox) pivotRoot() error { return s.root.Pivot() }
func (s *sandbox) files() error     { return s.root.MakeFiles() }
func (s *sandbox) mask() error      { return s.root.Mask() }

func (s *sandbox) proc() error {
	return s.root.Place(func(m *rootfs.Mount) bool { return m.Type == "proc" || m.Kernel })
}

func (s *sandbox) dev() error {
	if err := s.root.Place(func(m *rootfs.Mount) bool { return m.Target == "/dev" }); err != nil {
		return err
	}
	if err := s.root.MakeDev(); err != nil {
		return err
	}
	return s.root.Place(func(m *rootfs.Mount) bool {
		return (m.Type != "bind" || m.FD != 0) && strings.HasPrefix(m.Target, "/dev/")
	})
}

func (s *sandbox) sys() error {
	return s.root.Place(func(m *rootfs.Mount) bool { return m.Target == "/sys" || m.Type == "cgroup" })
}

func (s *sandbox) volumes() error {
	return s.root.Place(func(*rootfs.Mount) bool { return true })
}

func (s *sandbox) readOnly() error {
	if !s.plan.Rootfs.ReadOnly {
		return nil
	}
	return s.root.MakeRootReadOnly()
}

func (s *sandbox) hostname() error {
	if s.plan.Hostname == "" {
		return nil
	}
	return s.did(linux.Sethostname(s.plan.Hostname), "sethostname(%q)", s.plan.Hostname)
}

func (s *sandbox) loopback() error {
	if !s.plan.Loopback {
		return nil
	}
	return s.did(linux.LoopbackUp(), `ioctl("lo", SIOCSIFFLAGS, IFF_UP)`)
}

func (s *sandbox) sysctls() error {
	for _, setting := range s.plan.Sysctls {
		name, value, _ := strings.Cut(setting, "=")
		file := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
		if err := s.did(os.WriteFile(file, []byte(value), 0), "write(%q, %q)", file, value); err != nil {
			return fmt.Errorf("set the sysctl %s: %w", name, err)
		}
	}
	return nil
}

// console makes the terminal in the container's own devpts, so that its name and number mean something inside.
func (s *sandbox) console() error {
	if !s.plan.Terminal {
		return nil
	}
	master, slave, name, err := linux.OpenTerminal()
	if err := s.did(err, `open("/dev/ptmx") ioctl(TIOCGPTPEER) = %s`, name); err != nil {
		return err
	}
	defer master.Close()
	s.terminal = slave
	if err := s.root.BindConsole(name); err != nil {
		return err
	}
	return s.sendFD(message{Kind: "console"}, int(master.Fd()))
}

func (s *sandbox) workdir() error {
	if s.plan.Pause {
		return nil
	}
	cwd := path.Clean("/" + s.plan.Process.Cwd)
	err := linux.Chdir(cwd)
	if errors.Is(err, fs.ErrNotExist) {
		if err = s.did(os.MkdirAll(cwd, 0o755), "mkdir(%q)", cwd); err == nil {
			err = linux.Chdir(cwd)
		}
	}
	if err := s.did(err, "chdir(%q)", cwd); err != nil {
		return fmt.Errorf("enter the working folder: %w", err)
	}
	// WORKDIR /proc/self/fd/7 would be a folder of the host, had we left one open (CVE-2024-21626).
	if at, err := linux.Cwd(); err != nil || !strings.HasPrefix(at, "/") {
		return fmt.Errorf("the working folder %s is outside of the container", cwd)
	}
	return nil
}

// findCommand looks the command up as execvp(3) does. It tells "not found" (127) from "not executable" (126), which
// scripts rely on.
func (s *sandbox) findCommand() error {
	if s.plan.Pause {
		return nil
	}
	name := s.plan.Process.Args[0]
	var refused error
	for _, candidate := range candidates(name, lookup(s.plan.Process.Env, "PATH")) {
		info, err := os.Stat(candidate)
		switch {
		case err == nil && info.IsDir():
			refused = &os.PathError{Op: "execute", Path: candidate, Err: syscall.EISDIR}
		case err == nil && info.Mode()&0o111 == 0:
			refused = &os.PathError{Op: "execute", Path: candidate, Err: syscall.EACCES}
		case err == nil:
			s.command = candidate
			return nil
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
			refused = err
		}
	}
	if refused != nil {
		return hint.Wrap(hint.Exit(refused, hint.ExitNotExecutable), "name an executable file; for a script: sh "+name)
	}
	return notFound(name)
}

func candidates(name, searchPath string) []string {
	if name == "" || strings.Contains(name, "/") {
		return []string{name}
	}
	var list []string
	for _, dir := range strings.Split(searchPath, ":") {
		if !strings.HasPrefix(dir, "/") { // an empty or relative entry would mean the working folder
			continue
		}
		list = append(list, path.Join(dir, name))
	}
	return list
}

func lookup(env []string, name string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(env[i], name+"="); ok {
			return value
		}
	}
	return ""
}

func (s *sandbox) oomScore() error {
	if s.plan.joinsPIDs() { // whose /proc does not show us: see privateMounts
		return nil
	}
	return s.setOOMScore()
}

func (s *sandbox) setOOMScore() error {
	if s.plan.Process.OOMScoreAdj == nil {
		return nil
	}
	want := *s.plan.Process.OOMScoreAdj
	const file = "/proc/self/oom_score_adj"
	err := os.WriteFile(file, []byte(strconv.Itoa(want)), 0)
	_ = s.did(err, "write(%q, %d)", file, want)
	if errors.Is(err, fs.ErrPermission) {
		return nil // only CAP_SYS_RESOURCE of the host may lower it: clamped to what we were born with
	}
	return err
}
