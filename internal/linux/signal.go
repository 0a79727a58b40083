package linux

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A SignalSet is a set of signals, as the kernel has it.
type SignalSet uint64

// Signals makes a set.
func Signals(signals ...syscall.Signal) (s SignalSet) {
	for _, number := range signals {
		s |= 1 << (number - 1)
	}
	return s
}

// BlockSignals lets a set of signals wait, and no others, from here on and in what is executed next. A Go program keeps them so in
// every thread, but for the signals that end it or tell of a fault.
func (p *Program) BlockSignals(set SignalSet) {
	name := "none"
	if set != 0 {
		name = fmt.Sprintf("%#x", uint64(set))
	}
	p.add(fmt.Sprintf("rt_sigprocmask(SIG_SETMASK, %s)", name), unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, pin(p, &set), 0, 8)
}

// WaitSignal takes the next signal of the set: see TakeSignals.
func WaitSignal(set SignalSet) (syscall.Signal, error) {
	for {
		number, _, errno := syscall.Syscall6(unix.SYS_RT_SIGTIMEDWAIT, uintptr(unsafe.Pointer(&set)), 0, 0, 8, 0, 0)
		switch errno {
		case 0:
			return syscall.Signal(number), nil
		case syscall.EINTR, syscall.EAGAIN:
		default: // a seccomp profile forbids it
			return 0, fmt.Errorf("rt_sigtimedwait: %w", errno)
		}
	}
}
