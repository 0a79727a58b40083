//go:build !amd64 && !arm64

package linux

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// handOver has Go's own handlers hand the signals over, by way of os/signal and its threads.
func handOver(set SignalSet) error {
	signals := make(chan os.Signal, 64)
	for number := syscall.Signal(1); number <= 64; number++ {
		if set&Signals(number) != 0 {
			signal.Notify(signals, number)
		}
	}
	go func() {
		for s := range signals {
			if number, ok := s.(syscall.Signal); ok {
				_ = unix.Tgkill(int(handOverTo.process), int(handOverTo.thread), number)
			}
		}
	}()
	return nil
}
