package supervisor

import (
	"encoding/json"
	"os"
	"slices"
	"sync"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/logs"
)

// clients are those who are attached. What the command writes goes to all of them, at the pace of the slowest: like a terminal that is
// held with Ctrl-S, one who does not read holds the command. A nil *clients has nobody.
type clients struct {
	mu      sync.Mutex
	list    []*linux.Socket
	stdin   *os.File // of the command, or nil
	console *os.File // its terminal, or nil
	gone    bool     // nobody may come any more

	sending sync.Mutex // one chunk at a time, so that all see the same order
}

// attach adds a caller. It answers false where the container has ended.
func (c *clients) attach(s *linux.Socket) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.gone {
		c.list = append(c.list, s)
	}
	return !c.gone
}

func (c *clients) detach(s *linux.Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = slices.DeleteFunc(c.list, func(other *linux.Socket) bool { return other == s })
}

func (c *clients) all() []*linux.Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.list)
}

// output sends a chunk of output to everybody.
func (c *clients) output(stream logs.Stream, chunk []byte) {
	if c == nil {
		return
	}
	list := c.all()
	if len(list) == 0 {
		return
	}
	kind := byte(frameStdout)
	if stream == logs.Stderr {
		kind = frameStderr
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	for len(chunk) > 0 {
		n := min(len(chunk), linux.MaxRecord-1)
		record := append([]byte{kind}, chunk[:n]...)
		for _, s := range list {
			if s.Send(record) != nil { // it left
				c.detach(s)
			}
		}
		chunk = chunk[n:]
	}
}

// setStdin says where input goes: to a command that has just started, or with nil to nobody.
func (c *clients) setStdin(stdin, console *os.File) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stdin, c.console = stdin, console
}

// input takes a frame of an attached caller's.
func (c *clients) input(kind byte, data []byte) {
	c.mu.Lock()
	stdin, console := c.stdin, c.console
	c.mu.Unlock()
	switch {
	case kind == frameStdin && stdin != nil:
		_, _ = stdin.Write(data) // EPIPE: the command closed it
	case kind == frameClose && stdin != nil && console == nil:
		stdin.Close()
	case kind == frameWindow && console != nil:
		var size linux.Size
		if json.Unmarshal(data, &size) == nil {
			_ = linux.SetWindowSize(console, size)
		}
	}
}

// end tells everybody how it ended. Nobody can come any more.
func (c *clients) end(r reply) {
	data, err := json.Marshal(r)
	if err != nil {
		return
	}
	c.mu.Lock()
	c.gone = true
	list := c.list
	c.list = nil
	c.mu.Unlock()
	for _, s := range list {
		_ = s.Send(append([]byte{frameExit}, data...))
		s.Close()
	}
}

// drop ends all connections at once, so that nobody waits for one who does not read.
func (c *clients) drop() {
	if c == nil {
		return
	}
	for _, s := range c.all() {
		s.Close()
	}
}
