package labs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"codeberg.org/minipod/minipod/internal/lang"
)

// A pretend machine: processes 10 (host), 20 (a container's PID 1), 21 (its command), 30 (another's), 40 (a zombie of 20).
func machineOf() fstest.MapFS {
	m := fstest.MapFS{}
	file := func(name, content string) {
		m[strings.TrimPrefix(name, "/")] = &fstest.MapFile{Data: []byte(content), Sys: &syscall.Stat_t{}}
	}
	reaped := map[int]int{20: 157, 30: 81}
	process := func(pid, parent int, state, comm, nspid string, namespaces uint64) {
		dir := fmt.Sprintf("/proc/%d/", pid)
		file(dir+"stat", fmt.Sprintf("%d (%s) %s %d 0 0 0 0 0 0 %d 0 0 0 0 0 0 20 0 1 0 %d 0 0", pid, comm, state, parent, reaped[pid], 1000+pid))
		file(dir+"status", fmt.Sprintf("Name:\t%s\nState:\t%s (x)\nNSpid:\t%s\nUid:\t1000\t1000\t1000\t1000\nCapEff:\t00000000a80425fb\n", comm, state, nspid))
		for i, kind := range namespaceKinds {
			m[strings.TrimPrefix(dir+"ns/"+kind, "/")] = &fstest.MapFile{Sys: &syscall.Stat_t{Dev: 4, Ino: namespaces + uint64(i)}}
		}
	}
	process(10, 1, "S", "bash", "10", 100)
	process(11, 10, "S", "minipod", "11", 100)
	process(20, 10, "S", "minipod", "20 1", 200)
	process(21, 20, "S", "sleep) Z 1", "21 4", 200) // a name that looks like more fields
	process(30, 10, "S", "sleep", "30 1", 300)
	process(40, 20, "Z", "sleep", "40 5", 200)
	m["proc/30/ns/net"].Sys = &syscall.Stat_t{Dev: 4, Ino: 203} // shared with 20
	file("/proc/20/cmdline", "minipod\x00sandbox\x00web\x00")
	file("/proc/30/cmdline", "sleep\x00600\x00")
	file("/proc/21/uid_map", "         0       1000          1\n         1     100000      65536\n")
	file("/proc/21/mountinfo", "500 400 0:50 / / rw,relatime - overlay overlay rw,lowerdir=layers/x,upperdir=containers/c/upper,workdir=w\n"+
		`501 500 0:51 /a\040b /with\040blank ro,nosuid shared:7 master:1 - tmpfs shm rw,size=65536k`+"\n")
	file("/proc/30/mountinfo", "600 400 0:60 / / rw - overlay overlay rw,upperdir=/abs/upper\n")
	file("/proc/21/cgroup", "0::/user.slice/pod.slice/web.scope/container\n")
	file("/proc/30/cgroup", "0::/user.slice/pod.slice/side.scope\n")
	file("/proc/10/cgroup", "0::/user.slice/app.slice\n")
	file("/proc/20/cgroup", "12:memory:/x\n")
	file("/sys/fs/cgroup/user.slice/pod.slice/web.scope/container/memory.max", "67108864\n")
	file("/sys/fs/cgroup/user.slice/pod.slice/web.scope/container/memory.events", "low 0\noom 2\noom_kill 1\n")
	file("/proc/21/net/tcp", "  sl  local_address rem_address   st\n   0: 0100007F:1E61 00000000:0000 0A 0\n   1: 0100007F:0050 0100007F:1234 01 0\n")
	file("/proc/21/net/route", "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\neth0\t00000000\t0100580A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n")
	file("/proc/30/net/route", "Iface\tDestination\n")
	file("/proc/21/net/fib_trie", "Main:\n  +-- 0.0.0.0/1 2 0 2\n           |-- 10.88.0.3\n              /32 host LOCAL\n        |-- 127.0.0.1\n           /32 host LOCAL\n           |-- 10.88.0.0\n              /16 link UNICAST\n")
	file("/proc/30/net/fib_trie", "")
	file("/proc/21/net/snmp", "Tcp: RtoAlgorithm ActiveOpens PassiveOpens\nTcp: 1 2 0\nUdp: InDatagrams\nUdp: 5\n")
	file("/proc/30/net/tcp", "  sl  local_address rem_address   st\n")
	m["proc/21/root"] = &fstest.MapFile{Mode: fs.ModeDir, Sys: &syscall.Stat_t{Dev: 50, Ino: 1}}
	m["proc/30/root"] = &fstest.MapFile{Mode: fs.ModeDir, Sys: &syscall.Stat_t{Dev: 60, Ino: 1}}
	m["proc/21/root/dev/shm"] = &fstest.MapFile{Mode: fs.ModeDir, Sys: &syscall.Stat_t{Dev: 51, Ino: 1}}
	m["proc/30/root/dev/shm"] = &fstest.MapFile{Mode: fs.ModeDir, Sys: &syscall.Stat_t{Dev: 51, Ino: 1}}
	file("/proc/21/root/note", "hello\n")
	m["w/containers/c/upper/etc/group"] = &fstest.MapFile{Mode: fs.ModeCharDevice, Sys: &syscall.Stat_t{Mode: syscall.S_IFCHR}}
	m["w/containers/c/upper/etc/passwd"] = &fstest.MapFile{Sys: &syscall.Stat_t{Mode: syscall.S_IFREG, Uid: 1000}}
	m["w/theirs"] = &fstest.MapFile{Sys: &syscall.Stat_t{Mode: syscall.S_IFREG, Uid: 100999}}
	return m
}

