package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

// holeSize is the least run of zeros that becomes a hole.
const holeSize = 64 << 10

// content writes the current entry's bytes to f. A sparse entry reads as its whole content, so the holes are found
// again here.
func (u *unpacker) content(ctx context.Context, f linux.File, size int64) error {
	end := int64(0) // of what was written
	for offset := int64(0); offset < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		data := u.buf[:min(int64(len(u.buf)), size-offset)]
		if _, err := io.ReadFull(u.tar, data); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("read its content: %w", err)
		}
		for len(data) > 0 {
			skip, take := nextData(data)
			if err := f.WriteAt(data[skip:skip+take], offset+int64(skip)); err != nil {
				return err
			}
			offset += int64(skip + take)
			data = data[skip+take:]
			if take > 0 {
				end = offset
			}
		}
	}
	if end < size {
		return f.Truncate(size)
	}
	return nil
}

// nextData answers how many bytes of data to skip as a hole, and how many to write after it.
func nextData(data []byte) (skip, take int) {
	hole := func(at int) bool {
		if len(data)-at < holeSize || data[at] != 0 {
			return false
		}
		block := data[at : at+holeSize]
		return bytes.Equal(block[1:], block[:holeSize-1])
	}
	for skip < len(data) && hole(skip) {
		skip += holeSize
	}
	end := skip
	for end < len(data) && !hole(end) {
		end = min(end+holeSize, len(data))
	}
	return skip, end - skip
}

// own gives what was just made its owner.
func (u *unpacker) own(h *tar.Header, chown func(uid, gid int) error) error {
	if min(h.Uid, h.Gid) < 0 || max(h.Uid, h.Gid) >= math.MaxUint32 { // (uid_t)-1 would mean "as it is"
		return fmt.Errorf("no such owner: %d:%d", h.Uid, h.Gid)
	}
	err := chown(h.Uid, h.Gid)
	switch unmapped := errors.Is(err, linux.EINVAL); {
	case err == nil:
		return nil
	case u.options.TolerateChown && (unmapped || errors.Is(err, fs.ErrPermission)):
		u.sum.Chowns++
		return nil
	case unmapped:
		return hint.Wrap(fmt.Errorf("owner %d:%d is not an id of this user namespace: %w", h.Uid, h.Gid, err),
			"give your user a longer range in /etc/subuid and /etc/subgid")
	}
	return err
}

// xattrPrefix marks the PAX records that hold extended attributes.
const xattrPrefix = "SCHILY.xattr."

// xattrs sets those extended attributes that keepXattr keeps.
func (u *unpacker) xattrs(f linux.File, h *tar.Header) error {
	for record, value := range h.PAXRecords {
		key, ok := strings.CutPrefix(record, xattrPrefix)
		if !ok {
			continue
		}
		if !keepXattr(key) {
			u.sum.Xattrs++
			continue
		}
		err := f.SetXattr(key, []byte(value))
		switch {
		case err == nil:
		case errors.Is(err, linux.ENOTSUP), u.options.TolerateChown && errors.Is(err, fs.ErrPermission):
			u.sum.Xattrs++
		default:
			return err
		}
	}
	return nil
}

// keepXattr says whether an extended attribute may pass between an archive and a tree. A hostile layer must not speak
// to overlayfs: user.overlay.redirect, say, shows another folder of the layers below in place of one's own.
// security.capability is safe: the kernel ties it to the root of the user namespace that sets it.
func keepXattr(key string) bool {
	if key == "security.capability" {
		return true
	}
	name, ok := strings.CutPrefix(key, "user.")
	return ok && !strings.HasPrefix(name, "overlay.") && !strings.HasPrefix(name, "fuseoverlayfs.")
}

// KeptXattrs answers those extended attributes of an archive's entry that may be set on a file: see keepXattr.
func KeptXattrs(h *tar.Header) map[string]string {
	kept := map[string]string{}
	for record, value := range h.PAXRecords {
		if key, ok := strings.CutPrefix(record, xattrPrefix); ok && keepXattr(key) {
			kept[key] = value
		}
	}
	return kept
}
