package labs

import (
	"fmt"
	"strconv"
	"strings"
)

func procAlive(j *Judge, a Args) Verdict {
	p, refused := j.process(a.one("of"))
	if refused != nil {
		return *refused
	}
	s, err := j.kernel().procStat(p.PID)
	if err != nil {
		return *unreadable(err)
	}
	return verdict(true, Evidence{p.file("stat"), "state " + string(s.state), "alive"})
}

// procAbsent passes where nobody plays the role: it is there for diagnoses.
func procAbsent(j *Judge, a Args) Verdict {
	p, refused := j.process(a.one("of"))
	switch {
	case refused == nil:
		return verdict(false, Evidence{p.file("stat"), "alive", "gone"})
	case refused.Status == Unknown:
		return *refused
	}
	return verdict(true, refused.Evidence...)
}

// procGone passes where who played the role when the step `since` was passed has ended.
func procGone(j *Judge, a Args) Verdict {
	before, refused := j.before(a)
	if refused != nil {
		return *refused
	}
	if j.kernel().alive(before.Process) {
		return verdict(false, Evidence{before.file("stat"), "alive", "gone"})
	}
	return verdict(true, Evidence{before.file("stat"), "gone", "gone"})
}

// before is who played the role `of` when the step `since` was passed.
func (j *Judge) before(a Args) (Snapshot, *Verdict) {
	role, step := a.one("of"), a.one("since")
	s, ok := j.Passed[step][role]
	if !ok {
		return s, &Verdict{Status: Unknown, Evidence: []Evidence{{j.say("step %s", step), j.say("no %s was seen then", role), "a living process"}}}
	}
	return s, nil
}

func procRenewed(j *Judge, a Args) Verdict {
	before, refused := j.before(a)
	if refused != nil {
		return *refused
	}
	p, refused := j.process(a.one("of"))
	if refused != nil {
		return *refused
	}
	// Before is a part of what was read: also who passes is to see both.
	return verdict(p != before.Process, Evidence{j.who(a.one("of")), j.say("%s; before: %s", j.tell(p), j.tell(before.Process)), j.say("another than before")})
}

func procKept(j *Judge, a Args) Verdict {
	before, refused := j.before(a)
	if refused != nil {
		return *refused
	}
	p, refused := j.process(a.one("of"))
	if refused != nil {
		return *refused
	}
	return verdict(p == before.Process, Evidence{j.who(a.one("of")), j.tell(p), j.tell(before.Process)})
}

// String tells a process by what makes it that one.
func (p Process) String() string { return fmt.Sprintf("PID %d (started at tick %d)", p.PID, p.Birth) }

// tell is String in the learner's language.
func (j *Judge) tell(p Process) string {
	return j.say("PID %d (started at tick %d, field 22 of its stat)", p.PID, p.Birth)
}

func (j *Judge) two(a Args, second string) (p, q Process, refused *Verdict) {
	if p, refused = j.process(a.one("of")); refused != nil {
		return p, q, refused
	}
	q, refused = j.process(a.one(second))
	return p, q, refused
}

func procIs(j *Judge, a Args) Verdict {
	p, q, refused := j.two(a, "is")
	if refused != nil {
		return *refused
	}
	// What plays the other role stays unsaid while it differs: it is the answer.
	if p != q {
		return verdict(false, Evidence{p.file("status"), j.describe(p), j.say("the command of %s", j.who(a.one("is")))})
	}
	return verdict(true, Evidence{p.file("status"), j.describe(p), a.one("is")})
}

func procIsnt(j *Judge, a Args) Verdict {
	p, q, refused := j.two(a, "is")
	if refused != nil {
		return *refused
	}
	return verdict(p != q, Evidence{p.file("status"), j.describe(p), j.say("another than %s", j.who(a.one("is")))})
}

// describe is a process's name and the PIDs that it has, the outermost first; of one whose parent is a container's PID 1, which one.
func (j *Judge) describe(p Process) string {
	name, err := j.kernel().status(p, "Name")
	pids, err2 := j.kernel().status(p, "NSpid")
	if err != nil || err2 != nil {
		return "unreadable"
	}
	text := fmt.Sprintf("Name %s, NSpid %s", name, pids)
	if s, err := j.kernel().procStat(p.PID); err == nil {
		if parent := (Process{PID: s.parent}); j.isSandbox(parent) {
			line, _ := j.kernel().cmdline(parent)
			text += j.say("; its parent is %q", line)
		}
	}
	return text
}

// procArgs compares the command line of who plays the role: its words, as a shell would have been told them.
func procArgs(j *Judge, a Args) Verdict {
	p, refused := j.process(a.one("of"))
	if refused != nil {
		return *refused
	}
	got, err := j.kernel().cmdline(p)
	if err != nil {
		return *unreadable(err)
	}
	want := a.one("want")
	// What interprets another machine's programs comes before the words.
	v := verdict(got == want || strings.HasSuffix(got, " "+want), Evidence{p.file("cmdline"), got, want})
	if v.Status == Fail {
		v.Lacks = &Lack{Who: j.who(a.one("of")), Command: want}
	}
	return v
}

// beside is who plays the role `of`, once `beside` is there, too: before that there is nothing to count.
func (j *Judge) beside(a Args) (Process, *Verdict) {
	p, refused := j.process(a.one("of"))
	if refused == nil && a.one("beside") != "" {
		_, refused = j.process(a.one("beside"))
	}
	return p, refused
}

