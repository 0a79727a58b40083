//go:build amd64 || arm64

package linux

import "syscall"

// handler and restorer are the addresses of what handover_*.s has: a signal handler of six instructions, which needs nothing of Go's.
var handler, restorer uintptr

func handOver(set SignalSet) error {
	const onStack, restart, withRestorer = 0x08000000, 0x10000000, 0x04000000 // SA_ONSTACK, SA_RESTART, SA_RESTORER
	for number := syscall.Signal(1); number <= 64; number++ {
		if set&Signals(number) == 0 {
			continue
		}
		if err := setAction(number, handler, onStack|restart|withRestorer, restorer); err != nil {
			return err
		}
	}
	return nil
}
