package idmap

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

// Write maps the ids of the user namespace that process pid is in, which the caller must have created. Both maps of a
// namespace can be written once only, so a failure is final for that namespace.
func Write(pid int, uids, gids Map) error {
	if uids.Single() && gids.Single() {
		return writeSingle(pid, uids, gids)
	}
	if os.Geteuid() == 0 {
		return writeFiles(pid, uids, gids)
	}
	return runHelpers(pid, uids, gids)
}

// writeSingle maps the caller's own ids. The kernel wants setgroups(2) forbidden first: with it a process could leave
// a group, and so gain access to files whose mode denies that group something (CVE-2014-8989).
func writeSingle(pid int, uids, gids Map) error {
	if err := writeProc(pid, "setgroups", []byte("deny")); err != nil {
		return err
	}
	return writeFiles(pid, uids, gids)
}

func writeFiles(pid int, uids, gids Map) error {
	if err := writeProc(pid, "uid_map", uids.text()); err != nil {
		return err
	}
	return writeProc(pid, "gid_map", gids.text())
}

// writeProc writes text in one go, for the kernel takes no second one.
func writeProc(pid int, name string, text []byte) error {
	file, err := os.OpenFile("/proc/"+strconv.Itoa(pid)+"/"+name, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("map ids: %w", err)
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Close()); err != nil {
		return hint.Wrap(fmt.Errorf("map ids: %w", err), "run `minipod doctor` for what user namespaces need here")
	}
	return nil
}

// runHelpers runs newuidmap and newgidmap side by side: each takes a millisecond, most of it being started.
func runHelpers(pid int, uids, gids Map) error {
	users, err := startHelper("newuidmap", pid, uids) // LAB: id-map
	if err != nil {
		return err
	}
	groups, err := startHelper("newgidmap", pid, gids)
	if err != nil {
		return errors.Join(err, users.wait())
	}
	usersErr, groupsErr := users.wait(), groups.wait()
	if usersErr != nil {
		return usersErr // the other's is the same story
	}
	return groupsErr
}

type helper struct {
	name, path string
	pid        int
	stderr     *os.File
}

// startHelper starts newuidmap or newgidmap on m. Its stderr is a pipe that is read after its end only, as a message
// is far shorter than a pipe's buffer; a bytes.Buffer would cost a goroutine and a copy. For the same reason it is not
// os/exec that starts it, which first tries out what pidfds can do here.
func startHelper(name string, pid int, m Map) (*helper, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		err = fmt.Errorf("map ids with %s: %w", name, err)
		return nil, hint.Wrap(err, "install it: `sudo apt install uidmap` (Debian, Ubuntu) or `sudo dnf install shadow-utils`")
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe for %s: %w", name, err)
	}
	defer writer.Close()
	argv := append([]string{name, strconv.Itoa(pid)}, m.arguments()...)
	child, err := linux.Spawn(path, argv, []string{"LC_ALL=C"}, writer) // advise knows the untranslated messages
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map ids with %s: %w", name, err), reader.Close())
	}
	return &helper{name, path, child, reader}, nil
}

func (h *helper) wait() error {
	defer h.stderr.Close()
	status, err := linux.WaitProcess(h.pid)
	if err != nil || status == 0 {
		return err
	}
	message, _ := io.ReadAll(h.stderr) // what can't be read can't be shown
	said := strings.TrimSpace(strings.TrimPrefix(string(message), h.name+": "))
	return hint.Wrap(fmt.Errorf("map ids with %s: exit status %d: %s", h.name, status.ExitStatus(), said), advise(h, said))
}

// advise turns a message of shadow's newuidmap or newgidmap into what to do. The text is all that they tell.
func advise(h *helper, said string) string {
	file := "/etc/subuid"
	if h.name == "newgidmap" {
		file = "/etc/subgid"
	}
	switch {
	case strings.Contains(said, "not allowed"), strings.Contains(said, "Cannot read"):
		return "check that " + file + " gives you the range; `minipod doctor` shows what it needs"
	case strings.Contains(said, "Operation not permitted"), strings.Contains(said, "Could not set caps"):
		return "give it back its privilege: `sudo chmod u+s " + h.path + "` (and see that its file system isn't mounted nosuid)"
	}
	return "run `minipod doctor` for what user namespaces need here"
}
