package run

import (
	"os"
	"os/signal"
	"slices"
	"syscall"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/supervisor"
)

// listen takes over the signals that are meant for the command. Those that come before it runs wait.
func listen() chan os.Signal {
	signals := make(chan os.Signal, 64)
	usual, _ := linux.Forwardable()
	if signal.Ignored(syscall.SIGHUP) { // nohup: the command is to outlive the terminal, too
		usual = slices.DeleteFunc(usual, func(s os.Signal) bool { return s == syscall.SIGHUP })
	}
	signal.Notify(signals, usual...)
	// A closed stdout is told to the command, and not to us: without a taker SIGPIPE would be our end.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return signals
}

// forward hands signals on for as long as we live.
func forward(signals chan os.Signal, s *supervisor.Supervisor, proxy bool) {
	_, realTime := linux.Forwardable()
	signal.Notify(signals, realTime...)
	for received := range signals {
		number, ok := received.(syscall.Signal)
		switch {
		case !ok:
		case number == syscall.SIGWINCH:
			s.Resize()
		case number == syscall.SIGTSTP: // Ctrl-Z at a terminal that is not raw: both stop, and `fg` wakes both
			_ = s.Signal(number)
			_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		case proxy || number == syscall.SIGCONT:
			_ = s.Signal(number) // ESRCH: it has just ended
		case number == syscall.SIGINT || number == syscall.SIGTERM || number == syscall.SIGHUP || number == syscall.SIGQUIT:
			_ = s.Signal(syscall.SIGKILL) // --sig-proxy=false: the signal is ours, and it ends us
		}
	}
}
