package relay

import (
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Silence after which a flow of datagrams ends: conntrack's own figures (nf_conntrack_udp_timeout and _stream).
const (
	Unanswered = 30 * time.Second
	Answered   = 2 * time.Minute
)

// sample is among how many, which Go's order of maps draws, the oldest is looked for: a flood shall not make us look at all
// of them for each datagram.
const sample = 16

// Flows are conversations in datagrams, each with a socket of its own, which is closed after a silence: nothing else ends
// such a conversation. There are never more than so many. When all are taken, a new one takes the place of one that was silent
// for long (of its own source's where that source has too many), as with conntrack's early drop: first of those that nobody ever answered,
// then of those that were answered and over within moments, as a question for a name is. A flood costs no conversation that lasts.
type Flows[K comparable] struct {
	max, each            int
	source               func(K) netip.Addr
	unanswered, answered time.Duration

	mu     sync.Mutex
	flows  map[K]*Flow
	by     map[netip.Addr]int
	timer  *time.Timer
	closed bool
}

// A Flow is one conversation.
type Flow struct {
	conn     io.Closer
	born     int64        // Unix time in nanoseconds
	used     atomic.Int64 // ditto
	answered atomic.Bool
	lasts    atomic.Bool // it was answered long after it began
}

// lasting is when an answer makes a conversation of it that is more than a question and its answer: conntrack's figure (nf_conntrack_proto_udp.c).
const lasting = 2 * time.Second

// NewFlows returns room for max flows, each of which has a source, and a source may have each.
func NewFlows[K comparable](max, each int, source func(K) netip.Addr) *Flows[K] {
	return &Flows[K]{
		max: max, each: each, source: source, unanswered: Unanswered, answered: Answered,
		flows: map[K]*Flow{}, by: map[netip.Addr]int{},
	}
}

// Timeouts changes the silence after which flows end: those that were never answered, and the others.
func (f *Flows[K]) Timeouts(unanswered, answered time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unanswered, f.answered = unanswered, answered
}

// Room says whether key would find a place, and makes it if that takes the end of an unanswered flow.
func (f *Flows[K]) Room(key K) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.room(key)
}

func (f *Flows[K]) room(key K) bool {
	source := f.source(key)
	crowded := f.by[source] >= f.each
	if f.closed || len(f.flows) < f.max && !crowded {
		return !f.closed
	}
	var oldest K
	var victim *Flow
	seen := 0
	for k, flow := range f.flows {
		if flow.lasts.Load() || crowded && f.source(k) != source {
			continue
		}
		if victim == nil || flow.before(victim) {
			oldest, victim = k, flow
		}
		if seen++; seen == sample {
			break
		}
	}
	if victim == nil {
		return false
	}
	f.remove(oldest, victim)
	return true
}

// Add keeps conn as the flow of key, until a silence, Remove or Close closes it. It reports false, and closes conn, where
// there is no room, or a flow of that key already.
func (f *Flows[K]) Add(key K, conn io.Closer) (*Flow, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flows[key] != nil || !f.room(key) {
		conn.Close()
		return nil, false
	}
	flow := &Flow{conn: conn}
	flow.Touch()
	flow.born = flow.used.Load()
	f.flows[key] = flow
	f.by[f.source(key)]++
	if f.timer == nil {
		f.timer = time.AfterFunc(f.unanswered, f.sweep)
	}
	return flow, true
}

// Remove closes a flow whose socket failed.
func (f *Flows[K]) Remove(key K, flow *Flow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remove(key, flow)
}

func (f *Flows[K]) remove(key K, flow *Flow) {
	if f.flows[key] != flow {
		return // another one by now
	}
	flow.conn.Close()
	delete(f.flows, key)
	source := f.source(key)
	if f.by[source]--; f.by[source] == 0 {
		delete(f.by, source)
	}
}

// Len returns how many flows there are.
func (f *Flows[K]) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.flows)
}

// Close closes every flow; no new one is added.
func (f *Flows[K]) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for key, flow := range f.flows {
		f.remove(key, flow)
	}
	if f.timer != nil {
		f.timer.Stop()
	}
}

// sweep ends the silent flows. It runs as long as there are any.
func (f *Flows[K]) sweep() {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for key, flow := range f.flows {
		limit := f.unanswered
		if flow.answered.Load() {
			limit = f.answered
		}
		if now.Sub(time.Unix(0, flow.used.Load())) >= limit {
			f.remove(key, flow)
		}
	}
	if len(f.flows) == 0 || f.closed {
		f.timer = nil
		return
	}
	f.timer.Reset(f.unanswered / 4)
}

// Touch says that a datagram passed.
func (f *Flow) Touch() { f.used.Store(time.Now().UnixNano()) }

// Answer says that one came back.
func (f *Flow) Answer() {
	f.Touch()
	if !f.answered.Load() {
		f.answered.Store(true)
	}
	if !f.lasts.Load() && f.used.Load()-f.born >= int64(lasting) {
		f.lasts.Store(true)
	}
}

// before tells whether f is to go before other, where one must.
func (f *Flow) before(other *Flow) bool {
	if mine, theirs := f.answered.Load(), other.answered.Load(); mine != theirs {
		return theirs
	}
	return f.used.Load() < other.used.Load()
}
