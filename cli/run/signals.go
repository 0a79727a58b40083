package run

import (
	"os"
	"os/signal"
	"slices"
	"syscall"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/runtime/stage"
)

const killSignal = syscall.SIGKILL

// listen takes over the signals that are meant for the command. Those that come before it runs wait.
func listen() chan os.Signal {
	signals := make(chan os.Signal, 64)
	usual, _ := linux.Forwardable()
	if signal.Ignored(syscall.SIGHUP) { // nohup: the command is to outlive the terminal, too
		usual = slices.DeleteFunc(usual, func(s os.Signal) bool { return s == syscall.SIGHUP })
	}
	signal.Notify(signals, usual...)
	return signals
}

// forward hands signals on for as long as we live.
func forward(signals chan os.Signal, sandbox *stage.Sandbox, io *stdio, proxy bool) {
	_, realTime := linux.Forwardable()
	signal.Notify(signals, realTime...)
	for s := range signals {
		number, ok := s.(syscall.Signal)
		switch {
		case !ok:
		case number == syscall.SIGWINCH:
			io.resize()
		case number == syscall.SIGTSTP: // Ctrl-Z at a terminal that is not raw: both stop, and `fg` wakes both
			_ = sandbox.Signal(number)
			_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		case proxy || number == syscall.SIGCONT:
			_ = sandbox.Signal(number) // ESRCH: it has just ended
		case number == syscall.SIGINT || number == syscall.SIGTERM || number == syscall.SIGHUP || number == syscall.SIGQUIT:
			_ = sandbox.Signal(killSignal) // --sig-proxy=false: the signal is ours, and it ends us
		}
	}
}
