package linux

import (
	"fmt"
	"os"
	"syscall"
)

// CopyAttributes gives the folder dst the owner, the mode and the modification time of the folder src.
// The owner comes first: chown(2) drops the set-id bits that chmod then sets.
func CopyAttributes(dst, src string) error {
	info, err := os.Stat(src)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("stat %s: no owner in the answer", src)
	}
	if err := os.Lchown(dst, int(owner.Uid), int(owner.Gid)); err != nil {
		return err
	}
	if err := os.Chmod(dst, info.Mode()); err != nil { // os.Chmod keeps set-id and sticky bits of an fs.FileMode
		return err
	}
	return os.Chtimes(dst, info.ModTime(), info.ModTime())
}
