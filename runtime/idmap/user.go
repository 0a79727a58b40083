package idmap

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/runtime/caps"
)

// Capabilities over the parent namespace that it takes to map other ids than one's own.
const (
	capSetgid = 6
	capSetuid = 7
)

// ForUser returns the maps for a container of the user with these effective ids, which must be the caller's.
//
// An ordinary user gets 0 mapped to their own id and 1 and up to their subordinate ranges. Where the files give none the
// maps hold the own id alone, and warning says so, its hint being the command that changes it. Root inside a user
// namespace (a nested container) gets the ids that exist there. Root of the machine is an error: minipod is rootless,
// and as root it would hand the machine's own root to the container.
func ForUser(uid, gid int) (uids, gids Map, warning, err error) {
	return system{root: "/", getsubids: getsubids, loginName: loginName}.forUser(uid, gid)
}

// system is where the answers come from: files below root, and two programs for users that no file lists.
type system struct {
	root      string
	getsubids func(user string, groups bool) []byte
	loginName func() string
}

func (s system) forUser(uid, gid int) (uids, gids Map, warning, err error) {
	if uid == 0 {
		return s.forRoot(gid)
	}
	number := strconv.Itoa(uid)
	name := userName(s.read("etc/passwd"), number)
	subuid, subgid := s.read("etc/subuid"), s.read("etc/subgid")
	users, groups := ranges(subuid, name, number), ranges(subgid, name, number)
	if len(users) == 0 || len(groups) == 0 {
		// Only now, as it costs a program or three: the name service may know what the files don't.
		if name == "" {
			name = s.loginName()
		}
		if len(users) == 0 {
			users = getsubidsRanges(s.getsubids(name, false))
		}
		if len(groups) == 0 {
			groups = getsubidsRanges(s.getsubids(name, true))
		}
	}
	if len(users) == 0 || len(groups) == 0 {
		warning = noRange(name, number, len(users) == 0, max(afterLast(subuid), afterLast(subgid)))
		users, groups = nil, nil
	}
	return newMap(uint32(uid), users), newMap(uint32(gid), groups), warning, nil
}

func noRange(name, number string, noUsers bool, first uint32) error {
	file, user := "/etc/subgid", name
	if noUsers {
		file = "/etc/subuid"
	}
	if user == "" {
		user = number
	}
	ids := fmt.Sprintf("%d-%d", first, first+65535)
	return hint.Wrap(
		fmt.Errorf("no range for %s in %s: containers have the one user id 0, and files of other owners become yours", user, file),
		fmt.Sprintf("run `sudo usermod --add-subuids %s --add-subgids %s %s`", ids, ids, user))
}

// forRoot is for uid 0, which is either the machine's root or merely that of a namespace.
func (s system) forRoot(gid int) (uids, gids Map, warning, err error) {
	uids, gids = available(s.read("proc/self/uid_map")), available(s.read("proc/self/gid_map"))
	if len(uids) == 1 && uids[0].Size == noID { // 0 0 4294967295: the initial namespace, or one as mighty
		return nil, nil, nil, hint.Wrap(errors.New("minipod is rootless and doesn't run as root"),
			"run it as an ordinary user (a new one: `sudo useradd -m NAME`, then `su - NAME`)")
	}
	held := effectiveCapabilities(s.read("proc/self/status"))
	switch {
	case !held.Has(capSetuid) || !held.Has(capSetgid):
		warning = hint.Wrap(
			errors.New("this namespace's root lacks CAP_SETUID or CAP_SETGID: containers have the one user id 0"),
			"start the outer container with `--cap-add SETUID --cap-add SETGID`")
	case uids.Single() || gids.Single() || len(uids) == 0 || len(gids) == 0:
		warning = hint.Wrap(
			errors.New("this namespace has one id alone: containers have the one user id 0"),
			"give the outer container a range of ids")
	default:
		return uids, gids, nil, nil
	}
	return newMap(0, nil), newMap(uint32(gid), nil), warning, nil
}

// effectiveCapabilities reads the line "CapEff:" of /proc/PID/status.
func effectiveCapabilities(status []byte) caps.Set {
	_, after, _ := bytes.Cut(status, []byte("\nCapEff:\t"))
	digits, _, _ := bytes.Cut(after, []byte("\n"))
	bits, err := strconv.ParseUint(string(digits), 16, 64)
	if err != nil {
		return 0
	}
	return caps.Set(bits)
}

// read returns a file's bytes. One that can't be read is like an empty one: the user isn't in it.
func (s system) read(name string) []byte {
	text, err := os.ReadFile(filepath.Join(s.root, name))
	if err != nil {
		return nil
	}
	return text
}

// getsubids asks the name service (nsswitch.conf's "subid", for example sss); nothing where the program
// is missing or doesn't know the user.
func getsubids(user string, groups bool) []byte {
	arguments := []string{user}
	if groups {
		arguments = []string{"-g", user}
	}
	out, err := exec.Command("getsubids", arguments...).Output()
	if err != nil {
		return nil
	}
	return out
}

// loginName asks id(1), and thereby the name service, who we are: os/user reads only /etc/passwd without cgo.
func loginName() string {
	out, err := exec.Command("id", "-un").Output()
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(out))
}
