package labs

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

const cgroupTree = "/sys/fs/cgroup"

// cgroupFile compares a file of the role's control group, or with a key one line of it ("oom_kill 1").
func cgroupFile(j *Judge, a Args) Verdict {
	p, refused := j.process(a.one("of"))
	if refused != nil {
		return *refused
	}
	group, err := j.kernel().cgroup(p)
	if err != nil {
		return *unreadable(err)
	}
	name := path.Join(cgroupTree, group, a.one("file"))
	text, err := j.kernel().read(name)
	if err != nil {
		return *unreadable(err)
	}
	got := strings.TrimSpace(text)
	key := a.one("key")
	if key != "" {
		got = ""
		for line := range strings.Lines(text) {
			if f := strings.Fields(line); len(f) == 2 && f[0] == key {
				got = f[1]
			}
		}
	}
	ok, want := j.compare(a, got)
	return verdict(ok, Evidence{name, strings.TrimSpace(key + " " + got), want})
}

// cgroupPeers passes where two have groups of their own, and there is one above both that is about them alone: the host's processes are not below it.
func cgroupPeers(j *Judge, a Args) Verdict {
	p, q, refused := j.two(a, "with")
	if refused != nil {
		return *refused
	}
	var groups [3]string
	for i, process := range []Process{p, q, {PID: j.Self}} {
		var err error
		if groups[i], err = j.kernel().cgroup(process); err != nil {
			return *unreadable(err)
		}
	}
	above := commonGroup(groups[0], groups[1])
	ok := groups[0] != groups[1] && above != groups[0] && above != groups[1] && commonGroup(above, groups[2]) != above
	return verdict(ok, Evidence{
		p.file("cgroup"), j.say("0::%s; %s has 0::%s: both are below %s", groups[0], q.file("cgroup"), groups[1], above),
		j.say("two groups side by side in one, which is not above yours, 0::%s", groups[2]),
	})
}

// commonGroup is the innermost group that both are in.
func commonGroup(g, h string) string {
	common := "/"
	for part := range strings.SplitSeq(strings.Trim(g, "/"), "/") {
		next := path.Join(common, part)
		if h != next && !strings.HasPrefix(h, next+"/") {
			break
		}
		common = next
	}
	return common
}

// netListens looks for a listening TCP socket in the network namespace of the role, as that process sees it.
func netListens(j *Judge, a Args) Verdict {
	p, refused := j.process(a.one("of"))
	if refused != nil {
		return *refused
	}
	port, refused := j.port(a.one("port"))
	if refused != nil {
		return *refused
	}
	suffix := fmt.Sprintf(":%04X", port)
	const listen = "0A"
	var seen []string
	for _, file := range []string{"net/tcp", "net/tcp6"} {
		text, err := j.kernel().read(p.file(file))
		if err != nil {
			if file == "net/tcp6" {
				continue // a kernel without IPv6
			}
			return *unreadable(err)
		}
		for line := range strings.Lines(text) {
			f := strings.Fields(line)
			if len(f) < 4 || f[3] != listen {
				continue
			}
			if strings.HasSuffix(f[1], suffix) {
				return verdict(true, Evidence{p.file(file), j.say("%s listens", f[1]), j.say("one on %s (port %d)", suffix, port)})
			}
			seen = append(seen, f[1])
		}
	}
	got := "no listener"
	if len(seen) > 0 {
		got = j.say("listeners on %s", strings.Join(seen, " "))
	}
	return verdict(false, Evidence{p.file("net/tcp*"), got, j.say("one on %s (port %d)", suffix, port)})
}

// published before CONTAINER/PORT stands for the port of the host at which the container publishes that of its own.
const published = "published:"

func publishedPort(text string) (container, port string, ok bool) {
	if text, ok = strings.CutPrefix(text, published); !ok {
		return "", "", false
	}
	return strings.Cut(text, "/")
}

// port is the number that `port` means.
func (j *Judge) port(text string) (int, *Verdict) {
	name, inside, ok := publishedPort(text)
	if !ok {
		n, _ := strconv.Atoi(text)
		return n, nil
	}
	if _, refused := j.contained(name, false); refused != nil {
		return 0, refused
	}
	c, err := j.World.Container(name)
	if err != nil {
		return 0, unreadable(err)
	}
	n, _ := strconv.Atoi(inside)
	if c.Published[n] == 0 {
		return 0, failed(Evidence{"minipod port " + name, j.say("port %d is not published", n), j.say("a port of the host for %d", n)})
	}
	return c.Published[n], nil
}

// netCounter compares one of the counters that each network has of its own: "Tcp ActiveOpens". /proc/PID/net/snmp has two lines a protocol,
// the names and the numbers.
func netCounter(j *Judge, a Args) Verdict {
	p, refused := j.process(a.one("of"))
	if refused != nil {
		return *refused
	}
	text, err := j.kernel().read(p.file("net/snmp"))
	if err != nil {
		return *unreadable(err)
	}
	protocol, name, _ := strings.Cut(a.one("counter"), " ")
	var names []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != protocol+":" {
			continue
		}
		if i := slices.Index(names, name); i >= 0 && i < len(f) {
			ok, want := j.compare(a, f[i])
			return verdict(ok, Evidence{p.file("net/snmp"), a.one("counter") + " " + f[i], want})
		}
		names = f
	}
	return Verdict{Status: Unknown, Evidence: []Evidence{{p.file("net/snmp"), j.say("no %s", a.one("counter")), ""}}}
}

