package port_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/network/port"
)

// publish publishes what server does with each connection, and returns the address outside.
func publish(t *testing.T, server func(*net.TCPConn), change func(*port.Options)) (addr string) {
	t.Helper()
	before := runtime.NumGoroutine()
	inside := listen(t)
	var serving sync.WaitGroup
	go func() {
		for {
			c, err := inside.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { defer c.Close(); server(c.(*net.TCPConn)) })
		}
	}()
	outside := listen(t)
	o := port.Options{
		Listener: outside,
		Dial:     to(inside.Addr()),
		Log:      func(err error) { t.Log(err) },
	}
	if change != nil {
		change(&o)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- port.Publish(ctx, o) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error("Publish:", err)
			}
		case <-time.After(time.Minute):
			t.Error("Publish does not return after its context ended")
		}
		inside.Close()
		serving.Wait()
		awaitGoroutines(t, before)
	})
	return outside.Addr().String()
}

func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l.(*net.TCPListener)
}

// to returns a Dial that connects to address.
func to(address net.Addr) func(context.Context, string, netip.AddrPort) (port.Socket, error) {
	return func(ctx context.Context, network string, _ netip.AddrPort) (port.Socket, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address.String())
		if err != nil {
			return nil, err
		}
		return c.(port.Socket), nil
	}
}

func awaitGoroutines(t *testing.T, most int) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for runtime.NumGoroutine() > most {
		if time.Now().After(deadline) {
			var stacks [1 << 16]byte
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), most, stacks[:runtime.Stack(stacks[:], true)])
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// TestParallel has 100 clients send at once, and each gets back the checksum of what it sent: the answer can only be made
// once the program has seen the end, so that each is a half-closed connection, too.
func TestParallel(t *testing.T) {
	addr := publish(t, func(c *net.TCPConn) {
		h := sha256.New()
		n, _ := io.Copy(h, c)
		fmt.Fprintf(c, "%d %x", n, h.Sum(nil))
	}, nil)
	var clients sync.WaitGroup
	for i := range 100 {
		clients.Go(func() {
			data := make([]byte, 100_000+i*1000)
			rand.Read(data)
			c, err := net.Dial("tcp4", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if _, err := c.Write(data); err != nil {
				t.Error(err)
			}
			c.(*net.TCPConn).CloseWrite()
			got, err := io.ReadAll(c)
			if want := fmt.Sprintf("%d %x", len(data), sha256.Sum256(data)); err != nil || string(got) != want {
				t.Errorf("client %d: got %q, %v; want %q", i, got, err, want)
			}
		})
	}
	clients.Wait()
}

// TestDownload passes 32 MB out.
func TestDownload(t *testing.T) {
	data := make([]byte, 32<<20)
	rand.Read(data)
	addr := publish(t, func(c *net.TCPConn) { c.Write(data) }, nil)
	got, err := io.ReadAll(dial(t, addr))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes of %d, %v", len(got), len(data), err)
	}
}

// TestRefused: where nobody listens inside, the client is reset, not told that all went well.
func TestRefused(t *testing.T) {
	addr := publish(t, nil, func(o *port.Options) {
		o.Dial = func(context.Context, string, netip.AddrPort) (port.Socket, error) { return nil, syscall.ECONNREFUSED }
	})
	c, err := net.Dial("tcp4", addr)
	if err == nil { // else it came so soon that connect(2) told
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want %v", err, syscall.ECONNRESET)
	}
}

// TestReset: a program that dies resets its client.
func TestReset(t *testing.T) {
	addr := publish(t, func(c *net.TCPConn) {
		c.Read(make([]byte, 1))
		c.SetLinger(0)
	}, nil)
	c := dial(t, addr)
	c.Write([]byte("x"))
	_, err := io.ReadAll(c)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v, want %v", err, syscall.ECONNRESET)
	}
}

// TestClient: Dial learns who called.
func TestClient(t *testing.T) {
	var seen atomic.Value
	addr := publish(t, func(*net.TCPConn) {}, func(o *port.Options) {
		inner := o.Dial
		o.Dial = func(ctx context.Context, network string, client netip.AddrPort) (port.Socket, error) {
			seen.Store(client)
			return inner(ctx, network, client)
		}
	})
	c := dial(t, addr)
	io.ReadAll(c)
	if got, want := fmt.Sprint(seen.Load()), c.LocalAddr().String(); got != want {
		t.Errorf("Dial was told %s, the client is %s", got, want)
	}
}

// TestIdle: a silent connection ends where that was asked for, and one that talks lives on.
func TestIdle(t *testing.T) {
	var silent *net.TCPConn
	for idle := 200 * time.Millisecond; ; idle *= 2 {
		addr := publish(t, func(c *net.TCPConn) { io.Copy(c, c) }, func(o *port.Options) { o.Idle = idle })
		busy := dial(t, addr)
		silent = dial(t, addr)
		var err error
		began, said := time.Now(), time.Now()
		for err == nil && time.Since(began) < 3*idle {
			before := said
			said = time.Now()
			if _, err = busy.Write([]byte("x")); err == nil {
				_, err = busy.Read(make([]byte, 1))
			}
			if err != nil && time.Since(before) >= idle { // it was not so busy: the machine is
				t.Logf("silent for %v", time.Since(before))
				break
			} else if err != nil {
				t.Fatal("the busy one:", err)
			}
			time.Sleep(20 * time.Millisecond)
		}
		if err == nil {
			break
		}
	}
	silent.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the silent one: %v, want %v", err, syscall.ECONNRESET)
	}
}

// TestMaxConns: one more than may be waits until another ends.
func TestMaxConns(t *testing.T) {
	addr := publish(t, func(c *net.TCPConn) { io.Copy(c, c) }, func(o *port.Options) { o.MaxConns = 2 })
	echo := func(c *net.TCPConn, wait time.Duration) error {
		c.Write([]byte("x"))
		c.SetReadDeadline(time.Now().Add(wait))
		_, err := c.Read(make([]byte, 1))
		return err
	}
	first, second, third := dial(t, addr), dial(t, addr), dial(t, addr)
	if err := errors.Join(echo(first, time.Minute), echo(second, time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := echo(third, 200*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the third of two: %v", err)
	}
	first.Close()
	if err := echo(third, time.Minute); err != nil {
		t.Error("after the first ended:", err)
	}
}

// TestRoom: ports that share room for one connection have one between them.
func TestRoom(t *testing.T) {
	room := port.NewRoom(4)
	share := func(o *port.Options) { o.Room = room }
	echo := func(c *net.TCPConn) { io.Copy(c, c) }
	one, otherAddr := dial(t, publish(t, echo, share)), publish(t, echo, share)
	ask := func(c *net.TCPConn, wait time.Duration) error {
		c.Write([]byte("x"))
		c.SetReadDeadline(time.Now().Add(wait))
		_, err := c.Read(make([]byte, 1))
		return err
	}
	if err := ask(one, time.Minute); err != nil {
		t.Fatal(err)
	}
	other := dial(t, otherAddr) // or it might have got the room first
	if err := ask(other, 200*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the second of one: %v", err)
	}
	one.Close()
	if err := ask(other, time.Minute); err != nil {
		t.Error("after the first ended:", err)
	}
}

// TestEnd: connections end with the context, at once.
func TestEnd(t *testing.T) {
	inside := listen(t)
	defer inside.Close()
	outside := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- port.Publish(ctx, port.Options{Listener: outside, Dial: to(inside.Addr())})
	}()
	c := dial(t, outside.Addr().String())
	if _, err := inside.Accept(); err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("Publish still waits")
	}
	c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client's read: %v", err)
	}
}
