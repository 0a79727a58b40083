package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"codeberg.org/minipod/minipod/kube/store"
	"codeberg.org/minipod/minipod/pod"
	"codeberg.org/minipod/minipod/pod/volume"
	named "codeberg.org/minipod/minipod/volume"
)

// maker makes the pod's volumes.
func (h *podHost) maker(p *pod.Pod) *volume.Maker {
	return &volume.Maker{
		Pod: p, Dir: filepath.Join(h.dirs.Data, "pods", h.pod.UID, "volumes"), Facts: h.facts(), Objects: h, Claim: h.claim, SetGroup: h.setGroup,
	}
}

// Refresh brings the files up to date that are made of ConfigMaps, Secrets and fields.
func (h *podHost) Refresh(p *pod.Pod) error {
	h.mu.Lock()
	box := h.box
	h.mu.Unlock()
	if box == nil {
		return nil
	}
	return h.maker(p).Refresh(box.volumes, box.root)
}

// Usage adds up what is in an emptyDir. What containers closed to us is not counted: it is the disk's to be full of.
func (h *podHost) Usage(name string) int64 {
	return named.Size(filepath.Join(h.dirs.Data, "pods", h.pod.UID, "volumes", name))
}

// facts are the machine's.
func (h *podHost) facts() pod.Facts {
	return pod.Facts{HostIP: h.hostIP(), NodeName: h.recorder.Source.Host, CPUs: int64(runtime.NumCPU()), Memory: memory()}
}

func (s *podStart) facts() pod.Facts {
	f := s.h.facts()
	f.PodIP = s.box.ip
	return f
}

// memory is how much the machine has, in bytes.
func memory() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return n << 10
		}
	}
	return 0
}

// ConfigMap returns a ConfigMap of the pod's namespace.
func (h *podHost) ConfigMap(name string) (map[string]string, map[string][]byte, error) {
	data, binary, err := store.ConfigMap(h.dirs, h.pod.Namespace, name)
	return data, binary, missing(err)
}

// Secret returns a Secret of the pod's namespace.
func (h *podHost) Secret(name string) (map[string][]byte, error) {
	data, err := store.Secret(h.dirs, h.pod.Namespace, name)
	return data, missing(err)
}

// File reads a file in a volume of the pod's.
func (h *podHost) File(name, path string) ([]byte, error) {
	h.mu.Lock()
	box := h.box
	h.mu.Unlock()
	if box == nil {
		return nil, errors.New("the sandbox is gone")
	}
	one, ok := box.volumes[name]
	if !ok {
		return nil, fmt.Errorf("volume %q is not one of the pod's", name)
	}
	return volume.ReadFile(one, box.root, path)
}

func missing(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fs.ErrNotExist
	}
	return err
}

// claim returns the volume of a claim of the pod's namespace, which is made where it is not there.
func (h *podHost) claim(name string) (dir, volumeName string, err error) {
	volumeName, err = store.Claim(h.dirs, h.pod.Namespace, name)
	if errors.Is(err, store.ErrNotFound) {
		return "", "", fmt.Errorf("persistentvolumeclaim %q not found", name)
	}
	if err != nil {
		return "", "", err
	}
	v, err := volumes(h.dirs, h.removeInside).Create(volumeName, nil, nil)
	if err != nil {
		return "", "", err
	}
	return v.Mountpoint, volumeName, nil
}

// GroupVerb is the verb of our own process that gives folders to a group: its arguments are the group and the folders.
const GroupVerb = "set-group"

// setGroup gives folders to a group of the container's, which only somebody can who has all the user's ids.
func (h *podHost) setGroup(group int64, dirs []string) error {
	text, status, err := h.insideQuietly(context.Background(), append([]string{GroupVerb, strconv.FormatInt(group, 10)}, dirs...))
	if err == nil && status != 0 {
		err = errors.New(text)
	}
	return err
}

// SetGroup is `minipod inside set-group`: fsGroup, as the kubelet does it (pkg/volume/volume_linux.go). Trust boundary: containers may have put links
// there, so nothing is followed.
func SetGroup(group string, dirs []string) error {
	gid, err := strconv.ParseUint(group, 10, 32)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return err
		}
		err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if err := root.Lchown(name, -1, int(gid)); err != nil || d.Type()&fs.ModeSymlink != 0 {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			mode := info.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
			mode |= 0o660
			if d.IsDir() {
				mode |= fs.ModeSetgid | 0o110
			}
			return root.Chmod(name, mode)
		})
		if err = errors.Join(err, root.Close()); err != nil {
			return err
		}
	}
	return nil
}