type pretendWorld struct{}

func (pretendWorld) Root() string { return "/w" }

func (pretendWorld) Container(name string) (Container, error) {
	switch name {
	case "web":
		return Container{ID: "c", Status: "running", Sandbox: Process{20, 1020}}, nil
	case "side":
		return Container{ID: "d", Status: "running", Sandbox: Process{30, 1030}, Published: map[int]int{80: 7777}, Restarts: 2}, nil
	case "starting":
		return Container{ID: "f", Status: "running", Sandbox: Process{30, 7}}, nil
	case "reused": // the number is another process's by now
		return Container{ID: "e", Status: "exited", Sandbox: Process{30, 7}}, nil
	}
	return Container{}, fs.ErrNotExist
}

func (pretendWorld) Events() ([]Event, error) {
	return []Event{
		{Action: "start", Name: "web"},
		{Action: "die", Name: "web", Attributes: map[string]string{"exitCode": "137"}},
		{Action: "start", Name: "web"},
		{Action: "start", Name: "k8s_app_x_default_1_0", Attributes: map[string]string{"io.kubernetes.pod.name": "x", "io.kubernetes.container.name": "app"}},
	}, nil
}

func (pretendWorld) RootOf(p Process) (dev, inode uint64, err error) {
	if p.PID == 30 {
		return 65024, 2, nil
	}
	return 50, 1, nil
}

func (pretendWorld) HostName(p Process) (string, error) {
	switch p.PID {
	case 30:
		return "lab", nil
	case 20:
		return "", &fs.PathError{Op: "open", Path: p.file("ns/uts"), Err: syscall.EACCES}
	}
	return "machine", nil
}

func (pretendWorld) Queues(p Process) (string, error) {
	const titles = "       key      msqid perms\n"
	switch p.PID {
	case 20:
		return "", &fs.PathError{Op: "open", Path: p.file("ns/ipc"), Err: syscall.EACCES}
	case 21:
		return titles + "         0          7   644\n", nil
	}
	return titles, nil
}

func (pretendWorld) OwnerOf(p Process, kind string) (inode uint64, err error) {
	switch {
	case kind == "uts":
		return 0, nil
	case kind == "cgroup":
		return 0, &fs.PathError{Op: "open", Path: p.file("ns/cgroup"), Err: syscall.EACCES}
	case p.PID == 30 && kind == "net":
		return 200, nil
	}
	return map[int]uint64{21: 200, 30: 300}[p.PID], nil
}

