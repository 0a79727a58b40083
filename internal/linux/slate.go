package linux

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A slate is memory that a forked child shares with us, for a program with a seccomp filter: one that forbids write(2) keeps the child from reporting
// that it also forbids execve(2). A store takes no call. It holds the index of the call that failed, plus one, and its errno.
type slate []byte

func newSlate(p *Program) (slate, error) {
	if !p.filtered {
		return nil, nil
	}
	page, err := unix.Mmap(-1, 0, 8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("make the child's slate: %w", err)
	}
	return page, nil
}

func (s slate) failure() *[2]uint32 {
	return (*[2]uint32)(unsafe.Pointer(unsafe.SliceData(s)))
}

// read tells which call failed, once the child has ended or executes another program. Trust boundary: none; who executes another program has the
// slate no more.
func (s slate) read(p *Program) error {
	if s == nil || s.failure()[0] == 0 {
		return nil
	}
	index := int(s.failure()[0]) - 1
	return &CallError{Call: p.calls[index].Name, Index: index, Err: syscall.Errno(s.failure()[1])}
}

func (s *slate) wipe() {
	if *s != nil {
		_ = unix.Munmap(*s) // it is ours, and whole: that can't fail
		*s = nil
	}
}
