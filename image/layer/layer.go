package layer

import (
	"errors"
	"fmt"
)

// Bounds of a layer where Options leave them 0. Both are far above what genuine images have: CUDA and model layers
// reach some 20 GB and half a million files.
const (
	DefaultMaxBytes   = 64 << 30
	DefaultMaxEntries = 5_000_000
)

const (
	// maxDepth bounds how deep folders nest. Removing a tree holds a descriptor per level, so a layer deeper than
	// the process may have files open could not be removed again. Nested node_modules reach about 60.
	maxDepth = 512

	// maxDeferred bounds the memory for what waits until the end of the stream, in bytes of names. A genuine layer's
	// folders and whiteouts need a few megabytes.
	maxDeferred = 128 << 20
)

// ErrTooBig is the error of a layer that exceeds its bounds.
var ErrTooBig = errors.New("layer is too big")

// Options bound and relax Unpack.
type Options struct {
	MaxBytes   int64 // of regular files' content, holes included; 0 is DefaultMaxBytes
	MaxEntries int64 // of the archive, and folders that it implies; 0 is DefaultMaxEntries

	// TolerateChown counts owners that can't be set, and file capabilities, instead of failing: for a user who has
	// one id only, all of whose files are then their own.
	TolerateChown bool
}

// A Summary says what Unpack did and what it could not do.
type Summary struct {
	Entries int64 `json:"entries"`           // of the archive, and folders that it implies
	Bytes   int64 `json:"bytes"`             // of regular files' content, holes included
	Devices int   `json:"devices,omitempty"` // device nodes, which nobody may make in a user namespace: skipped
	Chowns  int   `json:"chowns,omitempty"`  // owners not set, see TolerateChown
	Xattrs  int   `json:"xattrs,omitempty"`  // extended attributes not set: forged, or not for us to set

	// OpaqueRoot says that this layer hides all layers below it. Overlayfs ignores the mark on a layer's root, so
	// whoever stacks layers must leave out the ones below.
	OpaqueRoot bool `json:"opaqueRoot,omitempty"`
}

// An EntryError names the entry of the archive that is bad, or that could not be made; its text quotes the name, which
// may hold anything.
type EntryError struct {
	Entry string
	Err   error
}

func (e *EntryError) Error() string { return fmt.Sprintf("layer entry %q: %v", e.Entry, e.Err) }
func (e *EntryError) Unwrap() error { return e.Err }