func pretendJudge() *Judge {
	return &Judge{
		Files: machineOf(), World: pretendWorld{}, UID: 1000, Self: 10,
		Lab: &Lab{Roles: map[string]string{"web": "container:web", "pid1": "sandbox:web", "side": "container:side", "gone": "container:gone", "reused": "container:reused", "starting": "container:starting", "nobody": ""}, Invariants: []Invariant{
			{"net", []Check{
				{Kind: "proc.alive", Args: Args{"of": {"web"}}},
				{Kind: "ns.same", Args: Args{"of": {"side"}, "with": {"web"}, "types": {"net"}}},
			}},
			{"ipc", []Check{{Kind: "ns.same", Args: Args{"of": {"side"}, "with": {"web"}, "types": {"ipc"}}}}},
			{"uts", []Check{{Kind: "ns.same", Args: Args{"of": {"side"}, "with": {"web"}, "types": {"uts"}}}}},
		}},
		Answers: map[string]Answer{
			"mine": {Text: "30", Process: Process{30, 1030}}, "dead": {Text: "30", Process: Process{30, 1}}, "word": {Text: "Hello"}, "note": {Text: "/note"}, "bad": {Text: "note"}, "culprit": {Text: "ipc"}, "kind": {Text: "net"},
		},
		Passed: map[string]map[string]Snapshot{"before": {
			"web":  {Process: Process{21, 1021}, Namespaces: map[string]uint64{"net": 203, "ipc": 1}},
			"side": {Process: Process{29, 1029}, Namespaces: map[string]uint64{"net": 203}, Reaped: 100},
			"pid1": {Process: Process{20, 1020}, Reaped: 157},
		}},
	}
}

