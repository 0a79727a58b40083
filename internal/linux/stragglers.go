package linux

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// KillInMountNamespace kills the processes that /proc shows in a mount namespace, and returns when there are none left. The namespace is
// told by the text of /proc/PID/ns/mnt, and must be held open by the caller, or another could have its number by now.
//
// It is for the processes of a container that shares its pid namespace with others: there the kernel does not end them with any PID 1.
// A process that made a mount namespace of its own, which takes CAP_SYS_ADMIN, escapes it, and so may one that forks and ends faster than
// /proc is read: a look that finds nobody is repeated, since somebody may have been born behind its back. Where the container has a
// cgroup, cgroup.kill is what leaves no gap.
func KillInMountNamespace(namespace string) error {
	const (
		rounds = 400
		pause  = 5 * time.Millisecond
		looks  = 3 // in a row that find nobody
	)
	quiet := 0
	for range rounds {
		found, err := killInMountNamespace(namespace)
		if err != nil {
			return err
		}
		quiet++
		if found > 0 {
			quiet = 0
		}
		if quiet == looks {
			return nil
		}
		time.Sleep(pause) // the dead are in no namespace: the next look finds those who live, and their new children
	}
	return errors.New("kill the processes that are left: some do not die")
}

func killInMountNamespace(namespace string) (found int, err error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return 0, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return 0, fmt.Errorf("list processes: %w", err)
	}
	for _, name := range names {
		if _, err := strconv.Atoi(name); err != nil {
			continue
		}
		member, e := killMember(int(proc.Fd()), name, namespace)
		if member {
			found++
		}
		err = errors.Join(err, e)
	}
	return found, err
}

// killMember kills the process whose folder of /proc name is, where it is in the namespace. The folder stands for that very process, and
// is a pidfd, too (man 2 pidfd_send_signal): its number means another process in each pid namespace, and may pass on to another one.
func killMember(proc int, name, namespace string) (member bool, err error) {
	fd, err := unix.Openat(proc, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, nil // it has just ended
	}
	defer unix.Close(fd)
	var text [64]byte
	n, err := unix.Readlinkat(fd, "ns/mnt", text[:])
	if err != nil || string(text[:n]) != namespace {
		return false, nil // of another user, a kernel thread, or dead
	}
	err = unix.PidfdSendSignal(fd, syscall.SIGKILL, nil, 0)
	if errors.Is(err, syscall.ESRCH) {
		return true, nil
	}
	if err != nil {
		return true, fmt.Errorf("kill process %s: %w", name, err)
	}
	return true, nil
}
