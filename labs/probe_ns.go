package labs

import (
	"fmt"
	"slices"
	"strconv"
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
		v.cite((n == m) == same, Evidence{
			j.who(a.one("of")) + " " + j.file(p, "ns/"+kind),
			j.say("%s; %s %s is %s", n.text(kind), j.who(a.one("with")), j.file(q, "ns/"+kind), m.text(kind)), want,
		})
	}
	return v
}

// cite adds one of several things that have to be so. Of a verdict that fails only those are cited that are not: where six of seven are right, the
// seventh is to be seen.
func (v *Verdict) cite(ok bool, e Evidence) {
	switch {
	case ok && v.Status == Fail:
		return
	case !ok && v.Status == Pass:
		v.Status, v.Evidence = Fail, nil
	}
	v.Evidence = append(v.Evidence, e)
}

// nsHostName passes where the host name in the role's UTS namespace is the wanted one, and in the other's it is not.
func nsHostName(j *Judge, a Args) Verdict {
	p, q, refused := j.two(a, "with")
	if refused != nil {
		return *refused
	}
	v := Verdict{Status: Pass}
	for _, one := range []struct {
		role string
		Process
		same bool
	}{{a.one("of"), p, true}, {a.one("with"), q, false}} {
		name, err := j.World.HostName(one.Process)
		if err != nil {
			return *unreadable(err)
		}
		want := a.one("want")
		if !one.same {
			want = j.say("not %s", want)
		}
		v.cite((name == a.one("want")) == one.same, Evidence{j.who(one.role) + " " + j.file(one.Process, "ns/uts"), j.say("host name %s", name), want})
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
		got = j.say("none")
	}
	return verdict(slices.Equal(differ, want), Evidence{p.file("ns/*"), j.say("other than that of %s: %s", j.who(a.one("with")), got), strings.Join(a["types"], " ")})
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
	want := j.say("%s, its own", own.text("user"))
	if a.one("is") != "own" {
		want = j.say("another than %s", want)
	}
	v := Verdict{Status: Pass}
	for _, kind := range a["types"] {
		owner, err := j.World.OwnerOf(p, kind)
		if err != nil {
			return *unreadable(err)
		}
		got := j.say("belongs to %s", fmt.Sprintf("user:[%d]", owner))
		if owner == 0 {
			got = "belongs to a user namespace above yours"
		}
		v.cite((owner == own.ino) == (a.one("is") == "own"), Evidence{p.file("ns/" + kind), got, want})
	}
	return v
}

// nsKept passes where the role's namespaces are those that it had when the step `since` was passed, whichever process plays it now. With `by`, the
// one who plays that role has to be who held them then: when the last process has left a namespace, the kernel gives its number to another.
func nsKept(j *Judge, a Args) Verdict {
	before, refused := j.before(a)
	if refused != nil {
		return *refused
	}
	p, refused := j.process(a.one("of"))
	if refused != nil {
		return *refused
	}
	if by := a.one("by"); by != "" {
		if held := procKept(j, Args{"of": {by}, "since": a["since"]}); held.Status != Pass {
			return held
		}
	}
	v := Verdict{Status: Pass}
	for _, kind := range a["types"] {
		n, err := j.kernel().namespace(p, kind)
		if err != nil {
			return *unreadable(err)
		}
		v.cite(n.ino == before.Namespaces[kind], Evidence{p.file("ns/" + kind), j.say("%s; before, PID %d had %s", n.text(kind), before.PID, namespace{ino: before.Namespaces[kind]}.text(kind)), "equal"})
	}
	return v
}

// ipcQueues counts the System V message queues of the role's ipc namespace: a line each of /proc/sysvipc/msg, below the titles.
func ipcQueues(j *Judge, a Args) Verdict {
	p, refused := j.process(a.one("of"))
	if refused != nil {
		return *refused
	}
	text, err := j.World.Queues(p)
	if err != nil {
		return *unreadable(err)
	}
	var ids []string
	for line := range strings.Lines(text) { // key msqid perms cbytes qnum …
		if f := strings.Fields(line); len(f) > 1 && f[0] != "key" {
			ids = append(ids, f[1])
		}
	}
	ok, want := j.compare(a, strconv.Itoa(len(ids)))
	got := j.say("queues: %d", len(ids))
	if len(ids) > 0 {
		got = j.say("queues: %d (msqid %s)", len(ids), strings.Join(ids, " "))
	}
	return verdict(ok, Evidence{j.say("/proc/sysvipc/msg in the ipc namespace of %s", j.who(a.one("of"))), got, want})
}
