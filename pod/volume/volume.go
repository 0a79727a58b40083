package volume

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/pod"
)

// A Maker makes the volumes of one pod.
type Maker struct {
	Pod     *pod.Pod
	Dir     string // the pod's folder of volumes
	Facts   pod.Facts
	Objects pod.Objects

	// Claim returns where the volume of a PersistentVolumeClaim is, and its name.
	Claim func(claim string) (dir, name string, err error)
	// SetGroup gives folders, with what is in them, to a group, with the set-group-id bit. Only who has the user's whole range of ids can.
	SetGroup func(group int64, dirs []string) error
}

// A Volume is one that is there.
type Volume struct {
	Dir      string // or a file, on the host; of one in memory: where the sandbox has it
	Memory   bool
	ReadOnly bool
	Claim    string // the name of the named volume that it is
	Image    bool   // an image's files: nothing is made in there, and nothing of it is run
}

// An Error is a volume that could not be set up. It reads as the kubelet's event does.
type Error struct {
	Volume string
	Err    error
}

func (e *Error) Error() string {
	return fmt.Sprintf("MountVolume.SetUp failed for volume %q : %v", e.Volume, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// InMemory are the volumes that are to be in memory, by where the sandbox has them, with the options of their tmpfs.
func (m *Maker) InMemory() map[string]string {
	all := map[string]string{}
	for i := range m.Pod.Spec.Volumes {
		v := &m.Pod.Spec.Volumes[i]
		if !inMemory(v) {
			continue
		}
		mode := folderMode(v)
		options := fmt.Sprintf("mode=%04o", mode)
		if g := m.group(); g != nil {
			options = fmt.Sprintf("mode=%05o,gid=%d", 0o2000|mode, *g)
		}
		if v.EmptyDir != nil && v.EmptyDir.SizeLimit != nil {
			options += ",size=" + strconv.FormatInt(v.EmptyDir.SizeLimit.Value(), 10)
		}
		all[insideDir(v.Name)] = options
	}
	return all
}

func insideDir(name string) string { return "/volumes/" + name }

func inMemory(v *pod.Volume) bool {
	if v.Projected != nil {
		for i := range v.Projected.Sources {
			if v.Projected.Sources[i].Secret != nil {
				return true
			}
		}
	}
	return v.Secret != nil || v.EmptyDir != nil && v.EmptyDir.Medium == "Memory"
}

// folderMode is what chmod(2) gives a volume's folder.
func folderMode(v *pod.Volume) uint32 {
	switch {
	case v.EmptyDir == nil:
		return 0o755
	case v.EmptyDir.Mode != nil:
		return uint32(*v.EmptyDir.Mode) & 0o1777
	}
	return 0o777
}

func hasFiles(v *pod.Volume) bool {
	return v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil || v.Projected != nil
}

func (m *Maker) group() *int64 {
	if s := m.Pod.Spec.SecurityContext; s != nil {
		return s.FSGroup
	}
	return nil
}

// Check finds out whether all that the volumes are made from is there, before there is a sandbox.
func (m *Maker) Check() error {
	for i := range m.Pod.Spec.Volumes {
		v := &m.Pod.Spec.Volumes[i]
		if _, err := m.collect(v); err != nil {
			return &Error{v.Name, err}
		}
	}
	return nil
}

func (m *Maker) collect(v *pod.Volume) (map[string]file, error) {
	c := &collector{m.Pod, m.Facts, m.Objects, map[string]file{}}
	err := c.volume(v)
	return c.files, err
}

// Make makes the volumes, or brings those up to date that are made of objects. sandbox is the root folder of the sandbox, as we see it.
func (m *Maker) Make(sandbox string) (map[string]Volume, error) {
	made := map[string]Volume{}
	var toGroup []string
	for i := range m.Pod.Spec.Volumes {
		v := &m.Pod.Spec.Volumes[i]
		one, grouped, err := m.make(v, sandbox)
		if err != nil {
			return nil, &Error{v.Name, err}
		}
		made[v.Name] = one
		if grouped {
			toGroup = append(toGroup, one.Dir)
		}
	}
	if g := m.group(); g != nil && len(toGroup) > 0 {
		if err := m.SetGroup(*g, toGroup); err != nil {
			return nil, fmt.Errorf("give the volumes to group %d: %w", *g, err)
		}
	}
	for i := range m.Pod.Spec.Volumes { // after their folders have their group, which the files take over
		v := &m.Pod.Spec.Volumes[i]
		if !hasFiles(v) {
			continue
		}
		if err := m.fill(v, made[v.Name], sandbox); err != nil {
			return nil, &Error{v.Name, err}
		}
	}
	return made, nil
}

// Refresh brings those of the volumes up to date that are made of objects and fields.
func (m *Maker) Refresh(made map[string]Volume, sandbox string) error {
	var err error
	for i := range m.Pod.Spec.Volumes {
		v := &m.Pod.Spec.Volumes[i]
		one, ok := made[v.Name]
		if !ok || !hasFiles(v) {
			continue
		}
		if e := m.fill(v, one, sandbox); e != nil {
			err = errors.Join(err, &Error{v.Name, e})
		}
	}
	return err
}

func (m *Maker) make(v *pod.Volume, sandbox string) (one Volume, grouped bool, err error) {
	switch {
	case inMemory(v):
		return Volume{Dir: insideDir(v.Name), Memory: true, ReadOnly: v.EmptyDir == nil}, false, nil
	case v.Image != nil: // the runtime has made it before
		return Volume{Dir: path.Join(m.Dir, v.Name), ReadOnly: true, Image: true}, false, nil
	case v.HostPath != nil:
		return Volume{Dir: v.HostPath.Path}, false, checkHostPath(v.HostPath)
	case v.PersistentVolumeClaim != nil:
		dir, name, err := m.Claim(v.PersistentVolumeClaim.ClaimName)
		return Volume{Dir: dir, Claim: name, ReadOnly: v.PersistentVolumeClaim.ReadOnly}, m.changes(dir), err
	}
	dir, bits := path.Join(m.Dir, v.Name), folderMode(v)
	mode := fs.FileMode(bits & 0o777)
	if bits&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return one, false, err
	}
	if err := os.Chmod(dir, mode); err != nil && !errors.Is(err, fs.ErrPermission) { // of a start before, by whom else it was given to
		return one, false, err
	}
	return Volume{Dir: dir, ReadOnly: hasFiles(v)}, m.changes(dir), nil
}

// changes tells whether the group of a volume's files is to be changed: by fsGroupChangePolicy OnRootMismatch not where its folder has it.
func (m *Maker) changes(dir string) bool {
	s := m.Pod.Spec.SecurityContext
	if s == nil || s.FSGroup == nil {
		return false
	}
	if s.FSGroupChangePolicy == nil || *s.FSGroupChangePolicy != "OnRootMismatch" {
		return true
	}
	info, err := os.Stat(dir)
	return err != nil || info.Mode()&fs.ModeSetgid == 0 // its number is that of the host: only that it was given to a group can be seen from here
}

func (m *Maker) fill(v *pod.Volume, one Volume, sandbox string) error {
	files, err := m.collect(v)
	if err != nil {
		return err
	}
	root, err := openVolume(one, sandbox)
	if err != nil {
		return err
	}
	defer root.Close()
	return write(root, files, m.group() != nil, time.Now().UTC().Format("2006_01_02_15_04_05.000000000"))
}

// openVolume opens a volume's folder. Trust boundary: a container that shares the sandbox's processes and has powers in its user namespace can
// make the sandbox's tree another, and a link in it would lead us through the host's. The way from the sandbox's root on is os.Root's.
func openVolume(one Volume, sandbox string) (*os.Root, error) {
	if !one.Memory {
		return os.OpenRoot(one.Dir)
	}
	top, err := os.OpenRoot(sandbox)
	if err != nil {
		return nil, err
	}
	defer top.Close()
	return top.OpenRoot(strings.TrimPrefix(one.Dir, "/"))
}

// maxEnvFile bounds what a container may have us read.
const maxEnvFile = 1 << 20

// ReadFile reads a small file in a volume. One that belongs to another user of the container's may not be ours to read: asRoot is asked to do
// ReadIn with the volume's folder as who has all the user's ids, as a kubelet is root.
func ReadFile(one Volume, sandbox, name string, asRoot func(folder *os.File, name string) ([]byte, error)) ([]byte, error) {
	root, err := openVolume(one, sandbox)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	data, err := ReadIn(root, name)
	if !errors.Is(err, fs.ErrPermission) {
		return data, err
	}
	folder, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	return asRoot(folder, name)
}

// ReadIn reads a small file in a volume's folder. Trust boundary: containers have written it, so it may be a link, which leads no further than the
// volume, or a pipe, which is not waited for.
func ReadIn(root *os.Root, name string) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	if info.Size() > maxEnvFile {
		return nil, fmt.Errorf("%s has %d bytes, and %d are the most that are read", name, info.Size(), maxEnvFile)
	}
	return io.ReadAll(io.LimitReader(f, maxEnvFile))
}