// TestProbes: each kind of check, where it passes, fails, and can't tell.
func TestProbes(t *testing.T) {
	covered := map[string]bool{}
	for _, test := range []struct {
		kind, args string
		want       Status
		evidence   string // contained in it
	}{
		{"proc.alive", "of=web", Pass, "/proc/21/stat"},
		{"proc.alive", "of=gone", Fail, "no container gone"},
		{"proc.alive", "of=reused", Fail, "exited"},
		{"proc.alive", "of=nobody", Fail, "lab answer nobody=PID"},
		{"proc.alive", "of=starting", Fail, "starting or ending"},
		{"proc.alive", "of=dead", Fail, "/proc/30/stat"},
		{"proc.gone", "of=side since=before", Pass, "/proc/29/stat"},
		{"proc.gone", "of=web since=before", Fail, "alive"},
		{"proc.gone", "of=web since=never", Unknown, "step never"},
		{"proc.is", "of=mine is=side", Pass, "NSpid 30 1"},
		{"proc.is", "of=mine is=web", Fail, "the command of web"},
		{"proc.isnt", "of=mine is=web", Pass, "/proc/30/status"},
		{"proc.isnt", "of=mine is=side", Fail, "another than side"},
		{"proc.nspid", "of=web depth=2 inner=4", Pass, "NSpid: 21 4"},
		{"proc.nspid", "of=host depth=2", Fail, "2 columns"},
		{"proc.nspid", "of=web depth=1 max=1", Fail, "at most 1"},
		{"proc.status", "of=web field=CapEff want=00000000a80425fb", Pass, "CapEff"},
		{"proc.status", "of=web field=Uid want=me", Pass, "Uid: 1000"},
		{"proc.status", "of=web field=Uid not=me", Fail, "not 1000"},
		{"proc.status", "of=web field=State not=S", Fail, "not S"},
		{"proc.status", "of=web field=Nonsense want=1", Unknown, "Nonsense"},
		{"proc.args", "of=side want=sleep+600", Pass, "sleep 600"},
		{"proc.args", "of=side want=sleep+60", Fail, "sleep 600"},
		{"proc.args", "of=side want=600", Pass, "sleep 600"},
		{"proc.children", "of=pid1 max=1", Pass, "1 living children of 20: 21"},
		{"proc.children", "of=host max=1", Fail, "3 living children"},
		{"proc.absent", "of=gone", Pass, "no container gone"},
		{"proc.absent", "of=web", Fail, "alive"},
		{"ns.hostname", "of=side with=host want=lab", Pass, "host name machine"},
		{"ns.hostname", "of=side with=host want=machine", Fail, "host name lab"},
		{"ns.hostname", "of=side with=side want=lab", Fail, "not lab"},
		{"ns.hostname", "of=side with=pid1 want=lab", Unknown, "permission denied"},
		{"proc.idmap", "of=web file=uid_map inside=0 outside=me", Pass, "0 inside is 1000 outside"},
		{"proc.idmap", "of=web file=uid_map inside=1000 outside=100999", Pass, "100999"},
		{"proc.idmap", "of=web file=uid_map inside=70000 outside=me", Fail, "not mapped"},
		{"proc.parent", "of=web is=pid1", Pass, "PPid: 20"},
		{"proc.parent", "of=side is=pid1", Fail, "PPid: 10"},
		{"proc.zombies", "of=pid1 min=1", Pass, "1 in state Z with PPid 20: 40"},
		{"proc.zombies", "of=pid1 max=0", Fail, "20: 40 0"},
		{"proc.zombies", "of=pid1 beside=gone min=1", Fail, "no container gone"},
		{"proc.reaped", "of=pid1", Pass, "cminflt 157"},
		{"proc.reaped", "of=web", Fail, "more than 0"},
		{"proc.reaped", "of=pid1 since=before", Fail, "more than 157"},
		{"proc.reaped", "of=side since=before", Pass, "more than 0"}, // another process than then
		{"proc.reaped", "of=pid1 beside=gone", Fail, "no container gone"},
		{"proc.renewed", "of=side since=before", Pass, "PID 30"},
		{"proc.renewed", "of=web since=before", Fail, "PID 21"},
		{"proc.kept", "of=web since=before", Pass, "PID 21"},
		{"proc.kept", "of=side since=before", Fail, "PID 29"},
		{"ns.same", "of=side with=web types=net", Pass, "net:[203]"},
		{"ns.same", "of=side with=web types=net,ipc", Fail, "ipc:[304]"},
		{"ns.differ", "of=side with=web types=mnt,pid", Pass, "different"},
		{"ns.differ", "of=side with=web types=net", Fail, "net:[203]"},
		{"ns.only", "of=side with=web types=user,mnt,pid,ipc,uts,cgroup", Pass, "user mnt pid ipc uts cgroup"},
		{"ns.only", "of=side with=web types=uts", Fail, "uts"},
		{"ns.kept", "of=web since=before types=net", Pass, "before, PID 21 had net:[203]"},
		{"ns.kept", "of=web since=before types=ipc", Fail, "ipc:[204]"},
		{"ns.kept", "of=web since=before types=net by=pid1", Pass, "before, PID 21 had net:[203]"},
		{"ns.kept", "of=web since=before types=net by=side", Fail, "PID 29"}, // the number is the same, and who held it is another
		{"ns.owner", "of=web types=net,ipc is=own", Pass, "belongs to user:[200]"},
		{"ns.owner", "of=side types=net is=other", Pass, "another than user:[300]"},
		{"ns.owner", "of=side types=ipc,net is=own", Fail, "belongs to user:[200]"},
		{"ns.owner", "of=side types=uts is=other", Pass, "above yours"},
		{"ns.owner", "of=side types=cgroup is=other", Unknown, "permission denied"},
		{"mount.has", "of=web at=/ type=overlay options=lowerdir,upperdir not=ro", Pass, "overlay"},
		{"mount.has", "of=web at=/nowhere", Fail, "nothing at /nowhere"},
		{"mount.has", "of=web at=/ not=rw", Fail, "not rw"},
		{"mount.lacks", "of=side tag=shared", Pass, "1 mounts"},
		{"mount.lacks", "of=web tag=shared", Fail, "/with blank shared:7 master:1"},
		{"mount.lacks", "of=web at=/", Fail, "no mount at /"},
		{"mount.root", "of=web by=pivot", Pass, "50:1"},
		{"mount.root", "of=side by=chroot", Pass, "65024:2"},
		{"mount.root", "of=side by=pivot", Fail, "equal"},
		{"cgroup.file", "of=web file=memory.max want=67108864", Pass, "memory.max"},
		{"cgroup.file", "of=web file=memory.events key=oom_kill min=1", Pass, "oom_kill 1"},
		{"cgroup.file", "of=web file=memory.events key=oom_kill min=2", Fail, "2 or more"},
		{"cgroup.file", "of=pid1 file=memory.max want=1", Unknown, "no cgroup v2"},
		{"cgroup.file", "of=web file=io.max want=1", Unknown, "io.max"},
		{"cgroup.peers", "of=web with=side", Pass, "side.scope"},
		{"cgroup.peers", "of=web with=host", Fail, "both are below /user.slice"},
		{"cgroup.peers", "of=web with=web", Fail, "two groups side by side"},
		{"fs.same", "of=web with=side path=/dev/shm", Pass, "st_dev 51"},
		{"fs.same", "of=web with=side path=/", Fail, "st_dev 50"},
		{"fs.differ", "of=web with=side path=/", Pass, "different"},
		{"fs.differ", "of=web with=side path=/dev/shm", Fail, "different"},
		{"fs.content", "of=web path=/note want=hello", Pass, "/proc/21/root/note"},
		{"fs.content", "of=web path=/note want=bye", Fail, "bye"},
		{"fs.content", "of=web path=/none want=bye", Fail, "no such file"},
		{"fs.content", "of=web path=answer:note want=hello", Pass, "/proc/21/root/note"},
		{"fs.content", "of=web path=answer:bad want=hello", Fail, "a path from /"},
		{"fs.content", "of=web path=answer:none want=hello", Fail, "no answer yet"},
		{"fs.owner", "path=containers/c/upper/etc/passwd is=me", Pass, "owner 1000"},
		{"fs.owner", "path=theirs is=me", Fail, "owner 100999"},
		{"fs.owner", "path=theirs is=other", Pass, "owner 100999"},
		{"fs.owner", "path=none is=me", Fail, "no such file"},
		{"upper.has", "of=web path=/etc/group is=whiteout", Pass, "/w/containers/c/upper/etc/group"},
		{"upper.has", "of=web path=/etc/passwd is=file", Pass, "file"},
		{"upper.has", "of=web path=/etc/passwd is=nothing", Fail, "nothing"},
		{"upper.has", "of=side path=/etc/passwd is=nothing", Pass, "/abs/upper/etc/passwd"},
		{"net.listens", "of=web port=7777", Pass, "0100007F:1E61"},
		{"net.listens", "of=web port=80", Fail, ":0050"},
		{"net.listens", "of=side port=7777", Fail, "no listener"},
		{"net.listens", "of=web port=published:side/80", Pass, ":1E61 (port 7777)"},
		{"net.listens", "of=web port=published:side/81", Fail, "port 81 is not published"},
		{"net.listens", "of=web port=published:gone/80", Fail, "no container gone"},
		{"net.counter", "of=web counter=Tcp+ActiveOpens min=2", Pass, "Tcp ActiveOpens 2"},
		{"net.counter", "of=web counter=Tcp+PassiveOpens min=1", Fail, "1 or more"},
		{"net.counter", "of=web counter=Udp+ActiveOpens min=1", Unknown, "no Udp ActiveOpens"},
		{"net.counter", "of=side counter=Tcp+ActiveOpens min=2", Fail, "gone"},
		{"ipc.queues", "of=web min=1", Pass, "queues: 1 (msqid 7)"},
		{"ipc.queues", "of=side min=1", Fail, "queues: 0"},
		{"ipc.queues", "of=pid1 min=1", Unknown, "permission denied"},
		{"net.route", "of=web is=yes", Pass, "default route by eth0"},
		{"net.route", "of=web is=no", Fail, "no default route"},
		{"net.route", "of=side is=no", Pass, "no default route"},
		{"net.address", "of=web is=10.88.0.3", Pass, "1 addresses"},
		{"net.address", "of=web is=10.88.0.0", Fail, "10.88.0.0 among them"},
		{"net.address", "of=web is=127.0.0.1", Fail, "among them"},
		{"net.loopback", "of=web", Pass, "10.88.0.3 127.0.0.1"},
		{"net.loopback", "of=side", Fail, "no local address"},
		{"invariant.holds", "name=net", Pass, "/proc/21/stat"},
		{"invariant.holds", "name=ipc", Fail, "ipc:[304]"},
		{"invariant.holds", "name=answer:none", Fail, "one of net, ipc, uts"},
		{"invariant.broken", "name=answer:culprit", Pass, "ipc:[304]"},
		{"invariant.broken", "name=net", Fail, "as it has to be"},
		{"invariant.broken", "name=uts", Fail, "what brought that about"},
		{"invariant.broken", "name=answer:none", Fail, "one of net, ipc, uts"},
		{"event.order", "order=start web;die web exitCode=137", Pass, "start web, then die web exitCode=137"},
		{"event.order", "order=start web;start pod:x/app", Pass, "start pod:x/app"},
		{"event.order", "order=start web;start web;not;die web", Fail, "start web, then die web, then start web start web, then start web; without die web"},
		{"event.order", "order=start web;not;kill web", Pass, "start web"},
		{"event.order", "order=last;start web;not;die web", Pass, "start web"}, // that was the one before
		{"pod.restarts", "of=web,side want=2", Pass, "RESTARTS 2 (web 0, side 2)"},
		{"pod.restarts", "of=web,side want=answer:word", Fail, "Hello"},
		{"pod.restarts", "of=side,gone want=2", Fail, "no container gone"},
		{"event.order", "order=last;start web;die web", Fail, "start web"}, // of the one before
		{"event.order", "order=last;die web exitCode=137;start web", Pass, "then start web"},
		{"event.order", "order=start pod:x/side", Fail, "none of it"},
		{"event.order", "order=die web exitCode=0", Fail, "die web exitCode=137"},
		{"event.order", "order=die web;die web", Fail, "then die web"},
		{"http", "url=http://127.0.0.1:1/", Fail, "status 200"},
		{"answer", "name=word want=hello", Pass, "Hello"},
		{"answer", "name=word want=bye", Fail, "another answer"},
		{"answer", "name=word", Pass, "Hello"},
		{"answer", "name=kind want=net shows=web", Pass, "net:[203]; the host /proc/self/ns/net is net:[103]"},
		{"answer", "name=kind want=ipc shows=web", Fail, "net:[103]"},
		{"answer", "name=none", Fail, "nothing yet"},
	} {
		covered[test.kind] = true
		args := Args{}
		if order, ok := strings.CutPrefix(test.args, "order="); ok {
			if order, ok = strings.CutPrefix(order, "last;"); ok {
				args["from"] = []string{"last"}
			}
			order, not, _ := strings.Cut(order, ";not;")
			args["order"] = strings.Split(order, ";")
			if not != "" {
				args["not"] = strings.Split(not, ";")
			}
		} else {
			for _, pair := range strings.Fields(test.args) {
				key, value, _ := strings.Cut(pair, "=")
				args[key] = strings.Split(strings.ReplaceAll(value, "+", " "), ",")
			}
		}
		if err := kinds()[test.kind].check(args); err != nil {
			t.Errorf("%s %s: %v", test.kind, test.args, err)
			continue
		}
		v := pretendJudge().Check(Check{Kind: test.kind, Args: args})
		if text := fmt.Sprint(v.Evidence); v.Status != test.want || !strings.Contains(text, test.evidence) {
			t.Errorf("%s %s: %s %s, want %s with %q", test.kind, test.args, v.Status, text, test.want, test.evidence)
		}
	}
	for kind := range kinds() {
		if !covered[kind] {
			t.Errorf("%s has no test", kind)
		}
	}
}

