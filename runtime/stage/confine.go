package stage

import (
	"fmt"
	"os"

	"codeberg.org/minipod/minipod/internal/linux"
)

// PID 1 keeps two capabilities: one that it needs, to signal a command of another user, and one that a payload never has
// by default and that means nothing in a user namespace. Trust boundary: the payload may look into another process's
// /proc entry, or ptrace it, where that one's permitted capabilities are a subset of its own. So PID 1 is out of reach.
const (
	capKill         = 5
	capSysPtrace    = 19
	capBlockSuspend = 36
	capsOfPID1      = 1<<capKill | 1<<capBlockSuspend
)

// A sandbox whose command is in another's pid namespace stays in the host's, where no container sees it but those that live there, too; and
// these have no power to trace (hostTracers in package runtime). So it may keep what it needs to find the command's processes, should it
// have to end them: the kernel shows whose namespaces are whose to those who may trace.
const capsOutside = capsOfPID1 | 1<<capSysPtrace

// exposed tells whether the payload can trace PID 1 all the same: with --cap-add SYS_PTRACE, BLOCK_SUSPEND or ALL. What
// PID 1 could do, or could execute, is then the payload's to do.
func (s *sandbox) exposed() bool {
	return !s.plan.sharesPIDs() && s.plan.Process.Bounding&(1<<capSysPtrace|1<<capBlockSuspend) != 0
}

// openGate makes what an exposed PID 1's payload waits at.
func (s *sandbox) openGate() (err error) {
	if s.plan.Reaper && s.exposed() {
		s.gateIn, s.gateOut, err = os.Pipe()
	}
	return err
}

func (s *sandbox) addGate(p *linux.Program) {
	if s.gateIn != nil {
		p.WaitForByte(int(s.gateIn.Fd()))
	}
}

// passGate gives an exposed PID 1 the payload's own limits, and then lets the payload go on.
func (s *sandbox) passGate() error {
	if s.gateIn == nil {
		return nil
	}
	p := &s.plan.Process
	if err := linux.LimitAllThreads(p.Setgroups, capsOfPID1, p.Bounding, p.NoNewPrivileges, p.Seccomp); err != nil {
		return err
	}
	if _, err := s.gateOut.Write([]byte{0}); err != nil {
		return fmt.Errorf("let the command go on: %w", err)
	}
	s.gateIn.Close()
	return s.gateOut.Close()
}