// childrenThat returns the process, and the PIDs of its children whose state is one of the wanted.
func (j *Judge) childrenThat(a Args, wanted func(state byte) bool) (p Process, pids []string, refused *Verdict) {
	if p, refused = j.beside(a); refused != nil {
		return p, nil, refused
	}
	children, states, err := j.kernel().children(p.PID)
	if err != nil {
		return p, nil, unreadable(err)
	}
	for i, state := range states {
		if wanted(state) {
			pids = append(pids, strconv.Itoa(children[i].PID))
		}
	}
	return p, pids, nil
}

// procChildren counts the children of the process that live: zombies don't.
func procChildren(j *Judge, a Args) Verdict {
	p, living, refused := j.childrenThat(a, func(state byte) bool { return state != 'Z' && state != 'X' })
	if refused != nil {
		return *refused
	}
	ok, want := j.compare(a, strconv.Itoa(len(living)))
	return verdict(ok, Evidence{"/proc/*/stat", j.say("%d living children of %d: %s", len(living), p.PID, strings.Join(living, " ")), want})
}

func procNSpid(j *Judge, a Args) Verdict {
	p, refused := j.process(a.one("of"))
	if refused != nil {
		return *refused
	}
	text, err := j.kernel().status(p, "NSpid")
	if err != nil {
		return *unreadable(err)
	}
	pids := strings.Fields(text)
	depth, _ := strconv.Atoi(a.one("depth"))
	want := j.say("%d columns or more", depth)
	ok := len(pids) >= depth
	if most := a.one("max"); most != "" {
		n, _ := strconv.Atoi(most)
		want = j.say("%s, at most %s", want, most)
		ok = ok && len(pids) <= n
	}
	if inner := j.value(a.one("inner")); inner != "" {
		if strings.HasPrefix(a.one("inner"), "answer:") {
			want = j.say("the last column is your answer, %s", inner)
		} else {
			want = j.say("%s, the last is %s", want, inner)
		}
		ok = ok && pids[len(pids)-1] == inner
	}
	return verdict(ok, Evidence{p.file("status"), "NSpid: " + text, want})
}

// value is an argument, or with "answer:NAME" what the learner answered.
func (j *Judge) value(text string) string {
	if name, ok := strings.CutPrefix(text, "answer:"); ok {
		return orElse(j.Answers[name].Text, j.say("(no answer yet)"))
	}
	return text
}

func procStatus(j *Judge, a Args) Verdict {
	p, refused := j.process(a.one("of"))
	if refused != nil {
		return *refused
	}
	field := a.one("field")
	got, err := j.kernel().status(p, field)
	if err != nil {
		return *unreadable(err)
	}
	if field == "Uid" || field == "Gid" { // real, effective, saved, file system
		got, _, _ = strings.Cut(got, " ")
	}
	if field == "State" {
		got = got[:min(1, len(got))]
	}
	ok, want := j.compare(a, got)
	return verdict(ok, Evidence{p.file("status"), field + ": " + got, want})
}

// procIDMap finds what an id inside is outside.
func procIDMap(j *Judge, a Args) Verdict {
	p, refused := j.process(a.one("of"))
	if refused != nil {
		return *refused
	}
	file := p.file(a.one("file"))
	text, err := j.kernel().read(file)
	if err != nil {
		return *unreadable(err)
	}
	inside, _ := strconv.ParseUint(a.one("inside"), 10, 32)
	got := j.say("%d is not mapped", inside)
	outside := ""
	for line := range strings.Lines(text) {
		var first, to, count uint64
		if n, _ := fmt.Sscan(line, &first, &to, &count); n == 3 && first <= inside && inside < first+count {
			outside = strconv.FormatUint(to+inside-first, 10)
			got = j.say("%d inside is %s outside", inside, outside)
		}
	}
	ok, want := j.compare(Args{"want": {a.one("outside")}}, outside)
	return verdict(ok, Evidence{file, got, want})
}

func procParent(j *Judge, a Args) Verdict {
	p, q, refused := j.two(a, "is")
	if refused != nil {
		return *refused
	}
	s, err := j.kernel().procStat(p.PID)
	if err != nil {
		return *unreadable(err)
	}
	return verdict(s.parent == q.PID, Evidence{p.file("status"), fmt.Sprintf("PPid: %d", s.parent), j.say("%d, which is %s", q.PID, j.who(a.one("is")))})
}

// procReaped passes where the process has waited for a child that had ended; with `since`, for another since that step was passed. The kernel has no
// count of those, but adds up what page faults they had.
func procReaped(j *Judge, a Args) Verdict {
	p, refused := j.beside(a)
	if refused != nil {
		return *refused
	}
	s, err := j.kernel().procStat(p.PID)
	if err != nil {
		return *unreadable(err)
	}
	least := uint64(0)
	if before, ok := j.Passed[a.one("since")][a.one("of")]; ok && before.Process == p {
		least = before.Reaped
	}
	return verdict(s.reaped > least, Evidence{p.file("stat"), j.say("cminflt %d (page faults of the children that it has reaped)", s.reaped), j.say("more than %d", least)})
}

// procZombies counts the children of the process that have ended and wait for it to notice.
func procZombies(j *Judge, a Args) Verdict {
	p, zombies, refused := j.childrenThat(a, func(state byte) bool { return state == 'Z' })
	if refused != nil {
		return *refused
	}
	ok, want := j.compare(a, strconv.Itoa(len(zombies)))
	got := j.say("%d in state Z with PPid %d", len(zombies), p.PID)
	if len(zombies) > 0 {
		got += ": " + strings.Join(zombies, " ")
	}
	return verdict(ok, Evidence{"/proc/*/stat", got, want})
}
