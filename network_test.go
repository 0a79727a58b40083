package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// newNetworkMachine is a machine whose containers are in the pods' network, with an image, and its descendants are ours to count.
func newNetworkMachine(t *testing.T) *machine {
	t.Helper()
	adoptOrphans(t)
	m := newMachine(t)
	if err := os.Remove(m.config()); err != nil {
		t.Fatal(err)
	}
	m.must("pull", "-q", alpine())
	m.must("run", "--rm", "--network", "none", alpine(), "true") // what is cached at the first run is no leak
	return m
}

// processes are those below us whose command line is this one.
func processes(t *testing.T, commandLine string) (pids []int) {
	t.Helper()
	for _, pid := range descendants(t) {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.TrimRight(strings.ReplaceAll(string(data), "\x00", " "), " ") == commandLine {
			pids = append(pids, pid)
		}
	}
	all := slices.Clone(pids)
	return slices.DeleteFunc(pids, func(pid int) bool { return slices.Contains(all, parent(pid)) }) // a fork that is about to execute something else
}

func parent(pid int) (ppid int) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "PPid:")
	_, _ = fmt.Sscan(rest, &ppid)
	return ppid
}

// veths are the cables at the bridge: the kernel lists the devices of the anchor's network namespace.
func veths(t *testing.T) (names []string) {
	t.Helper()
	for _, anchor := range processes(t, "minipod anchor") {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", anchor))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, regexp.MustCompile(`veth\d+`).FindAllString(string(data), -1)...)
	}
	return names
}

func eventually(t *testing.T, what string, wait time.Duration, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * wait); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", wait, what)
		}
	}
}

// Twenty first users at once: one node and one anchor, twenty addresses, and nothing is left in the end, not even the two.
func TestNetworkInParallel(t *testing.T) {
	m := newNetworkMachine(t)
	before := takeCensus(t)
	const users = 20
	outputs := make([]string, users)
	var all sync.WaitGroup
	for i := range users {
		all.Go(func() {
			status, stdout, stderr := m.run("run", "--rm", alpine(), "sh", "-c", "ip -4 addr show eth0; ping -c 1 -w 30 $(ip route | sed -n 's/default via \\([0-9.]*\\).*/\\1/p')")
			if status != 0 {
				t.Errorf("status %d: %s", status, stderr)
			}
			outputs[i] = stdout
		})
	}
	nodes, anchors := 0, 0
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(20 * time.Millisecond):
			nodes, anchors = max(nodes, len(processes(t, "minipod node"))), max(anchors, len(processes(t, "minipod anchor")))
		}
	}
	if nodes != 1 || anchors != 1 {
		t.Errorf("there were %d nodes and %d anchors at once", nodes, anchors)
	}
	var addresses []string
	for i, out := range outputs {
		found := regexp.MustCompile(`inet ([0-9.]+)/16`).FindStringSubmatch(out)
		if found == nil || !strings.Contains(out, " 0% packet loss") {
			t.Errorf("container %d: %s", i, out)
			continue
		}
		if slices.Contains(addresses, found[1]) {
			t.Errorf("%s was given twice", found[1])
		}
		addresses = append(addresses, found[1])
	}
	eventually(t, "the cables are gone", 5*time.Second, func() bool { return len(veths(t)) == 0 })
	if left := m.must("network", "inspect", "-f", "{{len .Containers}}"); left != "0\n" {
		t.Errorf("places that are still taken: %s", left)
	}
	eventually(t, "the node has left", 20*time.Second, func() bool { return len(before.more(takeCensus(t))) == 0 })
	leases, err := os.ReadDir(filepath.Join(dataFolder(m.home), "node/leases"))
	if err != nil || len(leases) != 0 {
		t.Errorf("leases: %v, %v", leases, err)
	}
	for _, name := range []string{"anchor.json", "network.json", "control"} {
		if _, err := os.Lstat(filepath.Join(dataFolder(m.home), "node", name)); err == nil {
			t.Errorf("the node left %s behind", name)
		}
	}
}

