package linux

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// KillInNamespaces kills the processes but our own that /proc shows in any of some namespaces, and returns when there are none left. A namespace is
// told by the text of its link in /proc/PID/ns, and must be held open by the caller, or another could have its number by now.
//
// It is for the processes of a container that shares its pid namespace with others: there the kernel does not end them with any PID 1.
// What leaves one namespace (`unshare -m`) is still in another. Who leaves all of them, which takes CAP_SYS_ADMIN or no seccomp filter,
// escapes it and ends with the others, and so may one that forks and ends faster than /proc is read: a look that finds nobody is
// repeated, since somebody may have been born behind its back. Where the container has a cgroup, cgroup.kill is what leaves no gap.
func KillInNamespaces(namespaces ...string) error {
	const (
		rounds = 400
		pause  = 5 * time.Millisecond
		looks  = 3 // in a row that find nobody
	)
	quiet := 0
	for range rounds {
		found, err := killInNamespaces(namespaces)
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

func killInNamespaces(namespaces []string) (found int, err error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return 0, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return 0, fmt.Errorf("list processes: %w", err)
	}
	self, err := os.Readlink("/proc/self") // nothing where that /proc does not show us
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("find ourselves in /proc: %w", err)
	}
	err = nil
	for _, name := range names {
		if _, err := strconv.Atoi(name); err != nil || name == self {
			continue
		}
		member, e := killMember(int(proc.Fd()), name, namespaces)
		if member {
			found++
		}
		err = errors.Join(err, e)
	}
	return found, err
}

// killMember kills the process whose folder of /proc name is, where it is in one of the namespaces. The folder stands for that very process, and
// is a pidfd, too (man 2 pidfd_send_signal): its number means another process in each pid namespace, and may pass on to another one.
func killMember(proc int, name string, namespaces []string) (member bool, err error) {
	fd, err := unix.Openat(proc, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, nil // it has just ended
	}
	defer unix.Close(fd)
	if !slices.ContainsFunc(namespaces, func(text string) bool { return isIn(fd, text) }) {
		return false, nil
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

// isIn tells whether the process behind a folder of /proc is in the namespace; one of another user, a kernel thread and a dead one are not.
func isIn(process int, namespace string) bool {
	kind, _, _ := strings.Cut(namespace, ":")
	var text [64]byte
	n, err := unix.Readlinkat(process, "ns/"+kind, text[:])
	return err == nil && string(text[:n]) == namespace
}

// AdoptOrphans makes us the parent of whom our descendants leave behind (man 2 PR_SET_CHILD_SUBREAPER).
func AdoptOrphans() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl(PR_SET_CHILD_SUBREAPER): %w", err)
	}
	return nil
}

// EndChildren kills the children of this process, and theirs as they become ours (AdoptOrphans), and reaps them; there is nobody else who
// waits for a child. It is for the last moment of a process that lives in the host's pid namespace. Unlike KillInNamespaces it finds those
// who left every namespace, too; but not those whom another has forked in there. It gives up on what does not die.
func EndChildren() {
	const (
		rounds = 400
		pause  = 5 * time.Millisecond
	)
	for range rounds {
		for _, pid := range children() {
			_ = unix.Kill(pid, syscall.SIGKILL) // it has not been waited for, so the number is still its own
		}
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if err != nil { // ECHILD
				return
			}
			if pid == 0 {
				break
			}
		}
		time.Sleep(pause)
	}
}

// children are those of all our threads, where the kernel tells (CONFIG_PROC_CHILDREN).
func children() (list []int) {
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, task := range tasks {
		text, err := os.ReadFile("/proc/self/task/" + task.Name() + "/children")
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
				list = append(list, pid)
			}
		}
	}
	return list
}
