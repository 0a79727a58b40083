package linux

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// OpenTerminal makes a pseudo-terminal in the devpts instance mounted at /dev/pts. The slave is opened through the
// master (TIOCGPTPEER), never by a name that somebody else could have put there. The caller closes both.
func OpenTerminal() (master, slave *os.File, name string, err error) {
	m, err := unix.Open("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, "", &os.PathError{Op: "open", Path: "/dev/pts/ptmx", Err: err}
	}
	return openTerminal(m)
}

// OpenTerminalIn is OpenTerminal in the devpts instance of the container whose root folder root is. The container may have put
// anything at that name, so what is opened must be the device.
func OpenTerminalIn(root File) (master, slave *os.File, name string, err error) {
	const multiplexer = 5<<8 | 2 // Documentation/admin-guide/devices.txt: /dev/ptmx
	m, err := root.OpenFileInRoot("dev/pts/ptmx", unix.O_RDWR)
	if err != nil {
		return nil, nil, "", err
	}
	st, err := m.Stat()
	if err == nil && (st.Mode&S_IFMT != S_IFCHR || st.Rdev != multiplexer) {
		err = &os.PathError{Op: "open a terminal", Path: m.Name, Err: unix.ENODEV}
	}
	if err != nil {
		m.Close()
		return nil, nil, "", err
	}
	return openTerminal(m.FD)
}

func openTerminal(m int) (master, slave *os.File, name string, err error) {
	master = os.NewFile(uintptr(m), "ptmx")
	if err := unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0); err != nil {
		master.Close()
		return nil, nil, "", fmt.Errorf("unlock the terminal: %w", err)
	}
	number, err := unix.IoctlGetInt(m, unix.TIOCGPTN)
	if err != nil {
		master.Close()
		return nil, nil, "", fmt.Errorf("number of the terminal: %w", err)
	}
	s, err := terminalPeer(m)
	if err != nil {
		master.Close()
		return nil, nil, "", fmt.Errorf("open the terminal's other end: %w", err)
	}
	name = "/dev/pts/" + strconv.Itoa(number)
	return master, os.NewFile(uintptr(s), name), name, nil
}

func terminalPeer(master int) (int, error) {
	fd, _, errno := syscall.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// IsTerminal tells whether fd is a terminal.
func IsTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}

// A Terminal is a terminal's settings, to go back to.
type Terminal struct {
	fd    int
	saved unix.Termios
}

// SaveTerminal reads the settings of the terminal at descriptor fd.
func SaveTerminal(fd int) (*Terminal, error) {
	saved, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("read the terminal's settings: %w", err)
	}
	return &Terminal{fd: fd, saved: *saved}, nil
}

// MakeRaw hands every key through unchanged, as the program behind the other terminal wants it: no echo, no line
// editing, no signals. Restore undoes it.
func (t *Terminal) MakeRaw() error {
	raw := t.saved // man 3 termios, cfmakeraw
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag &^= unix.CSIZE | unix.PARENB
	raw.Cflag |= unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(t.fd, unix.TCSETS, &raw); err != nil {
		return fmt.Errorf("make the terminal raw: %w", err)
	}
	return nil
}

// Restore gives the terminal its settings back.
func (t *Terminal) Restore() error {
	if err := unix.IoctlSetTermios(t.fd, unix.TCSETSW, &t.saved); err != nil {
		return fmt.Errorf("restore the terminal: %w", err)
	}
	return nil
}

// Guard forks a process that does one thing: when we are gone, however we died, it gives the terminal its settings
// back. It reads alive, a pipe whose only writer is us, until its end. It keeps no other descriptor of ours.
//
// It stands guard when Guard returns, so call that before MakeRaw: until it has blocked its signals, the SIGHUP that the kernel sends to the
// terminal's foreground when a session's leader dies would end it together with us.
func (t *Terminal) Guard(alive *os.File) (*Child, error) {
	tty, err := unix.FcntlInt(uintptr(t.fd), unix.F_DUPFD_CLOEXEC, 64)
	if err != nil {
		return nil, fmt.Errorf("dup the terminal: %w", err)
	}
	defer unix.Close(tty)
	pipe, err := DupHigh(alive)
	if err != nil {
		return nil, err
	}
	defer unix.Close(pipe)
	prog := &Program{}
	all := ^uint64(0) // a background process that touches its terminal is sent SIGTTOU, so every signal is blocked
	prog.add("rt_sigprocmask(SIG_BLOCK, ~0)", unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, pin(prog, &all), 0, 8)
	prog.add("setpgid(0, 0)", unix.SYS_SETPGID, 0, 0) // a Ctrl-C at the keyboard is not for it
	prog.Dup(tty, 0)
	prog.Dup(pipe, 1)
	prog.add("close_range(2, ~0)", unix.SYS_CLOSE_RANGE, 2, uintptr(^uint32(0)), 0)
	prog.add("read(pipe)", unix.SYS_READ, 1, pin(prog, new([1]byte)), 1)
	prog.add("ioctl(TCSETS)", unix.SYS_IOCTL, 0, unix.TCSETS, pin(prog, &t.saved))
	prog.add("exit(0)", unix.SYS_EXIT_GROUP, 0)
	child, err := Fork(0, prog)
	if err != nil {
		return nil, err
	}
	if err := child.Started(); err != nil { // close_range closes the report pipe, too: everything before the read is done
		_, e := child.Wait()
		return nil, errors.Join(fmt.Errorf("guard the terminal: %w", err), e)
	}
	return child, nil
}

// A Size is a terminal's, in characters.
type Size struct{ Rows, Columns uint16 }

// WindowSizeOf returns the size of the terminal at descriptor fd.
func WindowSizeOf(fd int) (Size, error) {
	size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil {
		return Size{}, fmt.Errorf("read the window size: %w", err)
	}
	return Size{size.Row, size.Col}, nil
}

// WindowSize copies the size of the terminal at descriptor from to another, which sends SIGWINCH to the programs there.
func WindowSize(from int, to *os.File) error {
	size, err := WindowSizeOf(from)
	if err != nil {
		return err
	}
	return SetWindowSize(to, size)
}

// SetWindowSize sets a terminal's size, which sends SIGWINCH to the programs there.
func SetWindowSize(to *os.File, size Size) error {
	conn, err := to.SyscallConn() // not Fd, which would take the file from Go's poller, and its deadlines with it
	if err != nil {
		return err
	}
	var failed error
	if err := conn.Control(func(fd uintptr) {
		failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Columns})
	}); err != nil {
		return err
	}
	if failed != nil {
		return fmt.Errorf("set the window size: %w", failed)
	}
	return nil
}
