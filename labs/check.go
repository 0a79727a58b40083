package labs

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
)

// Args are a check's arguments, as lab.yaml has them.
type Args map[string][]string

func (a Args) one(key string) string {
	if len(a[key]) == 0 {
		return ""
	}
	return a[key][0]
}

// String is the check as a person may read it: "ns.same of web with side types net,ipc".
func (c Check) String() string {
	parts := []string{c.Kind}
	for _, key := range kinds()[c.Kind].arguments() {
		if values := c.Args[key]; len(values) > 0 && (c.Kind != "answer" || key == "name") { // the right answer is not for us to tell
			parts = append(parts, key+" "+strings.Join(values, ","))
		}
	}
	return strings.Join(parts, " ")
}

// A kind of check: which arguments it takes (those with ! it must have), and what decides on it.
type kind struct {
	takes string
	probe func(*Judge, Args) Verdict
}

// comparison are the arguments of compare.
const comparison = "want not min max"

// kinds is a function, since some kinds decide by others.
func kinds() map[string]kind {
	return map[string]kind{
		"proc.alive":    {"of!", procAlive},
		"proc.gone":     {"of! since!", procGone},
		"proc.is":       {"of! is!", procIs},
		"proc.isnt":     {"of! is!", procIsnt},
		"proc.nspid":    {"of! depth! inner max", procNSpid},
		"proc.status":   {"of! field! " + comparison, procStatus},
		"proc.args":     {"of! want!", procArgs},
		"proc.children": {"of! beside " + comparison, procChildren},
		"proc.absent":   {"of!", procAbsent},
		"ns.hostname":   {"of! with! want!", nsHostName},
		"proc.idmap":    {"of! file! inside! outside!", procIDMap},
		"proc.parent":   {"of! is!", procParent},
		"proc.reaped":   {"of! beside since", procReaped},
		"proc.zombies":  {"of! beside " + comparison, procZombies},
		"proc.renewed":  {"of! since!", procRenewed},
		"proc.kept":     {"of! since!", procKept},
		"ns.same":       {"of! with! types!", nsSame},
		"ns.differ":     {"of! with! types!", nsDiffer},
		"ns.only":       {"of! with! types!", nsOnly},
		"ns.kept":       {"of! since! types! by", nsKept},
		"ns.owner":      {"of! types! is!", nsOwner},
		"mount.has":     {"of! at! type options not", mountHas},
		"mount.lacks":   {"of! at tag", mountLacks},
		"mount.root":    {"of! by!", mountRoot},
		"cgroup.file":   {"of! file! key " + comparison, cgroupFile},
		"cgroup.peers":  {"of! with!", cgroupPeers},
		"fs.same":       {"of! with! path!", fsSame},
		"fs.differ":     {"of! with! path!", fsDiffer},
		"fs.content":    {"of! path! " + comparison, fsContent},
		"fs.owner":      {"path! is!", fsOwner},
		"upper.has":     {"of! path! is!", upperHas},
		"ipc.queues":    {"of! " + comparison, ipcQueues},
		"net.counter":   {"of! counter! " + comparison, netCounter},
		"net.listens":   {"of! port!", netListens},
		"net.route":     {"of! is!", netRoute},
		"net.address":   {"of! is!", netAddress},
		"net.loopback":  {"of!", netLoopback},
		"event.order":   {"order! from not", eventOrder},
		"pod.restarts":  {"of! " + comparison, podRestarts},
		"http":          {"url! status body", httpGet},
		"answer":        {"name! want shows", answered},

		"invariant.holds":  {"name!", invariantHolds},
		"invariant.broken": {"name!", invariantBroken},
	}
}

func (k kind) arguments() []string {
	return strings.Fields(strings.ReplaceAll(k.takes, "!", ""))
}

// roles tells whether the argument of that name is a role.
func (k kind) roles(c, key string) bool {
	return key == "of" || key == "with" || key == "shows" || key == "beside" || key == "by" && c == "ns.kept" || key == "is" && k.takes == "of! is!" && strings.HasPrefix(c, "proc.")
}

// check finds the mistakes of whoever wrote the arguments.
func (k kind) check(a Args) error {
	for _, word := range strings.Fields(k.takes) {
		if key, required := strings.CutSuffix(word, "!"); required && len(a[key]) == 0 {
			return hint.Wrap(fmt.Errorf("%s is missing", key), "it takes "+strings.Join(k.arguments(), ", "))
		}
	}
	for _, kind := range a["types"] {
		if !slices.Contains(namespaceKinds[:], kind) {
			return hint.Wrap(fmt.Errorf("%q is no namespace", kind), "use "+strings.Join(namespaceKinds[:], ", "))
		}
	}
	for _, key := range []string{"min", "max", "depth", "port", "inside"} {
		text := a.one(key)
		if key == "port" {
			if _, inside, ok := publishedPort(text); ok {
				text = inside
			}
		}
		if text != "" {
			if _, err := strconv.ParseUint(text, 10, 64); err != nil {
				return hint.Wrap(fmt.Errorf("%s: %q is no number", key, text), "write one")
			}
		}
	}
	for _, key := range []string{"path", "at"} {
		if text := a.one(key); text != "" && (path.Clean(text) != text || strings.Contains(text, "..")) {
			return hint.Wrap(fmt.Errorf("%s: %q is no clean path", key, text), "write it without . and ..")
		}
	}
	if strings.Contains(k.takes, comparison) {
		n := 0
		for key := range a {
			if slices.Contains(strings.Fields(comparison), key) {
				n++
			}
		}
		if n == 0 {
			return hint.Wrap(fmt.Errorf("nothing is compared"), "use one of want, not, min, max")
		}
	}
	return nil
}

// compare holds got against want, not, min and max. "me" is the learner's uid, and "answer:NAME" what the learner answered.
func (j *Judge) compare(a Args, got string) (ok bool, want string) {
	ok = true
	var wants []string
	me := func(text string) string {
		if text == "me" {
			return strconv.Itoa(j.UID)
		}
		return j.value(text)
	}
	if list := a["want"]; len(list) > 0 {
		list = slices.Clone(list)
		for i, w := range list {
			list[i] = me(w)
		}
		ok = ok && slices.Contains(list, got)
		wants = append(wants, strings.Join(list, " / "))
	}
	if list := a["not"]; len(list) > 0 {
		list = slices.Clone(list)
		for i, w := range list {
			list[i] = me(w)
		}
		ok = ok && !slices.Contains(list, got)
		wants = append(wants, j.say("not %s", strings.Join(list, ", ")))
	}
	n, err := strconv.ParseUint(got, 10, 64)
	if text := a.one("min"); text != "" {
		least, _ := strconv.ParseUint(text, 10, 64)
		ok = ok && err == nil && n >= least
		wants = append(wants, j.say("%s or more", text))
	}
	if text := a.one("max"); text != "" {
		most, _ := strconv.ParseUint(text, 10, 64)
		ok = ok && err == nil && n <= most
		wants = append(wants, j.atMost(text))
	}
	return ok, strings.Join(wants, ", ")
}

func (j *Judge) atMost(n string) string {
	if n == "0" {
		return n
	}
	return j.say("%s or less", n)
}
