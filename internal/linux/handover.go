package linux

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// goUnblocks are the signals that Go unblocks in each of its threads, whatever mask it was executed with: see blockableSig in package runtime. The
// signals of faults are not among them here.
const goUnblocks SignalSet = 1<<(unix.SIGHUP-1) | 1<<(unix.SIGINT-1) | 1<<(unix.SIGQUIT-1) | 1<<(unix.SIGABRT-1) | 1<<(unix.SIGTERM-1) | 1<<(unix.SIGCHLD-1)

// TakeSignals makes this thread the one that takes the signals of the set, by WaitSignal. Whoever executes us must have blocked them
// (Program.BlockSignals); any other thread that the kernel gives one which Go has unblocked hands it over.
//
// The calling goroutine must be locked to its thread, and stay so. A child that is forked inherits the thread's mask.
func TakeSignals(set SignalSet) error {
	handOverTo.process, handOverTo.thread = int32(unix.Getpid()), int32(unix.Gettid())
	if _, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, uintptr(unsafe.Pointer(&set)), 0, 8, 0, 0); errno != 0 {
		return fmt.Errorf("rt_sigprocmask(SIG_BLOCK, %#x): %w", uint64(set), errno)
	}
	return handOver(set & goUnblocks)
}

// handOverTo, which TakeSignals sets once, is where the other threads find the one that takes their signals.
var handOverTo struct{ process, thread int32 }

// setAction is rt_sigaction(2), behind Go's back.
func setAction(number syscall.Signal, handler, flags, restorer uintptr) error {
	action := &[4]uintptr{handler, flags, restorer, ^uintptr(0)} // struct sigaction of the kernel; no other signal meanwhile
	if _, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(number), uintptr(unsafe.Pointer(action)), 0, 8, 0, 0); errno != 0 {
		return fmt.Errorf("rt_sigaction(%s): %w", unix.SignalName(number), errno)
	}
	return nil
}

// IgnoreSignals has the kernel drop signals that are sent to this process (SIG_IGN), behind Go's back: its handlers for them are gone.
func IgnoreSignals(signals ...syscall.Signal) error {
	const ignore = 1 // SIG_IGN
	for _, number := range signals {
		if err := setAction(number, ignore, 0, 0); err != nil {
			return err
		}
	}
	return nil
}
