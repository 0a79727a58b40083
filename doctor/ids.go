package doctor

import (
	"context"
	"io/fs"
	"os"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/runtime/idmap"
)

// enough is how many ids images expect: the 16 bits that Unix began with, "nobody" being the last or the one before.
const enough = 65536

func (m *machine) subuid(context.Context) finding {
	uids, gids, warning, err := m.IDs(m.UID, m.GID)
	if err != nil {
		return finding{Fail, []string{err.Error()}, []string{"# " + hint.Of(err)}}
	}
	users, groups := total(uids), total(gids)
	m.ranges = users > 1 && groups > 1
	evidence := []string{
		m.say("user ids for a container: %d, want %d or more", users, enough),
		m.say("group ids for a container: %d, want %d or more", groups, enough),
	}
	switch {
	case warning != nil:
		return finding{Warn, append(evidence, warning.Error()), []string{command(hint.Of(warning))}}
	case users < enough || groups < enough:
		return finding{Warn, evidence, []string{
			m.say("# let the lines of %s in /etc/subuid and /etc/subgid end in :%d, where no other user's range is in the way", m.User, enough),
			m.say("# then remove and pull again what was unpacked under the old ones: minipod rmi IMAGE"),
		}}
	}
	return finding{OK, evidence, nil}
}

func total(ids idmap.Map) (n uint64) {
	for _, r := range ids {
		n += uint64(r.Size)
	}
	return n
}

// command takes the command out of a hint "run `command`".
func command(advice string) string {
	if c, found := strings.CutPrefix(advice, "run `"); found && strings.HasSuffix(c, "`") {
		return strings.TrimSuffix(c, "`")
	}
	return "# " + advice
}

func (m *machine) newuidmap(context.Context) finding {
	if !m.ranges {
		return finding{Skip, []string{m.say("there are no ranges to map")}, nil}
	}
	if m.UID == 0 {
		return finding{Skip, []string{m.say("root of a namespace writes the maps itself")}, nil}
	}
	result := finding{status: OK}
	if value(m.read("/proc/self/status"), "NoNewPrivs:") == "1" {
		result.worse(m.say("/proc/self/status: NoNewPrivs: 1, want 0: no set-uid program gains anything below this shell"),
			m.say("# start minipod from a shell that was not started with no_new_privs (systemd: NoNewPrivileges=no)"))
	}
	for _, name := range []string{"newuidmap", "newgidmap"} {
		m.helper(name, &result)
	}
	return result
}

// helper looks at one of the two set-uid programs.
func (m *machine) helper(name string, result *finding) {
	path, err := m.LookPath(name)
	if err != nil {
		result.worse(err.Error(), m.install(uidmapPackage()))
		return
	}
	info, err := os.Stat(m.Root + path)
	if err != nil {
		result.worse(err.Error(), m.install(uidmapPackage()))
		return
	}
	if info.Mode()&fs.ModeSetuid == 0 && !m.HasCaps(m.Root+path) {
		result.worse(m.say("%s: mode %v, want set-uid root or file capabilities", path, info.Mode()), "sudo chmod u+s "+path)
		return
	}
	if mount, err := m.Statfs(m.Root + path); err == nil && mount.Nosuid {
		result.worse(m.say("%s: on a file system that is mounted nosuid", path), m.say("# mount it without nosuid: findmnt --target %s", path))
		return
	}
	result.evidence = append(result.evidence, m.say("%s: privileged", path))
}

// worse turns a finding into a failure.
func (f *finding) worse(evidence, fix string) {
	f.status = Fail
	f.evidence = append(f.evidence, evidence)
	if len(f.fix) == 0 || f.fix[len(f.fix)-1] != fix { // both programs are of one package
		f.fix = append(f.fix, fix)
	}
}

// value returns what follows key in the lines of text.
func value(text, key string) string {
	for line := range strings.Lines(text) {
		if v, found := strings.CutPrefix(line, key); found {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
