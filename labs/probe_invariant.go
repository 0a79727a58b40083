package labs

import "strings"

// invariant is the lab's one of that name.
func (l *Lab) invariant(name string) (one *Invariant, before []Invariant) {
	for i := range l.Invariants {
		if l.Invariants[i].Name == name {
			return &l.Invariants[i], l.Invariants[:i]
		}
	}
	return nil, nil
}

// state is what an invariant comes to: with the evidence of the check that does not pass, or of all.
func (j *Judge) state(one *Invariant) Verdict {
	whole := Verdict{Status: Pass}
	for _, c := range one.Checks {
		v := j.Check(c)
		if v.Status != Pass {
			return Verdict{Status: v.Status, Evidence: v.Evidence}
		}
		whole.Evidence = append(whole.Evidence, v.Evidence...)
	}
	return whole
}

func invariantHolds(j *Judge, a Args) Verdict {
	one, _ := j.Lab.invariant(j.value(a.one("name")))
	if one == nil {
		return j.noInvariant(a)
	}
	return j.state(one)
}

// invariantBroken passes where the named invariant is broken, and none before it: what is broken there may be why. It cites the named one alone,
// since which one it is the learner is to find out.
func invariantBroken(j *Judge, a Args) Verdict {
	one, before := j.Lab.invariant(j.value(a.one("name")))
	if one == nil {
		return j.noInvariant(a)
	}
	v := j.state(one)
	switch v.Status {
	case Pass:
		for i := range v.Evidence {
			v.Evidence[i].Want = "anything else: this is as it has to be"
		}
		v.Status = Fail
	case Fail:
		v.Status = Pass
		for i := range before {
			if j.state(&before[i]).Status != Pass {
				return *failed(append(v.Evidence, Evidence{one.Name, "broken, and something before it in the list of choices, too", "what brought that about"})...)
			}
		}
	}
	return v
}

func (j *Judge) noInvariant(a Args) Verdict {
	var names []string
	for _, i := range j.Lab.Invariants {
		names = append(names, i.Name)
	}
	return *failed(Evidence{"lab answer", j.value(a.one("name")), j.say("one of %s", strings.Join(names, ", "))})
}
