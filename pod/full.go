package pod

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/state"
)

// isFull tells whether something could not be written because there is no room for it.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// mark notes that a pod is to be deleted where its file can't be written again: the pod may be what has filled the disk, and then its end is the
// way out. The note is a link that leads nowhere: what it says lies in its inode and takes no block.
func mark(dirs state.Dirs, uid string, m Metadata) error {
	link := path.Join(podDir(dirs, path.Base(uid)), deletionLink)
	temp := link + "-" + strconv.Itoa(os.Getpid())
	err := os.Symlink(m.Deleted.Format(time.RFC3339Nano)+" "+strconv.FormatInt(*m.Grace, 10), temp)
	if err == nil {
		err = os.Rename(temp, link)
	}
	if err != nil {
		return fmt.Errorf("mark it: %w", err)
	}
	return nil
}

// readMark adds to m what mark noted of its pod, if it did.
func readMark(dirs state.Dirs, m *Metadata) {
	text, err := os.Readlink(path.Join(podDir(dirs, m.UID), deletionLink))
	if err != nil {
		return
	}
	when, seconds, _ := strings.Cut(text, " ")
	at, err := time.Parse(time.RFC3339Nano, when)
	if err != nil {
		return
	}
	grace, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || m.Deleted != nil && !at.Before(*m.Deleted) {
		return
	}
	m.Deleted, m.Grace = &at, &grace
	m.Generation++
}
