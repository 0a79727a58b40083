package relay_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/network/relay"
)

// pair returns the two ends of a connection.
func pair(t *testing.T) (one, other *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); d.Close() })
	return c.(*net.TCPConn), d.(*net.TCPConn)
}

// join joins two connections, and returns their far ends.
func join(t *testing.T) (left, right *net.TCPConn, done chan error) {
	t.Helper()
	left, a := pair(t)
	right, b := pair(t)
	done = make(chan error, 1)
	go func() { done <- relay.Join(t.Context(), a, b, 0) }()
	return left, right, done
}

// ask sends n bytes from one end to the other, and looks that they arrive.
func ask(t *testing.T, from, to net.Conn, n int) {
	t.Helper()
	data := make([]byte, n)
	rand.Read(data)
	sent := make(chan error, 1)
	go func() { _, err := from.Write(data); sent <- err }()
	got := make([]byte, n)
	if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes: %v", n, err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// TestSizes: what is copied, what is spliced, and what changes from one to the other arrives as it was.
func TestSizes(t *testing.T) {
	left, right, done := join(t)
	for _, n := range []int{1, 100, 16<<10 - 1, 16 << 10, 16<<10 + 1, 3 << 20, 5, 1 << 20, 1} {
		ask(t, left, right, n)
		ask(t, right, left, n)
	}
	left.CloseWrite()
	if _, err := right.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after the end of one direction: %v", err)
	}
	ask(t, right, left, 1<<20) // the other goes on
	right.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestIdle: a silent connection has its two sockets and nothing else, whatever went through it before.
func TestIdle(t *testing.T) {
	const most = 4 // pipes that are kept for anybody, and their ends
	before := descriptors(t)
	const count = 20
	for range count {
		left, right, _ := join(t)
		ask(t, left, right, 4<<20)
		ask(t, right, left, 4<<20)
	}
	for range 100 { // what has passed has been given back in a moment
		if descriptors(t) <= before+4*count+most { // two are the test's own
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d descriptors for %d connections, %d before", descriptors(t), count, before)
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestStuck: those to whom much is sent, and who take nothing, hold pipes. They keep nobody else's bytes.
func TestStuck(t *testing.T) {
	before := descriptors(t)
	const count = 40 // more than there are pipes
	var stuck []*net.TCPConn
	var writers sync.WaitGroup
	for range count {
		left, right, _ := join(t)
		stuck = append(stuck, left, right)
		writers.Go(func() {
			left.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
			for data, err := make([]byte, 1<<20), error(nil); err == nil; {
				_, err = left.Write(data)
			}
		})
	}
	writers.Wait()
	left, right, _ := join(t)
	ask(t, left, right, 4<<20)
	if now, most := descriptors(t), before+4*(count+1)+2*16; now > most {
		t.Errorf("%d descriptors, more than %d", now, most)
	}
	for _, c := range stuck {
		c.SetLinger(0)
		c.Close()
	}
}

// TestReset: a reset of one end is one of the other, be it on its way by copy or by splice.
func TestReset(t *testing.T) {
	for _, n := range []int{1, 4 << 20} {
		left, right, done := join(t)
		ask(t, left, right, n)
		left.SetLinger(0)
		left.Close()
		if _, err := right.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the other end after %d bytes: %v", n, err)
		}
		if err := <-done; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Join: %v", err)
		}
	}
}

// TestFiles: sockets need not be net's.
func TestFiles(t *testing.T) {
	left, a := pair(t)
	right, b := pair(t)
	f, err := a.File()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	a.Close()
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "socket")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- relay.Join(ctx, file, b, 0) }()
	ask(t, left, right, 1<<20)
	ask(t, right, left, 1)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Join: %v", err)
	}
	if _, err := left.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("at the end of it: %v", err)
	}
}
