package relay

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type socket struct{ closed atomic.Bool }

func (s *socket) Close() error { s.closed.Store(true); return nil }

func key(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func newFlows(max, each int) *Flows[netip.AddrPort] {
	return NewFlows(max, each, netip.AddrPort.Addr)
}

// TestSilence: a flow ends after a silence, sooner when nobody ever answered, and not while it is used.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlows(10, 10)
		var unanswered, answered, used socket
		f.Add(key("10.0.0.1:1"), &unanswered)
		a, _ := f.Add(key("10.0.0.1:2"), &answered)
		a.Answer()
		u, _ := f.Add(key("10.0.0.1:3"), &used)
		for range 60 {
			time.Sleep(time.Second)
			u.Touch()
		}
		if !unanswered.closed.Load() || answered.closed.Load() || used.closed.Load() {
			t.Errorf("after a minute: unanswered closed: %t, answered: %t, used: %t", unanswered.closed.Load(), answered.closed.Load(), used.closed.Load())
		}
		time.Sleep(Answered + Unanswered)
		if !answered.closed.Load() || !used.closed.Load() || f.Len() != 0 {
			t.Errorf("later: answered closed: %t, used: %t, %d left", answered.closed.Load(), used.closed.Load(), f.Len())
		}
		if f.timer != nil {
			t.Error("the timer runs for nothing")
		}
	})
}

// TestRoom is who must go when all places are taken.
func TestRoom(t *testing.T) {
	f := newFlows(4, 3)
	defer f.Close()
	var sockets [8]socket
	add := func(k string, s *socket) (*Flow, bool) { time.Sleep(time.Microsecond); return f.Add(key(k), s) }
	first, _ := add("10.0.0.1:1", &sockets[0])
	first.Answer()
	add("10.0.0.2:1", &sockets[1])
	add("10.0.0.1:2", &sockets[2])
	add("10.0.0.1:3", &sockets[3])
	if _, ok := add("10.0.0.1:4", &sockets[4]); !ok || !sockets[2].closed.Load() || sockets[1].closed.Load() {
		t.Error("a source with too many must give up its own oldest")
	}
	if _, ok := add("10.0.0.3:1", &sockets[5]); !ok || !sockets[1].closed.Load() {
		t.Error("when all are taken the oldest that nobody answered goes")
	}
	if sockets[0].closed.Load() {
		t.Error("an answered one went")
	}
	if _, ok := add("10.0.0.3:1", &sockets[6]); ok || !sockets[6].closed.Load() {
		t.Error("two flows of one key")
	}
	f.Close()
	if _, ok := add("10.0.0.4:1", &sockets[7]); ok || !sockets[7].closed.Load() || f.Len() != 0 {
		t.Error("a flow after Close")
	}
}

// TestLasting: what goes on for longer than a question and its answer keeps its place, whoever comes. What does not gives it up: by a program that
// answers each question, new ones would be kept out for minutes.
func TestLasting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlows(2, 2)
		defer f.Close()
		var talk, question, next socket
		long, _ := f.Add(key("10.0.0.1:1"), &talk)
		long.Answer()
		time.Sleep(lasting)
		long.Answer()
		short, _ := f.Add(key("10.0.0.1:2"), &question)
		short.Answer()
		time.Sleep(time.Second)
		if _, ok := f.Add(key("10.0.0.2:1"), &next); !ok || !question.closed.Load() || talk.closed.Load() {
			t.Errorf("there was room: %t, the question was closed: %t, the conversation: %t", ok, question.closed.Load(), talk.closed.Load())
		}
	})
}

func TestNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlows(1, 1)
		defer f.Close()
		flow, _ := f.Add(key("10.0.0.1:1"), &socket{})
		time.Sleep(lasting)
		flow.Answer()
		if f.Room(key("10.0.0.2:1")) {
			t.Error("a flow that lasts was to go")
		}
	})
}

func TestLimit(t *testing.T) {
	l := NewLimit(3, 2)
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	for i := range 3 {
		if l.Take(a) != (i < 2) {
			t.Error("one address may have two")
		}
	}
	for i := range 2 {
		if l.Take(b) != (i < 1) {
			t.Error("three in all")
		}
	}
	l.Give(a)
	if !l.Take(b) || l.Held() != 3 {
		t.Error("what was given back is there for others")
	}
	l.Give(a)
	l.Give(b)
	l.Give(b)
	if l.Held() != 0 || len(l.by) != 0 {
		t.Errorf("%d held, %d addresses remembered", l.Held(), len(l.by))
	}
}
