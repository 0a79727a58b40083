package supervisor

import (
	"encoding/json"
	"os"
	"slices"
	"sync"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/logs"
)

// clients are those who are attached. What the command writes goes to all of them, at the pace of the slowest: like a terminal that is
// held with Ctrl-S, one who does not read holds the command. A nil *clients has nobody.
type clients struct {
	mu      sync.Mutex
	list    []*linux.Socket
	stdin   *os.File      // of the command, or nil
	console *os.File      // its terminal, or nil
	gone    bool          // nobody may come any more
	slow    *linux.Socket // whom output waits for
	hurried bool          // it waits no longer than a second

	sending sync.Mutex // one chunk at a time, so that all see the same order
}

// attach tells a caller that it is attached, and adds it: from its answer on it gets all output. It answers false where the container
// has ended, or the caller has left.
func (c *clients) attach(s *linux.Socket) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		_ = sendJSON(s, failed(errNotRunning))
		return false
	}
	if sendJSON(s, reply{}) != nil {
		return false
	}
	c.list = append(c.list, s)
	return true
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
			if c.send(s, record) != nil { // it left, or does not read
				c.detach(s)
				s.Close()
			}
		}
		chunk = chunk[n:]
	}
}

// send waits for as long as it takes, until hurry is called.
func (c *clients) send(s *linux.Socket, record []byte) error {
	c.mu.Lock()
	c.slow = s
	err := s.SetWriteDeadline(c.limit())
	c.mu.Unlock()
	if err == nil {
		err = s.Send(record)
	}
	c.mu.Lock()
	c.slow = nil
	c.mu.Unlock()
	return err
}

func (c *clients) limit() time.Time {
	if !c.hurried {
		return time.Time{}
	}
	return time.Now().Add(time.Second)
}

// hurry gives up on somebody who does not read, now that the command has ended and there is nothing to slow down any more. With false
// all have their time again.
func (c *clients) hurry(yes bool) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hurried = yes
	if yes && c.slow != nil {
		_ = c.slow.SetWriteDeadline(time.Now())
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
	var all sync.WaitGroup
	for _, s := range list {
		all.Go(func() {
			if s.SetWriteDeadline(time.Now().Add(time.Second)) == nil { // it may not read
				_ = s.Send(append([]byte{frameExit}, data...))
			}
			s.Close()
		})
	}
	all.Wait()
}
