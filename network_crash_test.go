package main

import (
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/pod"
)

// killAll kills the processes with that command line, as whoever runs out of memory does.
func killAll(t *testing.T, commandLine string) {
	t.Helper()
	pids := processes(t, commandLine)
	if len(pids) != 1 {
		t.Errorf("%s: there are %v", commandLine, pids)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
}

// dismiss has the node leave that nobody needs any more: it would wait some seconds.
func dismiss(t *testing.T) {
	t.Helper()
	eventually(t, "no cable is left", 5*time.Second, func() bool { return len(veths(t)) == 0 })
	for _, pid := range processes(t, "minipod node") {
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "the node and the network have gone", 5*time.Second, func() bool {
		return len(processes(t, "minipod node"))+len(processes(t, "minipod anchor")) == 0
	})
}

// answers tells whether a web server answers.
func answers(url, want string) bool {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(url)
	if err != nil {
		return false
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return err == nil && string(text) == want
}

const serveHi = "mkdir /w; echo hi >/w/index.html; exec httpd -f -p 8080 -h /w"

// Nobody runs a command after the node was killed: those who have a place in its network see to the next one. There is one, and what is published answers.
func TestNetworkNodeKilled(t *testing.T) {
	m := newNetworkMachine(t)
	m.must("pull", "-q", busybox())
	m.must("run", "-d", "--name", "web", "-p", "127.0.0.1::8080", busybox(), "sh", "-c", serveHi)
	m.must("run", "-d", "--name", "other", alpine(), "sleep", "600")
	web := m.pod("web-pod", pod.Spec{Containers: []pod.Container{shell("a", forever)}})
	web.ready()
	url := "http://" + strings.TrimSpace(m.must("port", "web", "8080"))
	eventually(t, "it answers", 5*time.Second, func() bool { return answers(url, "hi\n") })
	anchors := processes(t, "minipod anchor")
	for range 2 {
		before := processes(t, "minipod node")
		killAll(t, "minipod node")
		began := time.Now()
		eventually(t, "it answers again", 5*time.Second, func() bool { return answers(url, "hi\n") })
		t.Logf("after %s", time.Since(began))
		if now := processes(t, "minipod node"); len(now) != 1 || now[0] == before[0] {
			t.Errorf("the nodes are %v, and were %v", now, before)
		}
	}
	if out := m.must("exec", "other", "ping", "-c", "1", "-w", "30", "web"); !strings.Contains(out, " 0% packet loss") {
		t.Errorf("by name: %s", out)
	}
	if now := processes(t, "minipod anchor"); len(now) != 1 || now[0] != anchors[0] {
		t.Errorf("the anchors are %v, and were %v", now, anchors)
	}
	m.podctl("delete", "web-pod", "0")
	web.gone()
	m.must("rm", "-f", "web", "other")
	dismiss(t)
}

// With its owner the network is gone, for ever. What starts again anyway does so in the next one; the rest lives on, and does not say that it has an address.
func TestNetworkLost(t *testing.T) {
	m := newNetworkMachine(t)
	m.must("pull", "-q", busybox())
	m.must("run", "-d", "--name", "again", "--restart", "always", "-p", "127.0.0.1::8080", busybox(), "sh", "-c", serveHi)
	m.must("run", "-d", "--name", "stays", alpine(), "sleep", "600")
	p := m.pod("lost", pod.Spec{Containers: []pod.Container{shell("a", forever)}})
	p.ready()
	began := time.Now().Add(-time.Second)
	killAll(t, "minipod anchor")
	s := p.await("the pod has been rebuilt", func(s *pod.Status) bool {
		return s.ContainerStatuses[0].RestartCount == 1 && s.PodIP != "" && s.Phase == pod.Running
	})
	p.event("NetworkNotReady", "network is not ready: the pods' network was lost")
	p.event("SandboxChanged")
	eventually(t, "what has a restart policy is there again", 10*time.Second, func() bool {
		return strings.TrimSpace(m.must("inspect", "-f", "{{.RestartCount}} {{.State.Running}}", "again")) == "1 true"
	})
	url := "http://" + strings.TrimSpace(m.must("port", "again", "8080"))
	eventually(t, "it answers", 5*time.Second, func() bool { return answers(url, "hi\n") })
	if out := m.must("exec", "again", "ping", "-c", "1", "-w", "30", s.PodIP); !strings.Contains(out, " 0% packet loss") {
		t.Errorf("to the pod: %s", out)
	}
	if got := m.must("inspect", "-f", "{{.RestartCount}} {{.State.Running}} {{.NetworkSettings.IPAddress}}", "stays"); got != "0 true \n" {
		t.Errorf("the other: %q", got)
	}
	lost := m.must("events", "--since", began.Format(time.RFC3339), "--until", "0s", "--filter", "type=network", "--filter", "container="+strings.TrimSpace(m.must("inspect", "-f", "{{.Id}}", "stays")))
	if strings.Count(lost, "network disconnect pod") != 1 {
		t.Errorf("events: %s", lost)
	}
	m.must("restart", "-t", "0", "stays")
	if out := m.must("exec", "stays", "ping", "-c", "1", "-w", "30", "again"); !strings.Contains(out, " 0% packet loss") {
		t.Errorf("in the new network: %s", out)
	}
	if n := len(processes(t, "minipod anchor")); n != 1 {
		t.Errorf("%d anchors", n)
	}
	m.podctl("delete", "lost", "0")
	p.gone()
	m.must("rm", "-f", "again", "stays")
	dismiss(t)
}

// Who removes minipod's folder wants nothing of it any more: what runs ends, and nobody makes the folder again.
func TestFolderRemoved(t *testing.T) {
	m := newNetworkMachine(t)
	before := takeCensus(t)
	m.must("run", "-d", "--name", "loner", "--network", "none", "--restart", "always", alpine(), "sleep", "600")
	m.must("run", "-d", "--name", "connected", "--restart", "always", alpine(), "sleep", "600")
	for name, host := range map[string]bool{"a": false, "b": true} {
		m.podctl("create", m.podFile(name, pod.Spec{HostNetwork: host, Containers: []pod.Container{shell("c", forever)}}))
		(&podTest{m, name}).ready()
	}
	folder := dataFolder(m.home)
	_ = filepath.WalkDir(folder, func(dir string, d fs.DirEntry, _ error) error { // overlay's work folders
		if d != nil && d.IsDir() {
			_ = os.Chmod(dir, 0o700)
		}
		return nil
	})
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	// But for the node, which waits a little for others.
	eventually(t, "who lived there has ended", 8*time.Second, func() bool {
		return len(before.more(takeCensus(t))) <= len(processes(t, "minipod node"))+len(processes(t, "minipod anchor"))
	})
	dismiss(t)
	if _, err := os.Lstat(folder); err == nil {
		entries, _ := os.ReadDir(folder)
		t.Errorf("somebody has made it again, and in it %v", entries)
	}
}

// A program behind a published port is told who calls, but for the host's own loopback: what is called from there is trusted by many.
func TestPublishedClient(t *testing.T) {
	m := newNetworkMachine(t)
	m.must("run", "-d", "--name", "web", "-p", "8080", "-p", "8081", alpine(), "sh", "-c",
		"while :; do nc -l -p 8080 -e sh -c 'netstat -tn | grep :8080.*ESTABLISHED'; done") // not every nc goes on by itself
	published := func(port string) string {
		_, number, _ := strings.Cut(strings.TrimSpace(strings.Split(m.must("port", "web", port), "\n")[0]), ":")
		return number
	}
	port, refused := published("8080"), published("8081")
	// sees returns what the program sees of a connection to host: its own end and the other.
	sees := func(host, port string) (text string, local string) {
		c, err := net.DialTimeout("tcp4", host+":"+port, time.Second)
		if err != nil {
			return "", ""
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		data, _ := io.ReadAll(c)
		return string(data), c.LocalAddr().String()
	}
	eventually(t, "it answers", 5*time.Second, func() bool { text, _ := sees("127.0.0.1", port); return text != "" })
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	var mine string
	for _, a := range addresses {
		if ip, _, err := net.ParseCIDR(a.String()); err == nil && ip.To4() != nil && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() {
			mine = ip.String()
		}
	}
	if mine == "" {
		t.Fatal("this machine has no address but the loopback's")
	}
	answer := func(host string) (text, local string) {
		eventually(t, "it answers "+host, 5*time.Second, func() bool { text, local = sees(host, port); return text != "" })
		return text, local
	}
	for range 3 {
		if text, local := answer(mine); !strings.Contains(text, local+" ") {
			t.Errorf("the client %s is seen as: %s", local, text)
		}
	}
	if text, _ := answer("127.0.0.1"); strings.Contains(text, "127.0.0.1") {
		t.Errorf("from the loopback interface: %s", text)
	}
	began := time.Now()
	if text, _ := sees(mine, refused); text != "" || time.Since(began) > 30*time.Second {
		t.Errorf("where nobody listens: %q, after %s", text, time.Since(began))
	}
	m.must("rm", "-f", "web")
	dismiss(t)
}