// A reader that may not read.
type forbidden struct{ fstest.MapFS }

func (f forbidden) Open(name string) (fs.File, error) {
	if strings.HasSuffix(name, "/status") || strings.Contains(name, "/ns/") {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EACCES}
	}
	return f.MapFS.Open(name)
}

func (f forbidden) Stat(name string) (fs.FileInfo, error) {
	if strings.Contains(name, "/ns/") {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: syscall.EACCES}
	}
	return f.MapFS.Stat(name)
}

func (f forbidden) ReadFile(name string) ([]byte, error) {
	if strings.HasSuffix(name, "/status") {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EACCES}
	}
	return f.MapFS.ReadFile(name)
}

// TestUnknown: what may not be read is unknown, says so, and is no pass.
func TestUnknown(t *testing.T) {
	j := pretendJudge()
	j.Files = forbidden{machineOf()}
	for _, c := range []Check{
		{Kind: "ns.differ", Args: Args{"of": {"web"}, "with": {"side"}, "types": {"mnt"}}},
		{Kind: "proc.status", Args: Args{"of": {"web"}, "field": {"Name"}, "not": {"x"}}},
	} {
		v := j.Check(c)
		if v.Status != Unknown || !strings.Contains(fmt.Sprint(v.Evidence), syscall.EACCES.Error()) || Passes([]Verdict{v}) {
			t.Errorf("%s: %+v", c, v)
		}
	}
}