// Whoever is killed, and while containers come and go: those that run keep their network, and in the end nothing is left.
func TestNetworkKills(t *testing.T) {
	m := newNetworkMachine(t)
	before := takeCensus(t)
	m.must("run", "-d", "--name", "stays", alpine(), "sleep", "600")
	address := strings.TrimSpace(m.must("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "stays"))
	if guarded := m.must("network", "inspect", "-f", "{{.Node.Guarded}}"); guarded != "true\n" {
		t.Errorf("guarded: %s", guarded)
	}
	anchor := processes(t, "minipod anchor")
	for range 3 {
		m.must("run", "-d", "--name", "goes", alpine(), "sleep", "600")
		for _, pid := range processes(t, "minipod node") {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		}
		if out := m.must("exec", "goes", "ping", "-c", "1", "-w", "30", address); !strings.Contains(out, " 0% packet loss") {
			t.Errorf("while no node runs: %s", out)
		}
		m.must("rm", "-f", "goes") // which no node sees
		if out := m.must("run", "--rm", alpine(), "ping", "-c", "1", "-w", "30", "stays"); !strings.Contains(out, address) {
			t.Errorf("the next node does not know it: %s", out)
		}
		if now := processes(t, "minipod anchor"); !slices.Equal(now, anchor) {
			t.Fatalf("the anchors are %v, and were %v", now, anchor)
		}
	}
	eventually(t, "one cable is left", 5*time.Second, func() bool { return len(veths(t)) == 1 })

	// The supervisor is killed, and the container with it.
	supervisor, err := strconv.Atoi(strings.TrimSpace(m.must("ps", "--format", "{{.PID}}")))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(supervisor, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no cable is left", 5*time.Second, func() bool { return len(veths(t)) == 0 })
	m.must("start", "stays")

	// Without the anchor there is no network, and the next container makes another.
	for _, pid := range anchor {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "the node has gone with the network", 5*time.Second, func() bool { return len(processes(t, "minipod node")) == 0 })
	m.must("exec", "stays", "true")
	m.must("restart", "-t", "0", "stays")
	if out := m.must("run", "--rm", alpine(), "ping", "-c", "1", "-w", "30", "stays"); !strings.Contains(out, " 0% packet loss") {
		t.Errorf("in the new network: %s", out)
	}
	m.must("rm", "-f", "stays")
	eventually(t, "the node has left", 20*time.Second, func() bool { return len(before.more(takeCensus(t))) == 0 })
}

// What a crash or a person left of the node's files is no reason to stay without a network.
func TestNetworkDamage(t *testing.T) {
	m := newNetworkMachine(t)
	before := takeCensus(t)
	folder := filepath.Join(dataFolder(m.home), "node")
	for _, damage := range []func() error{
		func() error { return os.MkdirAll(filepath.Join(folder, "leases"), 0o700) },
		func() error { return os.WriteFile(filepath.Join(folder, "anchor.json"), []byte("{"), 0o600) },
		func() error {
			return os.WriteFile(filepath.Join(folder, "anchor.json"), []byte(`{"PID": 1, "Birth": 1}`), 0o600)
		},
		func() error { return os.WriteFile(filepath.Join(folder, "network.json"), []byte("nonsense"), 0o600) },
		func() error {
			return errors.Join(os.WriteFile(filepath.Join(folder, "leases/x.json"), []byte(`{"PID": 1, "Veth": "lo"}`), 0o600),
				os.WriteFile(filepath.Join(folder, "leases/y.json"), nil, 0o600))
		},
		func() error {
			control := filepath.Join(folder, "control")
			return errors.Join(os.Remove(control), os.WriteFile(control, nil, 0o600))
		},
		func() error { return os.WriteFile(filepath.Join(folder, "told.json"), []byte("[[["), 0o600) },
		func() error { return os.RemoveAll(folder) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if out := m.must("run", "--rm", alpine(), "ip", "-4", "addr", "show", "eth0"); !strings.Contains(out, "inet 10.") {
			t.Error(out)
		}
		for _, name := range []string{"minipod node", "minipod anchor"} { // so that the next has to look
			for _, pid := range processes(t, name) {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
					t.Error(err)
				}
			}
		}
		eventually(t, "both are gone", 5*time.Second, func() bool { return len(before.more(takeCensus(t))) == 0 })
	}
}