// checkHostPath sees to a hostPath's type, as the kubelet does.
func checkHostPath(h *pod.HostPath) error {
	kind := ""
	if h.Type != nil {
		kind = *h.Type
	}
	if kind == "" {
		return nil
	}
	if !path.IsAbs(h.Path) {
		return fmt.Errorf("hostPath %q is not absolute", h.Path)
	}
	info, err := os.Stat(h.Path)
	if errors.Is(err, fs.ErrNotExist) {
		switch kind {
		case "DirectoryOrCreate":
			return os.MkdirAll(h.Path, 0o755)
		case "FileOrCreate":
			f, err := os.OpenFile(h.Path, os.O_CREATE|os.O_WRONLY|syscall.O_NOFOLLOW, 0o644)
			if err != nil {
				return err
			}
			return f.Close()
		}
	} else if err != nil {
		return fmt.Errorf("hostPath type check failed: %w", err)
	}
	var mode fs.FileMode
	if err == nil {
		mode = info.Mode()
	}
	for _, known := range []struct {
		kind, what string
		is         bool
	}{
		{"Directory", "a directory", mode.IsDir()},
		{"DirectoryOrCreate", "a directory", mode.IsDir()},
		{"File", "a file", mode.IsRegular()},
		{"FileOrCreate", "a file", mode.IsRegular()},
		{"Socket", "a socket file", mode&fs.ModeSocket != 0},
		{"CharDevice", "a character device", mode&fs.ModeCharDevice != 0},
		{"BlockDevice", "a block device", mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0},
	} {
		if known.kind == kind {
			if err != nil || !known.is {
				return fmt.Errorf("hostPath type check failed: %s is not %s", h.Path, known.what)
			}
			return nil
		}
	}
	return fmt.Errorf("%s is an invalid volume type", kind)
}