// TestDiagnosis: where a step fails and a diagnosis fits, its hint is the first failed check's; where all passes, none is asked.
func TestDiagnosis(t *testing.T) {
	step := Step{
		Checks: []Check{
			{Kind: "proc.alive", Args: Args{"of": {"web"}}, Hint: "dead"},
			{Kind: "ns.same", Args: Args{"of": {"side"}, "with": {"web"}, "types": {"net", "ipc"}}, Hint: "apart"},
		},
		Diagnose: []Diagnosis{
			{When: Check{Kind: "ns.same", Args: Args{"of": {"side"}, "with": {"web"}, "types": {"uts"}}}, Hint: "wrong"},
			{When: Check{Kind: "ns.same", Args: Args{"of": {"side"}, "with": {"web"}, "types": {"net"}}}, Hint: "net-only"},
		},
	}
	v := pretendJudge().Step(&step)
	if v[0].Hint != "dead" || v[0].Status != Pass || v[1].Hint != "net-only" || v[1].Status != Fail {
		t.Errorf("%+v", v)
	}
	step.Checks[1].Args["types"] = []string{"net"}
	if v := pretendJudge().Step(&step); !Passes(v) || v[1].Hint != "apart" {
		t.Errorf("%+v", v)
	}
}

// TestLack: what is not there at all is said so, and not what a hint about something else would make of it; a diagnosis that fits knows better.
func TestLack(t *testing.T) {
	for _, test := range []struct{ role, want string }{
		{"gone", "{gone  false }"}, {"reused", "{reused exited false }"}, {"nobody", "{nobody  true }"}, {"dead", "{dead gone true }"},
	} {
		step := Step{Checks: []Check{{Kind: "ns.differ", Args: Args{"of": {test.role}, "with": {"host"}, "types": {"net"}}, Hint: "shares"}}}
		v := pretendJudge().Step(&step)
		if v[0].Lacks == nil || fmt.Sprint(*v[0].Lacks) != test.want {
			t.Errorf("%s: %+v, want %s", test.role, v[0].Lacks, test.want)
		}
		step.Diagnose = []Diagnosis{{When: Check{Kind: "proc.absent", Args: Args{"of": {test.role}}}, Hint: "none"}}
		if v = pretendJudge().Step(&step); v[0].Lacks != nil || v[0].Hint != "none" {
			t.Errorf("%s: %+v", test.role, v[0])
		}
	}
	other := pretendJudge().Check(Check{Kind: "proc.args", Args: Args{"of": {"side"}, "want": {"sleep 60"}}})
	if other.Lacks == nil || other.Lacks.Command != "sleep 60" || other.Hint != OtherCommand {
		t.Errorf("%+v", other)
	}
	v := pretendJudge().Check(Check{Kind: "answer", Args: Args{"name": {"none"}, "want": {"b"}}})
	if v.Lacks == nil || !v.Lacks.Answer {
		t.Errorf("%+v", v)
	}
}

