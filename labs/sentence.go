package labs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"codeberg.org/minipod/minipod/internal/lang"
)

// say is what the judge says, in the learner's language: the English format is the key.
func (j *Judge) say(format string, args ...any) string {
	text := fmt.Sprintf(j.word(format), args...)
	if j.Language == lang.Chinese {
		text = closeUp(text)
	}
	return text
}

// closeUp leaves out the blanks that a value in Chinese would have around it: they belong between Chinese and other scripts.
func closeUp(text string) string {
	runes := []rune(text)
	return string(slices.Collect(func(yield func(rune) bool) {
		for i, r := range runes {
			if r == ' ' && i > 0 && i+1 < len(runes) && isWide(runes[i-1]) && isWide(runes[i+1]) {
				continue
			}
			if !yield(r) {
				return
			}
		}
	}))
}

// word is a word or a few without values in them.
func (j *Judge) word(text string) string {
	if j.Language == lang.Chinese {
		if translated, ok := judged[text]; ok {
			return translated
		}
	}
	return text
}

// who is a role as a person is told of it.
func (j *Judge) who(role string) string {
	if role == Host {
		return j.say("the host")
	}
	kind, name, _ := strings.Cut(j.Lab.Roles[role], ":")
	pod, isPod := strings.CutPrefix(name, "pod/")
	switch {
	case kind == "sandbox" && isPod:
		return j.say("the sandbox of Pod %s", pod)
	case kind == "sandbox":
		return j.say("PID 1 of %s", name)
	case kind == "supervisor":
		return j.say("the supervisor of %s", name)
	case kind == "pod":
		return name[strings.LastIndexByte(name, '/')+1:]
	case kind == "container":
		return name
	case j.Lab.asks(role):
		return j.say("the process that you named")
	}
	return role
}

// named is a container as a person is told of it.
func (j *Judge) named(name string) string {
	if pod, container, ok := strings.Cut(strings.TrimPrefix(name, "pod:"), "/"); ok {
		return j.say("%s of Pod %s", container, pod)
	}
	return name
}

func (l *Lab) asks(name string) bool {
	for _, s := range l.Steps {
		if s.Ask != nil && s.Ask.Name == name {
			return true
		}
	}
	return false
}

