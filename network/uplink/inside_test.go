package uplink_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/network/uplink"
)

// A namespace is a network namespace with a TUN device for its only way out, kept by another process of this program: it
// makes sockets in there on demand and passes them on. Its address is 10.88.0.5, and the device leads to all of 10.0.0.0/8.
type namespace struct {
	tun    *os.File
	socket *linux.Socket
	pid    int

	mu    sync.Mutex
	next  int
	waits map[int]chan dialled
}

type dialled struct {
	file *os.File
	err  error
}

// Roles of other processes of this program.
const (
	insideRole = "minipod-uplink-test-inside"
	serveRole  = "minipod-uplink-test-serve" // serves the device that is descriptor 3, which has host for this host
)

func TestMain(m *testing.M) {
	if os.Args[0] == insideRole {
		if err := inside(); err != nil {
			fmt.Fprintln(os.Stderr, "inside:", err)
			os.Exit(1)
		}
		return
	}
	if os.Args[0] == serveRole {
		err := uplink.Serve(context.Background(), os.NewFile(3, "tun"), uplink.Options{Alias: loopback})
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func inside() error {
	socket, err := linux.AsSocket(os.NewFile(3, "socket"))
	if err != nil {
		return err
	}
	tun, err := makeTUN()
	if err != nil {
		return err
	}
	if err := socket.Send([]byte("tun"), tun); err != nil {
		return err
	}
	tun.Close()
	buf := make([]byte, 1024)
	for {
		n, _, err := socket.Receive(buf)
		if err != nil || n == 0 {
			return err
		}
		var id int
		var network, address string
		if _, err := fmt.Sscan(string(buf[:n]), &id, &network, &address); err != nil {
			return err
		}
		go func() {
			c, err := perform(network, address)
			var errno syscall.Errno
			errors.As(err, &errno)
			if err != nil && errno == 0 {
				errno = syscall.EIO
			}
			var files []*os.File
			if f, ok := c.(interface{ File() (*os.File, error) }); ok && err == nil {
				file, err := f.File()
				if err != nil {
					panic(err)
				}
				files = append(files, file)
				defer file.Close()
				defer c.Close()
			}
			socket.Send(fmt.Appendf(nil, "%d %d", id, errno), files...)
		}()
	}
}

// perform dials, or listens at an address, or has what comes from the device redirected to a port.
func perform(what, address string) (io.Closer, error) {
	switch what {
	case "listen":
		return net.Listen("tcp4", address)
	case "redirect":
		var port uint16
		if _, err := fmt.Sscan(address, &port); err != nil {
			return nil, err
		}
		return nil, uplink.RedirectRules("up0", netip.MustParsePrefix("10.88.0.0/16"), port)
	}
	return new(net.Dialer).DialContext(context.Background(), what, address)
}

func makeTUN() (*os.File, error) {
	tun, err := linux.OpenTUN("up0")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"lo", "up0"} {
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		defer unix.Close(s)
		r, _ := unix.NewIfreq(name)
		set := func(call uint, fill func() error) error {
			if err := fill(); err != nil {
				return err
			}
			return unix.IoctlIfreq(s, call, r)
		}
		up := func() error { r.SetUint16(unix.IFF_UP); return nil }
		if name == "lo" {
			if err := set(unix.SIOCSIFFLAGS, up); err != nil {
				return nil, err
			}
			continue
		}
		err = errors.Join(
			set(unix.SIOCSIFMTU, func() error { r.SetUint32(uplink.MTU); return nil }),
			set(unix.SIOCSIFADDR, func() error { return r.SetInet4Addr([]byte{10, 88, 0, 5}) }),
			set(unix.SIOCSIFNETMASK, func() error { return r.SetInet4Addr([]byte{255, 0, 0, 0}) }),
			set(unix.SIOCSIFFLAGS, up))
		if err != nil {
			return nil, err
		}
	}
	return tun, nil
}

// newNamespace makes one, or skips where this machine has no TUN devices for ordinary users.
func newNamespace(tb testing.TB) *namespace {
	tb.Helper()
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil {
		tb.Skipf("no TUN devices here: %v", err)
	} else {
		f.Close()
	}
	ours, theirs, err := linux.SocketPair()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{insideRole}, ExtraFiles: []*os.File{theirs}, Stderr: os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		},
	}
	started := make(chan error, 1)
	end := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // whose end would kill the child
		err := cmd.Start()
		started <- err
		if err == nil {
			<-end
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		tb.Fatal(err)
	}
	theirs.Close()
	n := &namespace{waits: map[int]chan dialled{}, pid: cmd.Process.Pid}
	if n.socket, err = linux.AsSocket(ours); err != nil {
		tb.Fatal(err)
	}
	buf := make([]byte, 1024)
	_, files, err := n.socket.Receive(buf)
	if err != nil || len(files) != 1 {
		tb.Fatalf("no device: %v", err)
	}
	n.tun = files[0]
	go n.receive()
	tb.Cleanup(func() {
		n.tun.Close()
		cmd.Process.Kill()
		close(end)
		<-ended
		n.socket.Close()
	})
	return n
}

func (n *namespace) receive() {
	buf := make([]byte, 1024)
	for {
		length, files, err := n.socket.Receive(buf)
		if err != nil || length == 0 {
			return
		}
		var id int
		var errno syscall.Errno
		fmt.Sscan(string(buf[:length]), &id, &errno)
		d := dialled{}
		if errno != 0 {
			d.err = errno
		} else if len(files) > 0 {
			d.file = files[0]
		}
		n.mu.Lock()
		n.waits[id] <- d
		delete(n.waits, id)
		n.mu.Unlock()
	}
}

// perform has the other process do something, and returns the socket that came of it, if any.
func (n *namespace) perform(what, address string) (*os.File, error) {
	result := make(chan dialled, 1)
	n.mu.Lock()
	n.next++
	id := n.next
	n.waits[id] = result
	n.mu.Unlock()
	if err := n.socket.Send(fmt.Appendf(nil, "%d %s %s", id, what, address)); err != nil {
		return nil, err
	}
	select {
	case d := <-result:
		return d.file, d.err
	case <-time.After(time.Minute):
		return nil, os.ErrDeadlineExceeded
	}
}

// dial connects from inside.
func (n *namespace) dial(network, address string) (net.Conn, error) {
	f, err := n.perform(network, address)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return net.FileConn(f)
}

func (n *namespace) mustDial(t testing.TB, network, address string) net.Conn {
	t.Helper()
	c, err := n.dial(network, address)
	if err != nil {
		t.Fatalf("dial %s from inside: %v", address, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// stats returns how many descriptors this process has open, and goroutines.
func stats(tb testing.TB) (descriptors, goroutines int) {
	tb.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	return len(names), runtime.NumGoroutine()
}

func stacks() string {
	buf := make([]byte, 1<<18)
	return strings.TrimSpace(string(buf[:runtime.Stack(buf, true)]))
}
