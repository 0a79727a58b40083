package labs

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
)

// mountAt is the mount that a process sees at a path: of several on top of one another, the last.
func (j *Judge) mountAt(role, at string) (Process, *mount, *Verdict) {
	p, refused := j.process(role)
	if refused != nil {
		return p, nil, refused
	}
	mounts, err := j.kernel().mounts(p)
	if err != nil {
		return p, nil, unreadable(err)
	}
	for i := range slices.Backward(mounts) {
		if mounts[i].at == at {
			return p, &mounts[i], nil
		}
	}
	return p, nil, nil
}

func mountHas(j *Judge, a Args) Verdict {
	at := a.one("at")
	p, m, refused := j.mountAt(a.one("of"), at)
	if refused != nil {
		return *refused
	}
	want := []string{j.say("a mount at %s", at)}
	if t := a.one("type"); t != "" {
		want = append(want, j.say("type %s", t))
	}
	want = append(want, a["options"]...)
	for _, o := range a["not"] {
		want = append(want, j.say("not %s", o))
	}
	if m == nil {
		return verdict(false, Evidence{p.file("mountinfo"), j.say("nothing at %s", at), strings.Join(want, ", ")})
	}
	ok := a.one("type") == "" || a.one("type") == m.fstype
	for _, o := range a["options"] {
		_, there := m.option(o)
		ok = ok && there
	}
	for _, o := range a["not"] {
		_, there := m.option(o)
		ok = ok && !there
	}
	got := j.say("%s is %s on %s (%s %s)", at, m.fstype, m.source, strings.Join(m.options, ","), strings.Join(m.super, ","))
	return verdict(ok, Evidence{p.file("mountinfo"), got, strings.Join(want, ", ")})
}

// mountLacks passes where there is no mount at a place, or none with a tag of propagation (shared, master).
func mountLacks(j *Judge, a Args) Verdict {
	p, refused := j.process(a.one("of"))
	if refused != nil {
		return *refused
	}
	mounts, err := j.kernel().mounts(p)
	if err != nil {
		return *unreadable(err)
	}
	want := j.say("no mount at %s", orElse(a.one("at"), "*"))
	if tag := a.one("tag"); tag != "" {
		want = j.say("no mount that is %s", tag+":")
	}
	for _, m := range mounts {
		tagged := a.one("tag") == "" || slices.ContainsFunc(m.tags, func(t string) bool { return strings.HasPrefix(t, a.one("tag")+":") })
		if tagged && (a.one("at") == "" || a.one("at") == m.at) {
			return verdict(false, Evidence{p.file("mountinfo"), strings.TrimSpace(m.at + " " + strings.Join(m.tags, " ")), want})
		}
	}
	return verdict(true, Evidence{p.file("mountinfo"), j.say("%d mounts", len(mounts)), want})
}

// mountRoot tells pivot_root(2) from chroot(2): after the first a process's root is the root of its mount namespace, after the second it is
// somewhere below, and whoever enters the namespace anew stands above it.
func mountRoot(j *Judge, a Args) Verdict {
	p, refused := j.process(a.one("of"))
	if refused != nil {
		return *refused
	}
	its, err := j.kernel().stat(p.file("root/"))
	if err != nil {
		return *unreadable(err)
	}
	dev, ino, err := j.World.RootOf(p)
	if err != nil {
		return *unreadable(err)
	}
	same := its.Dev == dev && its.Ino == ino
	got := j.say("%s is %d:%d, the root of %s is %d:%d", p.file("root"), its.Dev, its.Ino, p.file("ns/mnt"), dev, ino)
	if a.one("by") == "chroot" {
		return verdict(!same, Evidence{p.file("root"), got, "different"})
	}
	return verdict(same, Evidence{p.file("root"), got, "equal"})
}

func fsSame(j *Judge, a Args) Verdict   { return j.compareFiles(a, true) }
func fsDiffer(j *Judge, a Args) Verdict { return j.compareFiles(a, false) }

