package stage

import (
	"errors"
	"fmt"
	"slices"

	"github.com/moby/sys/user"

	"codeberg.org/minipod/minipod/internal/hint"
)

// user looks up who runs the program, in the container's own files: they are inside by now, so whatever links they are
// lead nowhere else.
func (s *sandbox) user() error {
	p := &s.plan.Process
	found, err := user.GetExecUserPath(p.User, &user.ExecUser{Home: "/"}, "/etc/passwd", "/etc/group")
	if err != nil {
		return hint.Wrap(fmt.Errorf("find user %q in the image: %w", p.User, err), "name a user of the image's /etc/passwd, or a number: --user 1000:1000")
	}
	more, err := user.GetAdditionalGroupsPath(p.Groups, "/etc/group")
	if err != nil {
		return hint.Wrap(fmt.Errorf("find the groups %v in the image: %w", p.Groups, err), "name groups of the image's /etc/group, or numbers")
	}
	s.uid, s.gid = uint32(found.Uid), uint32(found.Gid)
	if !mapped(p.IDs, s.uid) || !mapped(p.GIDs, s.gid) {
		return hint.Wrap(fmt.Errorf("user %d:%d does not exist in this user namespace", s.uid, s.gid), "see which ids you have: minipod doctor")
	}
	for _, gid := range slices.Concat(found.Sgids, more) {
		if mapped(p.GIDs, uint32(gid)) && !slices.Contains(s.groups, uint32(gid)) {
			s.groups = append(s.groups, uint32(gid))
		}
	}
	if lookup(p.Env, "HOME") == "" {
		p.Env = append(p.Env, "HOME="+found.Home)
	}
	if s.terminal != nil {
		if err := s.terminal.Chown(int(s.uid), int(s.gid)); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("give the terminal to user %d: %w", s.uid, err)
		}
	}
	return s.did(nil, "read /etc/passwd and /etc/group: uid=%d gid=%d groups=%v", s.uid, s.gid, s.groups)
}

func mapped(ranges []IDRange, id uint32) bool {
	for _, r := range ranges {
		if id >= r.First && id-r.First < r.Count {
			return true
		}
	}
	return false
}
