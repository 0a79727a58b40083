package relay

import (
	"sync"

	"codeberg.org/minipod/minipod/internal/linux"
)

// A user's pipes have 64 MB together before they become tiny ones (pipe-user-pages-soft, pipe(7)), and they are not ours alone.
const (
	pipeSize = 512 << 10
	maxPipes = 16 // in use at once
	idle     = 2  // kept for the next
)

// pipes are shared by all streams, which hold one only while there are bytes in it.
var pipes pipePool

type pipePool struct {
	mu   sync.Mutex
	used int
	idle []*linux.Pipe
}

// take returns an empty pipe, or nil where there is none: whoever asks must do without.
func (p *pipePool) take() *linux.Pipe {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used == maxPipes {
		return nil
	}
	if last := len(p.idle) - 1; last >= 0 {
		pipe := p.idle[last]
		p.idle = p.idle[:last]
		p.used++
		return pipe
	}
	pipe, err := linux.NewPipe(pipeSize)
	if err != nil { // no descriptor left, say
		return nil
	}
	p.used++
	return pipe
}

// give gives back what take returned, which must be empty if it is to be used again.
func (p *pipePool) give(pipe *linux.Pipe, empty bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used--
	if empty && len(p.idle) < idle {
		p.idle = append(p.idle, pipe)
		return
	}
	_ = pipe.Close()
}
