package uplink_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/network/uplink"
)

const (
	benchBytes    = 128 << 20
	benchConnects = 200
	benchRounds   = 15
)

// BenchmarkUplink compares the uplink with slirp4netns, in one network namespace, in turns: bytes up and down through one
// connection, and the time of a connection. `scripts/bench network` runs it; the ratios are what counts.
func BenchmarkUplink(b *testing.B) {
	slirp, err := exec.LookPath("slirp4netns")
	if err != nil {
		b.Skip("slirp4netns is not installed")
	}
	n := newNamespace(b)
	proc := fmt.Sprintf("/proc/%d/ns/", n.pid)
	// Each in a process of its own: on a busy machine that counts.
	for _, cmd := range []*exec.Cmd{
		{Path: "/proc/self/exe", Args: []string{serveRole}, ExtraFiles: []*os.File{n.tun}},
		exec.Command(slirp, "--configure", fmt.Sprintf("--mtu=%d", uplink.MTU), "--netns-type=path", "--userns-path="+proc+"user", proc+"net", "tap0"),
	} {
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		defer func() { cmd.Process.Kill(); cmd.Wait() }()
	}

	port := strings.TrimPrefix(listen(b, serveBench), host.String())
	ways := []struct{ name, address string }{{"minipod", host.String() + port}, {"slirp4netns", "10.0.2.2" + port}}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if c, err := n.dial("tcp4", ways[1].address); err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			b.Fatal("slirp4netns carries nothing")
		}
	}
	figures := map[string][]float64{}
	for b.Loop() {
		for range benchRounds {
			for _, way := range ways {
				for _, direction := range []string{"u", "d"} {
					c := n.mustDial(b, "tcp4", way.address)
					began := time.Now()
					if err := transfer(c, direction); err != nil {
						b.Fatalf("%s: %v", way.name, err)
					}
					key := way.name + "-" + map[string]string{"u": "up", "d": "down"}[direction] + "-Gbit/s"
					figures[key] = append(figures[key], 8*benchBytes/time.Since(began).Seconds()/1e9)
					c.Close()
				}
				began := time.Now()
				for range benchConnects {
					c, err := n.dial("tcp4", way.address)
					if err != nil {
						b.Fatal(err)
					}
					c.Close()
				}
				key := way.name + "-connect-µs"
				figures[key] = append(figures[key], float64(time.Since(began).Microseconds())/benchConnects)
			}
		}
	}
	median := func(key string) float64 { s := figures[key]; slices.Sort(s); return s[len(s)/2] }
	for key := range figures {
		b.ReportMetric(median(key), key)
	}
	for _, what := range []string{"up-Gbit/s", "down-Gbit/s", "connect-µs"} {
		name, _, _ := strings.Cut(what, "-")
		b.ReportMetric(median("minipod-"+what)/median("slirp4netns-"+what), "ratio-"+name)
	}
	b.ReportMetric(0, "ns/op") // of no meaning here
}

// serveBench takes bytes (u) or sends them (d), as the first one says.
func serveBench(c *net.TCPConn) {
	buf := make([]byte, 256<<10)
	if _, err := io.ReadFull(c, buf[:1]); err != nil {
		return
	}
	if buf[0] == 'u' {
		receive(c, benchBytes)
		c.Write(buf[:1])
		return
	}
	send(c, benchBytes)
}

func transfer(c net.Conn, direction string) error {
	if _, err := c.Write([]byte(direction)); err != nil {
		return err
	}
	if direction == "d" {
		return receive(c, benchBytes)
	}
	if err := send(c, benchBytes); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1)) // all of it has arrived
	return err
}

func send(c net.Conn, total int) error {
	buf := make([]byte, 256<<10)
	for sent := 0; sent < total; {
		n, err := c.Write(buf)
		if sent += n; err != nil {
			return err
		}
	}
	return nil
}

func receive(c net.Conn, total int) error {
	buf := make([]byte, 256<<10)
	for received := 0; received < total; {
		n, err := c.Read(buf)
		if received += n; err != nil {
			return err
		}
	}
	return nil
}
