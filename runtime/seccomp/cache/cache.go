// Package cache keeps compiled seccomp filters in a folder, so that starting a container doesn't link their compiler.
//
// A file holds the filter behind its SHA-256, and is named by a hash of all that the filter depends on. What is missing,
// cut short or altered counts as missing, and the next Put replaces it. The sum guards against accidents, not against
// somebody who may write to the folder: that is the user, who could as well switch the filter off.
package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"codeberg.org/minipod/minipod/runtime/caps"
	"codeberg.org/minipod/minipod/state"
)

const (
	instructionSize = 8    // struct sock_filter
	maxInstructions = 4096 // BPF_MAXINSNS
)

// Key is what a filter depends on, besides the machine's architecture.
type Key struct {
	Build        string   // minipod's version: the compiler and the default profile come with it
	Kernel       string   // its release, as rules may ask for a minimum
	Capabilities caps.Set // the bounding set
	Profile      []byte   // the text of the profile's file, nil for the default profile
}

func (k Key) file(dir string) string {
	hash := sha256.New()
	for _, part := range [][]byte{
		[]byte(runtime.GOARCH), []byte(k.Build), []byte(k.Kernel), []byte(strconv.FormatUint(uint64(k.Capabilities), 16)), k.Profile,
	} {
		fmt.Fprintf(hash, "%d:", len(part)) // so that the parts can't run into each other
		hash.Write(part)
	}
	return filepath.Join(dir, hex.EncodeToString(hash.Sum(nil))+".bpf")
}

// Get returns the filter kept in dir under key, or nil if there is none that is whole.
func Get(dir string, key Key) []byte {
	content, err := os.ReadFile(key.file(dir))
	if err != nil || len(content) < sha256.Size {
		return nil
	}
	filter := content[sha256.Size:]
	if check(filter) != nil || sha256.Sum256(filter) != [sha256.Size]byte(content[:sha256.Size]) {
		return nil
	}
	return filter
}

// Put keeps filter in dir, which it makes if need be. It is atomic, and of several
// processes at once one wins.
func Put(dir string, key Key, filter []byte) error {
	if err := check(filter); err != nil {
		return err
	}
	if err := state.Make(dir); err != nil {
		return err
	}
	sum := sha256.Sum256(filter)
	return state.WriteFile(key.file(dir), append(sum[:], filter...), 0o600)
}

func check(filter []byte) error {
	if n := len(filter); n == 0 || n%instructionSize != 0 || n/instructionSize > maxInstructions {
		return fmt.Errorf("%d bytes are no seccomp filter", n)
	}
	return nil
}
