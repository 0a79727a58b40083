package doctor

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/runtime/userns"
)

func (m *machine) kernel(context.Context) finding {
	const file = "/proc/sys/kernel/osrelease"
	release := m.read(file)
	evidence := []string{m.say("%s: %s, want 5.12 or newer", file, release)}
	major, minor, ok := version(release)
	switch {
	case !ok:
		return finding{Skip, evidence, nil}
	case major > 5 || major == 5 && minor >= 12:
		return finding{OK, evidence, nil}
	}
	return finding{Fail, evidence, []string{m.say("# upgrade to a distribution with a newer kernel: Debian 12, Ubuntu 22.04, Fedora 34, RHEL 9 or later")}}
}

// version reads the first two numbers of a kernel release, "6.1.0-18-amd64".
func version(release string) (major, minor int, ok bool) {
	first, rest, _ := strings.Cut(release, ".")
	digits := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if digits >= 0 {
		rest = rest[:digits]
	}
	major, err := strconv.Atoi(first)
	minor, err2 := strconv.Atoi(rest)
	return major, minor, err == nil && err2 == nil
}

// userns tries first. Policies that would forbid it, but evidently don't, are nobody's business.
func (m *machine) userns(context.Context) finding {
	const call = "clone(CLONE_NEWUSER|CLONE_NEWNS)"
	err := m.TryUserns()
	if err == nil {
		m.namespaces = true
		return finding{OK, []string{m.say("%s: works", call)}, nil}
	}
	f := finding{status: Fail, evidence: []string{call + ": " + err.Error()}}
	for _, name := range []string{userns.CloneSysctl, userns.AppArmorSysctl, userns.AppArmorLabel, userns.LimitFolder + "max_user_namespaces"} {
		if got := m.read(name); got != "" {
			f.evidence = append(f.evidence, name+": "+got)
		}
	}
	err = userns.Diagnose(err, m.readFile, m.Exe)
	var refusal *userns.Refusal
	if errors.As(err, &refusal) {
		f.evidence = append(f.evidence, refusal.Why)
		f.fix = refusal.Fix
	}
	if len(f.fix) == 0 {
		f.fix = []string{"# " + hint.Of(err)}
	}
	return f
}

func (m *machine) seccomp(context.Context) finding {
	const file = "/proc/sys/kernel/seccomp/actions_avail"
	actions := m.read(file)
	evidence := []string{m.say("%s: %q, want errno and allow among them", file, actions)}
	has := strings.Fields(actions)
	if slices.Contains(has, "errno") && slices.Contains(has, "allow") {
		return finding{OK, evidence, nil}
	}
	return finding{Fail, evidence, []string{m.say("# boot your distribution's own kernel: this one lacks CONFIG_SECCOMP_FILTER")}}
}