// sentence is a check as a person reads it: what is so where it passes.
func (j *Judge) sentence(c Check) string {
	a := c.Args
	one := func(key string) string { return a.one(key) }
	of, with := j.who(one("of")), j.who(one("with"))
	types := strings.Join(a["types"], j.say(", "))
	path := one("path")
	if strings.HasPrefix(path, "answer:") {
		path = j.say("the file that you named")
	}
	switch c.Kind {
	case "proc.alive":
		return j.say("%s runs", of)
	case "proc.absent":
		return j.say("%s does not run", of)
	case "proc.gone":
		return j.say("the process that %s was has ended", of)
	case "proc.is":
		return j.say("%s is the command of %s", of, j.who(one("is")))
	case "proc.isnt":
		return j.say("%s is not the command of %s", of, j.who(one("is")))
	case "proc.nspid":
		switch {
		case strings.HasPrefix(one("inner"), "answer:"):
			return j.say("your answer is the PID of %s inside", of)
		case one("inner") != "":
			return j.say("%s is PID %s in its container", of, one("inner"))
		case one("max") == "1":
			return j.say("%s is in the pid namespace of the host", of)
		}
		return j.say("%s has a PID in another pid namespace, too", of)
	case "proc.args":
		return j.say("%s runs the command %s", of, one("want"))
	case "proc.status":
		if one("field") == "Name" {
			return j.say("the command of %s is %s", of, j.compared(a))
		}
		return j.say("%s in the status of %s is %s", one("field"), of, j.compared(a))
	case "proc.idmap":
		return j.say("id %s in %s is %s outside", one("inside"), of, j.meant(one("outside")))
	case "proc.parent":
		return j.say("the parent of the command of %s is %s", of, j.who(one("is")))
	case "proc.zombies":
		if one("max") == "0" {
			return j.say("there is no zombie below %s", of)
		}
		return j.say("zombies below %s: %s", of, j.compared(a))
	case "proc.reaped":
		if one("since") != "" {
			return j.say("%s has reaped another child since", of)
		}
		return j.say("%s has reaped a child", of)
	case "proc.children":
		return j.say("living children of %s: %s", of, j.compared(a))
	case "proc.renewed":
		return j.say("%s is another process than before", of)
	case "proc.kept":
		return j.say("%s is the same process as before", of)
	case "ns.same":
		return j.say("%s and %s have the same %s", of, with, types)
	case "ns.differ":
		return j.say("%s and %s have each their own %s", of, with, types)
	case "ns.only":
		return j.say("%s differs from %s in exactly %s", of, with, types)
	case "ns.kept":
		return j.say("%s has still the same %s", of, types)
	case "ns.owner":
		if one("is") == "own" {
			return j.say("%s of %s belongs to its own user namespace", types, of)
		}
		return j.say("%s of %s belongs to another user namespace", types, of)
	case "ns.hostname":
		return j.say("the host name of %s is %s, and that of %s is another", of, one("want"), with)
	case "mount.has":
		what := append([]string{}, a["type"]...)
		what = append(what, a["options"]...)
		for _, o := range a["not"] {
			what = append(what, j.say("not %s", o))
		}
		return j.say("%s has a mount at %s: %s", of, one("at"), strings.Join(what, j.say(", ")))
	case "mount.lacks":
		return j.say("%s has no mount that is %s", of, cmp.Or(one("tag"), one("at")))
	case "mount.root":
		if one("by") == "chroot" {
			return j.say("the root of %s is not that of its mount namespace", of)
		}
		return j.say("the root of %s is that of its mount namespace", of)
	case "cgroup.file":
		return j.say("%s in the group of %s is %s", strings.TrimSpace(one("file")+" "+one("key")), of, j.compared(a))
	case "cgroup.peers":
		return j.say("the groups of %s and %s lie in one", of, with)
	case "fs.same":
		return j.say("%s and %s see the same %s", of, with, path)
	case "fs.differ":
		return j.say("%s and %s see different %s", of, with, path)
	case "fs.content":
		return j.say("%s of %s says %s", path, of, j.compared(a))
	case "fs.owner":
		if one("is") == "me" {
			return j.say("%s belongs to you", path)
		}
		return j.say("%s belongs to another id than yours", path)
	case "upper.has":
		return j.say("in the upper folder (what is written) of %s, %s is: %s", of, path, j.word(one("is")))
	case "ipc.queues":
		return j.say("message queues in the ipc namespace of %s: %s", of, j.compared(a))
	case "net.counter":
		return j.say("%s in the network of %s: %s", one("counter"), of, j.compared(a))
	case "net.listens":
		if owner, port, ok := publishedPort(one("port")); ok {
			return j.say("in the network of %s somebody listens where %s publishes its port %s", of, owner, port)
		}
		return j.say("in the network of %s somebody listens on port %s", of, one("port"))
	case "net.route":
		if one("is") == "no" {
			return j.say("%s has no default route", of)
		}
		return j.say("%s has a default route", of)
	case "net.address":
		return j.say("%s has the address %s", of, j.meant(one("is")))
	case "net.loopback":
		return j.say("lo is up in the network of %s", of)
	case "event.order":
		if len(a["not"]) > 0 {
			return j.say("the order of events: %s; without %s", strings.Join(a["order"], j.say(", then ")), strings.Join(a["not"], j.say(", ")))
		}
		return j.say("the order of events: %s", strings.Join(a["order"], j.say(", then ")))
	case "pod.restarts":
		return j.say("restarts of the Pod: %s", j.compared(a))
	case "http":
		return j.say("%s answers", one("url"))
	case "answer":
		return j.say("your answer") // which ✓ and ✗ are about
	case "invariant.holds":
		return j.say("%s is as it has to be", one("name"))
	case "invariant.broken":
		return j.say("%s is what is broken", j.meant(one("name")))
	}
	return c.String()
}

// compared is what a comparison asks for.
func (j *Judge) compared(a Args) string {
	var parts []string
	for _, w := range a["want"] {
		parts = append(parts, j.meant(w))
	}
	for _, n := range a["not"] {
		parts = append(parts, j.say("not %s", j.meant(n)))
	}
	if n := a.one("min"); n != "" {
		parts = append(parts, j.say("%s or more", n))
	}
	if n := a.one("max"); n != "" {
		parts = append(parts, j.atMost(n))
	}
	return strings.Join(parts, j.say(", "))
}

// meant is a value of lab.yaml, or who or what stands for it there.
func (j *Judge) meant(value string) string {
	switch {
	case value == "me":
		return j.say("your own")
	case strings.HasPrefix(value, "answer:"):
		return j.say("what you answered")
	}
	return value
}