// TestEvidence: under what fails stands what fails, and no expectation of a diagnosis, which is the mistake's.
func TestEvidence(t *testing.T) {
	step := Step{
		Checks:   []Check{{Kind: "ns.same", Args: Args{"of": {"side"}, "with": {"web"}, "types": {"net", "ipc", "uts"}}, Hint: "apart"}},
		Diagnose: []Diagnosis{{When: Check{Kind: "ns.differ", Args: Args{"of": {"side"}, "with": {"web"}, "types": {"ipc", "mnt"}}}, Hint: "net-only"}},
	}
	var got []string
	for _, e := range pretendJudge().Step(&step)[0].Evidence {
		got = append(got, e.Path+" "+e.Want)
	}
	if text := strings.Join(got, "|"); text != "side /proc/30/ns/ipc equal|side /proc/30/ns/uts equal|side /proc/30/ns/mnt " {
		t.Error(text)
	}
	j := pretendJudge()
	j.Language = lang.Chinese
	v := j.Check(step.Checks[0])
	if v.Check != "ns.same of side with web types net,ipc,uts" || v.Says != "side 和 web 的 net、ipc、uts 相同" || v.Evidence[0].Want != "编号相同" {
		t.Errorf("%+v", v)
	}
}

// TestRemoveAnswers: what a learner made outside of the world goes, where it is what the lab asked for; anything else that was answered stays.
func TestRemoveAnswers(t *testing.T) {
	dir := t.TempDir()
	lab := &Lab{Steps: []Step{{ID: "x"}, {ID: "note", Ask: &Ask{Name: "note", Kind: "text", Removes: dir + "/note.*"}}}}
	for _, test := range []struct {
		name string
		make func(name string) error
		uid  int
		gone bool
	}{
		{"note.1", touch, os.Getuid(), true},
		{"thesis", touch, os.Getuid(), false},
		{"note.2", touch, os.Getuid() + 1, false},
		{"note.3", func(name string) error { return os.Mkdir(name, 0o700) }, os.Getuid(), false},
		{"note.4", func(name string) error { return os.Symlink("thesis", name) }, os.Getuid(), false},
	} {
		name := filepath.Join(dir, test.name)
		if err := test.make(name); err != nil {
			t.Fatal(err)
		}
		left, err := RemoveAnswers(lab, &LabRecord{Answers: map[string]Answer{"note": {Text: name}}}, test.uid)
		if _, missing := os.Lstat(name); err != nil || len(left) > 0 || (missing != nil) != test.gone {
			t.Errorf("%s: %v %v, gone: %v", test.name, left, err, missing)
		}
	}
}

