package relay

import (
	"net/netip"
	"sync"
)

// A Limit bounds how many of something are held at once, in all and by each address.
type Limit struct {
	total, each int

	mu   sync.Mutex
	held int
	by   map[netip.Addr]int
}

// NewLimit returns a Limit of total, of which one address may hold each.
func NewLimit(total, each int) *Limit {
	return &Limit{total: total, each: each, by: map[netip.Addr]int{}}
}

// Take takes one for who, or reports false.
func (l *Limit) Take(who netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held >= l.total || l.by[who] >= l.each {
		return false
	}
	l.held++
	l.by[who]++
	return true
}

// Give gives back what who took.
func (l *Limit) Give(who netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held--
	if l.by[who]--; l.by[who] == 0 {
		delete(l.by, who) // or every address that ever came stays in the map
	}
}

// Held returns how many are held.
func (l *Limit) Held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}
