package runtime

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/node"
	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/runtime/idmap"
	"codeberg.org/minipod/minipod/state"
)

// A Bundle is all that it takes to start a container again, whoever does it: config.json in the container's folder. The OCI
// specification is in it; so are what only this machine knows (layers, the compiled seccomp filter) and what the user asked for.
type Bundle struct {
	Version int // 1
	Spec    *specs.Spec
	Layers  []string // relative to the data folder, top first
	Storage rootfs.Choice
	Fuse    string // the path of fuse-overlayfs, where Storage says so
	Seccomp []byte // struct sock_filter[], nil for none
	Files   []rootfs.File
	Fill    []string // sources of the mounts that are new volumes
	UIDs    idmap.Map
	GIDs    idmap.Map
	Reaper  bool              // the command runs under our PID 1
	Pause   bool              `json:",omitempty"` // it is a pod's sandbox: there is no image and no command, but PID 1 alone
	Share   Shares            `json:",omitempty"` // whose namespaces it shares
	Without []string          `json:",omitempty"` // steps of the start that are left out: stage.Optional
	Borrow  []string          `json:",omitempty"` // targets of those of its binds whose source is a path in the container whose UTS namespace it shares
	Beneath map[string]string `json:",omitempty"` // by target: paths below the sources of binds, out of which nothing on them leads
	// ImageGroups says when the groups that the image's /etc/group gives the user count: stage.GroupsMerged, stage.GroupsStrict, or "" for docker's way.
	ImageGroups string `json:",omitempty"`

	IPC string `json:",omitempty"` // docker's --ipc: private, shareable (also where it is empty), none

	Attach *node.Attachment `json:",omitempty"` // what it is in the pod network; nil: it is not there. ID, PID and Birth are a start's
	Names  bool             `json:",omitempty"` // its /etc/hosts and /etc/resolv.conf tell, beside what Files has, of the pod network: its own place there, or that of whom it shares the network with

	Stdin       bool // -i: the command's stdin stays open for those who attach
	Restart     RestartPolicy
	StopSignal  int // what ends it politely
	StopTimeout int // seconds until it is killed then; -1: never
	Log         LogOptions
	Parent      string // --cgroup-parent

	Image ocispec.ImageConfig // the image's configuration, for inspect
	Flags json.RawMessage     // the command line (cli/flags.Run), for inspect
}

// A RestartPolicy is docker's --restart.
type RestartPolicy struct {
	Name    string // "", no, always, on-failure or unless-stopped
	Maximum int    // for on-failure: 0 is no bound
}

// LogOptions are docker's --log-driver and --log-opt.
type LogOptions struct {
	None    bool  // no log is kept
	MaxSize int64 // of a file, in bytes; 0: no bound
	MaxFile int   // how many files are kept; 0: one
}

const bundleFile = "config.json"

// SaveBundle writes b into the container's folder. One at a time.
func (c *Container) SaveBundle(b *Bundle) error {
	whole := *b
	whole.Version = 1
	data, err := json.Marshal(&whole)
	if err != nil {
		return fmt.Errorf("encode the bundle of container %s: %w", c.Name, err)
	}
	if err := c.replace(bundleFile, data); err != nil {
		return fmt.Errorf("write the bundle of container %s: %w", c.Name, err)
	}
	return nil
}

// LoadBundle reads the bundle of the container with that id.
func LoadBundle(dirs state.Dirs, id string) (*Bundle, error) {
	var b Bundle
	err := state.ReadJSON(filepath.Join(dirs.Containers(), id, bundleFile), &b)
	if err == nil && b.Version != 1 {
		err = fmt.Errorf("version %d is not ours to read", b.Version)
	}
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("read how container %s is to be started: %w", id[:12], err), "remove it (minipod rm "+id[:12]+") and run another")
	}
	return &b, nil
}
