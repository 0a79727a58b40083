package doctor

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"

	"codeberg.org/minipod/minipod/internal/lang"
)

// proc asks whether a container may have a /proc of its own. In a user namespace the kernel mounts a new one only where
// another is in sight as a whole: no part of it covered, and not read-only (mount_too_revealing in fs/namespace.c). Other
// containers, Docker's among them, cover parts of theirs.
func (m *machine) proc(context.Context) finding {
	const file = "/proc/self/mountinfo"
	text, err := m.readFile(file)
	if err != nil {
		return finding{Skip, []string{err.Error()}, nil}
	}
	obstacles, err := procObstacles(text, m.Language)
	if err != nil {
		return finding{Skip, []string{file + ": " + err.Error()}, nil}
	}
	if len(obstacles) == 0 {
		return finding{OK, []string{m.say("%s: a proc with nothing of it covered", file)}, nil}
	}
	f := finding{status: Fail, fix: []string{
		m.say("# run minipod outside of this container, or start the container with its /proc uncovered:"),
		"docker run --security-opt systempaths=unconfined …",
		"podman run --security-opt unmask=ALL …",
	}}
	for _, o := range obstacles {
		f.evidence = append(f.evidence, file+": "+o)
	}
	return f
}

// procObstacles returns what is in the way of a new proc, given the text of /proc/self/mountinfo; nothing where one of the
// mounted procs is whole.
func procObstacles(text []byte, language lang.Lang) ([]string, error) {
	mounts, err := mountinfo.GetMountsFromReader(bytes.NewReader(text), nil)
	if err != nil {
		return nil, err
	}
	var obstacles []string
	for _, m := range mounts {
		if m.FSType != "proc" || m.Root != "/" {
			continue
		}
		here := coveredBy(m, mounts, language)
		if slices.Contains(strings.Split(m.Options, ","), "ro") {
			here = append(here, language.Say("%s is mounted read-only", m.Mountpoint))
		}
		if len(here) == 0 {
			return nil, nil
		}
		obstacles = append(obstacles, here...)
	}
	if len(obstacles) == 0 {
		obstacles = []string{language.Say("no whole proc is mounted, want one at /proc")}
	}
	return obstacles, nil
}

// mountPoints are folders of proc that exist to be mounted on, and show nothing themselves: the kernel passes over them.
var mountPoints = [...]string{"/sys/fs/binfmt_misc", "/fs/nfsd", "/openprom"}

func coveredBy(proc *mountinfo.Info, mounts []*mountinfo.Info, language lang.Lang) (covered []string) {
	for _, m := range mounts {
		if m.Parent != proc.ID || m.ID == proc.ID || slices.Contains(mountPoints[:], strings.TrimPrefix(m.Mountpoint, proc.Mountpoint)) {
			continue
		}
		covered = append(covered, language.Say("%s is covered by a %s, want nothing mounted there", m.Mountpoint, m.FSType))
	}
	return covered
}
