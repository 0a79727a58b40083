package run

import (
	"fmt"
	"os"
	"path/filepath"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/runtime/seccomp/cache"
)

// findSeccomp gets the compiled filter: from the cache, else from the whole binary.
func (r *run) findSeccomp() error {
	if r.Seccomp == "unconfined" {
		return nil
	}
	key, err := r.seccompKey()
	if err != nil {
		return err
	}
	dir := filepath.Join(r.dirs.Data, "seccomp")
	if r.seccomp = cache.Get(dir, key); r.seccomp != nil {
		return nil
	}
	if r.parts == nil {
		return ErrCold
	}
	if r.seccomp, err = r.parts.Compile(r.Seccomp, r.caps); err != nil {
		return err
	}
	return cache.Put(dir, key, r.seccomp)
}

func (r *run) seccompKey() (key cache.Key, err error) {
	key.Capabilities = r.caps
	if r.Seccomp != "" {
		if key.Profile, err = os.ReadFile(r.Seccomp); err != nil {
			return key, hint.Wrap(fmt.Errorf("read the seccomp profile: %w", err), "name a JSON file in Docker's format")
		}
	}
	if key.Kernel, err = linux.KernelRelease(); err != nil {
		return key, err
	}
	// The compiler and the default profile come with this very file.
	self, err := os.Stat("/proc/self/exe")
	if err != nil {
		return key, err
	}
	key.Build = fmt.Sprint(self.Size(), self.ModTime().UnixNano())
	return key, nil
}