// netRoute looks for a default route in the network of the role: is: yes or no.
func netRoute(j *Judge, a Args) Verdict {
	p, refused := j.process(a.one("of"))
	if refused != nil {
		return *refused
	}
	text, err := j.kernel().read(p.file("net/route"))
	if err != nil {
		return *unreadable(err)
	}
	got, found := "no default route", false
	for line := range strings.Lines(text) { // Iface Destination Gateway Flags RefCnt Use Metric Mask …
		if f := strings.Fields(line); len(f) > 7 && f[1] == "00000000" && f[7] == "00000000" {
			got, found = j.say("default route by %s, gateway %s", f[0], f[2]), true
		}
	}
	want := "a default route"
	if a.one("is") == "no" {
		want = "no default route"
	}
	return verdict(found == (a.one("is") != "no"), Evidence{p.file("net/route"), got, want})
}

// netAddress tells whether an address belongs to the network of the role.
func netAddress(j *Judge, a Args) Verdict {
	p, refused := j.process(a.one("of"))
	if refused != nil {
		return *refused
	}
	addresses, err := j.kernel().addresses(p)
	if err != nil {
		return *unreadable(err)
	}
	addresses = slices.DeleteFunc(addresses, func(address string) bool { return strings.HasPrefix(address, "127.") })
	want := j.value(a.one("is"))
	return verdict(slices.Contains(addresses, want), Evidence{p.file("net/fib_trie"), j.say("%d addresses beside 127.*", len(addresses)), j.say("%s among them", want)})
}

// netLoopback tells whether lo is up in the network of the role: only then the kernel has 127.0.0.1 there.
func netLoopback(j *Judge, a Args) Verdict {
	p, refused := j.process(a.one("of"))
	if refused != nil {
		return *refused
	}
	addresses, err := j.kernel().addresses(p)
	if err != nil {
		return *unreadable(err)
	}
	got := "no local address"
	if len(addresses) > 0 {
		got = strings.Join(addresses, " ")
	}
	return verdict(slices.Contains(addresses, "127.0.0.1"), Evidence{p.file("net/fib_trie"), got, "127.0.0.1, which is there where lo is up"})
}

// addresses are those of a process's network: /proc/PID/net/fib_trie has each of them above "host LOCAL".
func (k kernel) addresses(p Process) ([]string, error) {
	text, err := k.read(p.file("net/fib_trie"))
	if err != nil {
		return nil, err
	}
	var list []string
	last := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if address, ok := strings.CutPrefix(line, "|-- "); ok {
			last = address
		}
		if strings.HasSuffix(line, "host LOCAL") && !slices.Contains(list, last) {
			list = append(list, last)
		}
	}
	return list, nil
}

// httpGet asks a server of this machine.
func httpGet(_ *Judge, a Args) Verdict {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	url := a.one("url")
	want := "status " + orElse(a.one("status"), "200")
	if body := a.one("body"); body != "" {
		want += ", " + body
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Verdict{Status: Unknown, Evidence: []Evidence{{url, err.Error(), want}}}
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return verdict(false, Evidence{url, err.Error(), want})
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return verdict(false, Evidence{url, err.Error(), want})
	}
	got := fmt.Sprintf("status %d", response.StatusCode)
	ok := strconv.Itoa(response.StatusCode) == orElse(a.one("status"), "200") && strings.Contains(string(body), a.one("body"))
	if a.one("body") != "" {
		got += ", " + strings.TrimSpace(string(body[:min(80, len(body))]))
	}
	return verdict(ok, Evidence{url, got, want})
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// answered judges what the learner typed. Without `want` any answer passes: it was a prediction, and what follows shows whether it was right.
func answered(j *Judge, a Args) Verdict {
	name := a.one("name")
	answer, ok := j.Answers[name]
	if !ok {
		v := failed(Evidence{"lab answer", "nothing yet", "an answer"})
		if len(a["want"]) > 0 { // a hint about a wrong one would be about none
			v.Lacks = &Lack{Who: name, Answer: true}
		}
		return *v
	}
	if len(a["want"]) == 0 {
		return verdict(true, Evidence{"lab answer", answer.Text, ""})
	}
	var shown []Evidence // of a kind of namespace: that of who `shows` it, and ours
	if p, refused := j.process(a.one("shows")); a.one("shows") != "" && refused == nil {
		n, err := j.kernel().namespace(p, answer.Text)
		host, err2 := j.kernel().namespace(Process{PID: j.Self}, answer.Text)
		if err == nil && err2 == nil {
			shown = append(shown, Evidence{p.file("ns/" + answer.Text), j.say("%s; %s %s is %s", n.text(answer.Text), j.who(Host), j.file(Process{PID: j.Self}, "ns/"+answer.Text), host.text(answer.Text)), ""})
		}
	}
	right := slices.ContainsFunc(a["want"], func(want string) bool { return strings.EqualFold(want, answer.Text) })
	if !right { // which one is right is for the learner to find out
		return verdict(false, append([]Evidence{{"lab answer", answer.Text, "another answer"}}, shown...)...)
	}
	return verdict(true, append([]Evidence{{"lab answer", answer.Text, answer.Text}}, shown...)...)
}