// compareFiles compares st_dev and st_ino of what two processes see by one name.
func (j *Judge) compareFiles(a Args, same bool) Verdict {
	p, q, refused := j.two(a, "with")
	if refused != nil {
		return *refused
	}
	first, second := p.file("root"+a.one("path")), q.file("root"+a.one("path"))
	s, err := j.kernel().stat(first)
	if err != nil {
		return *unreadable(err)
	}
	t, err := j.kernel().stat(second)
	if err != nil {
		return *unreadable(err)
	}
	equal := s.Dev == t.Dev && s.Ino == t.Ino
	return verdict(equal == same, Evidence{
		j.who(a.one("of")) + " " + j.file(p, "root"+a.one("path")),
		j.say("st_dev %d st_ino %d; %s %s has %d and %d", s.Dev, s.Ino, j.who(a.one("with")), j.file(q, "root"+a.one("path")), t.Dev, t.Ino),
		map[bool]string{true: "equal", false: "different"}[same],
	})
}

// fsContent compares a file that a process sees, without the line's end. Its path may be what the learner answered.
func fsContent(j *Judge, a Args) Verdict {
	p, refused := j.process(a.one("of"))
	if refused != nil {
		return *refused
	}
	at := j.value(a.one("path"))
	if !path.IsAbs(at) {
		return verdict(false, Evidence{"lab answer", at, "a path from /"})
	}
	name := p.file(path.Join("root", path.Clean(at)))
	got, err := j.kernel().read(name)
	if errors.Is(err, fs.ErrNotExist) && j.kernel().alive(p) {
		return verdict(false, Evidence{name, "no such file", "the file"})
	}
	if err != nil {
		return *unreadable(err)
	}
	got = strings.TrimSpace(got)
	ok, want := j.compare(a, got)
	if len(got) > 100 {
		got = got[:100] + "…"
	}
	return verdict(ok, Evidence{name, got, want})
}

// fsOwner says whose a file below the world's folder is: "me" or "other" than the learner's.
func fsOwner(j *Judge, a Args) Verdict {
	name := path.Join(j.World.Root(), a.one("path"))
	st, err := j.kernel().lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return verdict(false, Evidence{name, "no such file", "the file"})
	}
	if err != nil {
		return *unreadable(err)
	}
	mine := int(st.Uid) == j.UID
	want := j.say("owner %d, you", j.UID)
	if a.one("is") != "me" {
		return verdict(!mine, Evidence{name, j.say("owner %d", st.Uid), j.say("another id than %d", j.UID)})
	}
	return verdict(mine, Evidence{name, j.say("owner %d", st.Uid), want})
}

// upperHas looks at what a container has written: the upper folder of its overlay, seen from the host. A whiteout is the mark of a file that was
// removed: a device 0/0, or (Linux 6.7) an extended attribute, which only shows as a file of no length to us.
func upperHas(j *Judge, a Args) Verdict {
	p, m, refused := j.mountAt(a.one("of"), "/")
	if refused != nil {
		return *refused
	}
	upper, ok := "", false
	if m != nil {
		upper, ok = m.option("upperdir")
	}
	if !ok {
		return Verdict{Status: Unknown, Evidence: []Evidence{{p.file("mountinfo"), "no upperdir at /", "an overlay (see: minipod doctor)"}}}
	}
	if !path.IsAbs(upper) {
		upper = path.Join(j.World.Root(), upper)
	}
	name := path.Join(upper, a.one("path"))
	st, err := j.kernel().lstat(name)
	got := "nothing"
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return *unreadable(err)
	case st.Mode&syscall.S_IFMT == syscall.S_IFCHR && st.Rdev == 0:
		got = "whiteout"
	case st.Mode&syscall.S_IFMT == syscall.S_IFDIR:
		got = "folder"
	default:
		got = "file"
	}
	return verdict(got == a.one("is"), Evidence{name, got, a.one("is")})
}