func touch(name string) error { return os.WriteFile(name, nil, 0o600) }

func TestInhabitants(t *testing.T) {
	m := machineOf()
	environ := func(pid int, text string) {
		m[fmt.Sprintf("proc/%d/environ", pid)] = &fstest.MapFile{Data: []byte(text), Sys: &syscall.Stat_t{}}
	}
	environ(10, "MINIPOD_ROOT=/w\x00")        // the learner's shell: it has our namespaces
	environ(20, "A=1\x00MINIPOD_ROOT=/w\x00") // a container's
	environ(21, "MINIPOD_ROOT=/world\x00")    // another world's
	environ(40, "MINIPOD_ROOT=/w\x00")        // a zombie
	for _, test := range []struct {
		bound []Process
		want  string
	}{
		{nil, "[PID 20 (started at tick 1020)]"},
		{[]Process{{30, 1030}, {10, 1010}}, "[PID 20 (started at tick 1020) PID 30 (started at tick 1030)]"}, // 10 is in no namespace of its own
		{[]Process{{30, 1}}, "[PID 20 (started at tick 1020)]"},                                              // its number was used again
	} {
		list, err := InhabitantsOf(m, "/w", 11, test.bound)
		if err != nil || fmt.Sprint(list) != test.want {
			t.Errorf("with %v: %v %v, want %s", test.bound, list, err, test.want)
		}
	}
	if _, err := FindProcess(m, "x"); err == nil {
		t.Error("x is a PID")
	}
	if _, err := FindProcess(m, "99"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("process 99: %v", err)
	}
}

// TestPrediction: where a step begins with an answer, nothing else is said before there is one; a diagnosis isn't, either.
func TestPrediction(t *testing.T) {
	alive := Check{Kind: "proc.alive", Args: Args{"of": {"web"}}}
	step := Step{
		Checks:   []Check{{Kind: "answer", Args: Args{"name": {"none"}}, Hint: "guess"}, alive},
		Diagnose: []Diagnosis{{When: alive, Hint: "alive"}},
	}
	if v := pretendJudge().Step(&step); len(v) != 1 || v[0].Hint != "guess" || Passes(v) {
		t.Errorf("%+v", v)
	}
	step.Checks[0].Args["name"] = []string{"word"}
	if v := pretendJudge().Step(&step); len(v) != 2 || !Passes(v) {
		t.Errorf("%+v", v)
	}
}
