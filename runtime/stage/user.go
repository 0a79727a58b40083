package stage

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"codeberg.org/minipod/minipod/internal/hint"
)

// user looks up who runs the program, in the container's own files: we are inside by now, so whatever links they are
// lead nowhere else. moby/sys/user does the same, and would double what is initialised before this process may start.
func (s *sandbox) user() error {
	if s.plan.Pause {
		return nil
	}
	if err := s.identify(openNonblocking); err != nil {
		return err
	}
	if s.terminal != nil {
		if err := s.terminal.Chown(int(s.uid), int(s.gid)); err != nil {
			return fmt.Errorf("give the terminal to user %d: %w", s.uid, err)
		}
	}
	return s.did(nil, "read /etc/passwd and /etc/group: uid=%d gid=%d groups=%v", s.uid, s.gid, s.groups)
}

// An opener opens a file by the name that it has in the container.
type opener func(name string) (*os.File, error)

// openNonblocking opens what an image may have put there: a pipe without a writer would hang os.Open.
func openNonblocking(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
}

// identify finds out which ids the plan's user has, and where its home is.
func (s *sandbox) identify(open opener) error {
	p := &s.plan.Process
	who, err := findUser(open, p.User)
	if err != nil {
		return err
	}
	switch p.ImageGroups {
	case GroupsStrict:
		who.groups = nil
	case GroupsMerged:
		name, _, _ := strings.Cut(p.User, ":")
		alone, err := findUser(open, name)
		if err != nil {
			return err
		}
		who.groups = alone.groups
	}
	s.uid, s.gid = who.uid, who.gid
	if !mapped(p.IDs, s.uid) || !mapped(p.GIDs, s.gid) {
		return hint.Wrap(fmt.Errorf("user %d:%d does not exist in this user namespace", s.uid, s.gid), "see which ids you have: minipod doctor")
	}
	for _, text := range p.Groups {
		gid, ok := parseID(text)
		if !ok || !mapped(p.GIDs, gid) {
			return hint.Wrap(fmt.Errorf("group %s does not exist in this user namespace", text), "see which ids you have: minipod doctor")
		}
		who.groups = append(who.groups, gid)
	}
	for _, gid := range who.groups {
		if mapped(p.GIDs, gid) && !slices.Contains(s.groups, gid) {
			s.groups = append(s.groups, gid)
		}
	}
	if lookup(p.Env, "HOME") == "" {
		p.Env = append(p.Env, "HOME="+who.home)
	}
	return nil
}

func mapped(ranges []IDRange, id uint32) bool {
	for _, r := range ranges {
		if id >= r.First && id-r.First < r.Count {
			return true
		}
	}
	return false
}

type identity struct {
	uid, gid uint32
	groups   []uint32 // supplementary
	home     string
}

// findUser reads "user[:group]", each a name or a number; "" is root. As in Docker, a number need not be in the files,
// a name must be, and supplementary groups come from /etc/group unless a group was named.
func findUser(open opener, spec string) (identity, error) {
	userSpec, groupSpec, _ := strings.Cut(spec, ":")
	if userSpec == "" {
		userSpec = "0"
	}
	who, name := identity{home: "/"}, ""
	number, isNumber := parseID(userSpec)
	found := false
	err := eachEntry(open, "/etc/passwd", 7, func(f []string) bool { // name:password:uid:gid:gecos:home:shell
		uid, ok := parseID(f[2])
		gid, okGroup := parseID(f[3])
		if !ok || !okGroup || f[0] != userSpec && (!isNumber || uid != number) {
			return true
		}
		found, name = true, f[0]
		who.uid, who.gid, who.home = uid, gid, f[5]
		return false
	})
	if err != nil {
		return who, err
	}
	if !found {
		if !isNumber {
			return who, hint.Wrap(fmt.Errorf("no user %q in the image's /etc/passwd", userSpec), "name a user of the image, or a number: --user 1000:1000")
		}
		who.uid = number
	}
	if who.home == "" {
		who.home = "/"
	}
	return who, who.findGroups(open, name, groupSpec, groupSpec != "")
}

func (who *identity) findGroups(open opener, name, groupSpec string, named bool) error {
	number, isNumber := parseID(groupSpec)
	found := false
	err := eachEntry(open, "/etc/group", 4, func(f []string) bool { // name:password:gid:members
		gid, ok := parseID(f[2])
		switch {
		case !ok:
		case named && (f[0] == groupSpec || isNumber && gid == number):
			who.gid, found = gid, true
		case !named && name != "" && slices.Contains(strings.Split(f[3], ","), name):
			who.groups = append(who.groups, gid)
		}
		return !found
	})
	if err != nil || !named || found {
		return err
	}
	if !isNumber {
		return hint.Wrap(fmt.Errorf("no group %q in the image's /etc/group", groupSpec), "name a group of the image, or a number")
	}
	who.gid = number
	return nil
}

// parseID takes what the kernel takes for a uid: not (uid_t)-1, which means "no change".
func parseID(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n != 1<<32-1
}

// eachEntry calls visit with the fields of each line that has enough, until it answers false. The file is an image's: no
// file is an empty one, what is not regular is an error, and only its first 4 MiB count.
func eachEntry(open opener, name string, fields int, visit func([]string) bool) error {
	f, err := open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return hint.Wrap(err, adviceEntries)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", name)
	}
	if err != nil {
		return hint.Wrap(err, adviceEntries)
	}
	lines := bufio.NewReaderSize(io.LimitReader(f, 4<<20), 1024)
	for {
		line, err := lines.ReadString('\n')
		if entry := strings.Split(strings.TrimSpace(line), ":"); len(entry) >= fields && !visit(entry) {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return hint.Wrap(fmt.Errorf("read %s: %w", name, err), adviceEntries)
		}
	}
}

const adviceEntries = "the image, or what ran in the container, made it so: make another container, from another image in the first case; minipod cp still reads the files of this one"
