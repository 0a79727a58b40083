package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A going is a command that goes on: get -w, logs -f, port-forward, attach.
type going struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string
}

func (m *machine) going(args ...string) *going {
	m.t.Helper()
	g := &going{t: m.t, cmd: m.command(args...), lines: make(chan string, 100)}
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	g.cmd.Stderr = os.Stderr
	if err := g.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	go func() {
		defer close(g.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			g.lines <- s.Text()
		}
	}()
	m.t.Cleanup(func() { _ = g.cmd.Process.Kill() })
	return g
}

// until reads lines up to the one that matches, and returns what its groups are.
func (g *going) until(pattern string) []string {
	g.t.Helper()
	want, late := regexp.MustCompile(pattern), time.After(2*time.Minute)
	var seen []string
	for {
		select {
		case line, ok := <-g.lines:
			if !ok {
				g.t.Fatalf("%v ended before %s came:\n%s", g.cmd.Args, pattern, strings.Join(seen, "\n"))
			}
			seen = append(seen, line)
			if found := want.FindStringSubmatch(line); found != nil {
				return found
			}
		case <-late:
			g.t.Fatalf("%v: %s does not come:\n%s", g.cmd.Args, pattern, strings.Join(seen, "\n"))
		}
	}
}

// ends interrupts it, if it is to be, and wants the status.
func (g *going) ends(interrupt bool, status int) {
	g.t.Helper()
	if interrupt {
		if err := g.cmd.Process.Signal(syscall.SIGINT); err != nil {
			g.t.Fatal(err)
		}
	}
	for range g.lines { //nolint:revive // to its end
	}
	_ = g.cmd.Wait()
	if got := g.cmd.ProcessState.ExitCode(); got != status {
		g.t.Errorf("%v ended with status %d, want %d", g.cmd.Args, got, status)
	}
}

// TestGoingOn has a pod watched, listened to, forwarded to and attached to, while it comes, restarts and goes.
func TestGoingOn(t *testing.T) {
	m := newMachine(t)
	file := filepath.Join(m.home, "web.yaml")
	text := fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: %s
    stdin: true
    command: [sh, -c, "echo begun; while read line; do echo \"got $line\"; [ \"$line\" = end ] && exit 3; done; exec sleep 1000"]
    ports: [{name: talk, containerPort: 7000}]
  - name: server
    image: %[1]s
    command: [sh, -c, "while true; do echo from inside | nc -l -p 7000; done"]
`, os.Getenv("MINIPOD_REGISTRY")+"/library/alpine:3.20.3")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	watched := m.going("get", "pods", "-w", "--no-headers")
	m.must("apply", "-f", file)
	watched.until(`^web +2/2 +Running +0 `)

	followed := m.going("logs", "-f", "web", "-c", "app")
	followed.until(`^begun$`)
	attached := m.command("attach", "pod/web", "-c", "app", "-i")
	stdin, err := attached.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := attached.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(stdin, "hello")
	followed.until(`^got hello$`)

	forwarded := m.going("port-forward", "pod/web", ":talk")
	address := forwarded.until(`^Forwarding from (127\.0\.0\.1:\d+) -> 7000$`)[1]
	answer := ""
	for range 50 { // nc serves one after the other, and is not always there
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
		data, _ := io.ReadAll(conn)
		conn.Close()
		if answer = string(data); answer != "" {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if answer != "from inside\n" {
		t.Errorf("the forwarded port answers %q", answer)
	}

	fmt.Fprintln(stdin, "end") // the container's end is not the pod's
	if status := ended(t, attached); status != 3 {
		t.Errorf("attach ended with status %d, want the container's, 3", status)
	}
	followed.ends(false, 0)
	watched.until(`^web +2/2 +Running +1 \(`)
	m.must("delete", "pod", "web")
	forwarded.ends(false, 1)
	watched.until(`^web +\d/2 +Terminating `)
	watched.ends(true, 130)
}
