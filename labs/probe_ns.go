package labs

import (
	"fmt"
	"slices"
	"strings"
)

// namespaceKinds are those of /proc/PID/ns that a container may have of its own.
var namespaceKinds = [...]string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"}

func nsSame(j *Judge, a Args) Verdict   { return j.compareNamespaces(a, true) }
func nsDiffer(j *Judge, a Args) Verdict { return j.compareNamespaces(a, false) }

func (j *Judge) compareNamespaces(a Args, same bool) Verdict {
	p, q, refused := j.two(a, "with")
	if refused != nil {
		return *refused
	}
	want := map[bool]string{true: "equal", false: "different"}[same]
	v := Verdict{Status: Pass}
	for _, kind := range a["types"] {
		n, err := j.kernel().namespace(p, kind)
		if err != nil {
			return *unreadable(err)
		}
		m, err := j.kernel().namespace(q, kind)
		if err != nil {
			return *unreadable(err)
		}
		if (n == m) != same {
			v.Status = Fail
		}
		v.Evidence = append(v.Evidence, Evidence{
			fmt.Sprintf("%s %s", a.one("of"), p.file("ns/"+kind)),
			fmt.Sprintf("%s; %s %s is %s", n.text(kind), a.one("with"), q.file("ns/"+kind), m.text(kind)), want,
		})
	}
	return v
}

// nsOnly passes where exactly these namespaces differ, and all others are the same.
func nsOnly(j *Judge, a Args) Verdict {
	p, q, refused := j.two(a, "with")
	if refused != nil {
		return *refused
	}
	var differ []string
	for _, kind := range namespaceKinds {
		n, err := j.kernel().namespace(p, kind)
		if err != nil {
			return *unreadable(err)
		}
		m, err := j.kernel().namespace(q, kind)
		if err != nil {
			return *unreadable(err)
		}
		if n != m {
			differ = append(differ, kind)
		}
	}
	want := slices.Clone(a["types"])
	got := strings.Join(differ, " ")
	slices.Sort(differ)
	slices.Sort(want)
	if got == "" {
		got = "none"
	}
	return verdict(slices.Equal(differ, want), Evidence{p.file("ns/*"), fmt.Sprintf("other than %s's: %s", a.one("with"), got), strings.Join(a["types"], " ")})
}

// nsOwner tells whose a namespace is. Capabilities count in a user namespace, and over what was made in it: root in a container has none over
// a network of the host's (user_namespaces(7), Interaction of user namespaces and other types of namespaces).
func nsOwner(j *Judge, a Args) Verdict {
	p, refused := j.process(a.one("of"))
	if refused != nil {
		return *refused
	}
	own, err := j.kernel().namespace(p, "user")
	if err != nil {
		return *unreadable(err)
	}
	want := map[bool]string{true: own.text("user") + ", its own", false: "another than " + own.text("user") + ", its own"}[a.one("is") == "own"]
	v := Verdict{Status: Pass}
	for _, kind := range a["types"] {
		owner, err := j.World.OwnerOf(p, kind)
		if err != nil {
			return *unreadable(err)
		}
		got := fmt.Sprintf("belongs to user:[%d]", owner)
		if owner == 0 {
			got = "belongs to a user namespace above yours"
		}
		if (owner == own.ino) != (a.one("is") == "own") {
			v.Status = Fail
		}
		v.Evidence = append(v.Evidence, Evidence{p.file("ns/" + kind), got, want})
	}
	return v
}

// nsKept passes where the role's namespaces are those that it had when the step `since` was passed, whichever process plays it now.
func nsKept(j *Judge, a Args) Verdict {
	before, refused := j.before(a)
	if refused != nil {
		return *refused
	}
	p, refused := j.process(a.one("of"))
	if refused != nil {
		return *refused
	}
	v := Verdict{Status: Pass}
	for _, kind := range a["types"] {
		n, err := j.kernel().namespace(p, kind)
		if err != nil {
			return *unreadable(err)
		}
		if n.ino != before.Namespaces[kind] {
			v.Status = Fail
		}
		v.Evidence = append(v.Evidence, Evidence{p.file("ns/" + kind), n.text(kind), fmt.Sprintf("%s:[%d], as PID %d had it", kind, before.Namespaces[kind], before.PID)})
	}
	return v
}
