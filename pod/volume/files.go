package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"codeberg.org/minipod/minipod/pod"
)

// A file is one that a volume is to have, by its path.
type file struct {
	data []byte
	mode fs.FileMode
}

// A collector puts a volume's files together.
type collector struct {
	pod     *pod.Pod
	facts   pod.Facts
	objects pod.Objects
	files   map[string]file
}

func modeOf(one, usual *int32) fs.FileMode {
	switch {
	case one != nil:
		return fs.FileMode(*one) & fs.ModePerm
	case usual != nil:
		return fs.FileMode(*usual) & fs.ModePerm
	}
	return 0o644
}

func (c *collector) volume(v *pod.Volume) error {
	switch {
	case v.ConfigMap != nil:
		return c.configMap(v.ConfigMap, v.ConfigMap.DefaultMode)
	case v.Secret != nil:
		return c.secret(v.Secret.SecretName, v.Secret.Items, v.Secret.Optional, v.Secret.DefaultMode)
	case v.DownwardAPI != nil:
		return c.downward(v.DownwardAPI, v.DownwardAPI.DefaultMode)
	case v.Projected != nil:
		for i := range v.Projected.Sources {
			if err := c.projection(&v.Projected.Sources[i], v.Projected.DefaultMode); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *collector) projection(p *pod.Projection, usual *int32) error {
	switch {
	case p.ConfigMap != nil:
		return c.configMap(p.ConfigMap, usual)
	case p.Secret != nil:
		return c.secret(p.Secret.Name, p.Secret.Items, p.Secret.Optional, usual)
	case p.DownwardAPI != nil:
		return c.downward(p.DownwardAPI, usual)
	}
	return nil
}

func (c *collector) configMap(f *pod.Files, usual *int32) error {
	data, binary, err := c.objects.ConfigMap(f.Name)
	optional := f.Optional != nil && *f.Optional
	if err != nil {
		return absent("configmap", f.Name, optional, err)
	}
	all := map[string][]byte{}
	for k, v := range data {
		all[k] = []byte(v)
	}
	maps.Copy(all, binary)
	return c.keys("configmap", f.Name, all, f.Items, optional, usual)
}

func (c *collector) secret(name string, items []pod.ToPath, may *bool, usual *int32) error {
	data, err := c.objects.Secret(name)
	optional := may != nil && *may
	if err != nil {
		return absent("secret", name, optional, err)
	}
	return c.keys("secret", name, data, items, optional, usual)
}

func absent(kind, name string, optional bool, err error) error {
	switch {
	case !pod.IsMissing(err):
		return err
	case optional:
		return nil
	}
	return fmt.Errorf("%s %q not found", kind, name)
}

func (c *collector) keys(kind, name string, data map[string][]byte, items []pod.ToPath, optional bool, usual *int32) error {
	if len(items) == 0 {
		for _, key := range slices.Sorted(maps.Keys(data)) {
			if err := c.add(key, data[key], modeOf(nil, usual)); err != nil {
				return err
			}
		}
		return nil
	}
	for _, item := range items {
		text, ok := data[item.Key]
		if !ok && optional {
			continue
		}
		if !ok {
			return fmt.Errorf("%s key: %s", map[string]string{"configmap": "configmap references non-existent config", "secret": "references non-existent secret"}[kind], item.Key)
		}
		if err := c.add(item.Path, text, modeOf(item.Mode, usual)); err != nil {
			return fmt.Errorf("%s %q: %w", kind, name, err)
		}
	}
	return nil
}

func (c *collector) downward(d *pod.Downward, usual *int32) error {
	for i := range d.Items {
		item := &d.Items[i]
		var text string
		var err error
		switch {
		case item.FieldRef != nil:
			text, err = pod.Field(c.pod, item.FieldRef.FieldPath, c.facts)
		case item.ResourceFieldRef != nil:
			text, err = pod.Resource(c.pod, nil, item.ResourceFieldRef, c.facts)
		}
		if err == nil {
			err = c.add(item.Path, []byte(text), modeOf(item.Mode, usual))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// add adds a file. Its path is a manifest's or an object's key, and stays inside; what begins with two dots is ours.
func (c *collector) add(name string, data []byte, mode fs.FileMode) error {
	if name == "" || path.IsAbs(name) || slices.Contains(strings.Split(name, "/"), "..") || strings.HasPrefix(name, "..") || path.Clean(name) == "." {
		return fmt.Errorf("invalid path %q: it must be relative and not contain '..'", name)
	}
	c.files[path.Clean(name)] = file{data, mode}
	return nil
}

const (
	dataLink = "..data"
	newLink  = "..data_tmp"
)

// write makes the files appear below root all at once. Where they are there already nothing changes. group makes them readable for the volume's
// group, which a folder with the set-group-id bit passes on.
func write(root *os.Root, files map[string]file, group bool, stamp string) error {
	if same(root, files) {
		return nil
	}
	folder := ".." + stamp
	if err := root.Mkdir(folder, 0o755); err != nil {
		return err
	}
	for name, f := range files {
		full := path.Join(folder, name)
		if err := root.MkdirAll(path.Dir(full), 0o755); err != nil {
			return err
		}
		if err := root.WriteFile(full, f.data, 0o600); err != nil {
			return err
		}
		mode := f.mode
		if group {
			mode |= 0o440
		}
		if err := root.Chmod(full, mode); err != nil {
			return err
		}
	}
	before, _ := root.Readlink(dataLink)
	if err := root.Remove(newLink); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := root.Symlink(folder, newLink); err != nil {
		return err
	}
	if err := root.Rename(newLink, dataLink); err != nil {
		return err
	}
	if err := link(root, files); err != nil {
		return err
	}
	if before != "" {
		return root.RemoveAll(before)
	}
	return nil
}

// link makes the links through which the files are seen, and removes those of files that are not there any more.
func link(root *os.Root, files map[string]file) error {
	tops := map[string]bool{}
	for name := range files {
		top, _, _ := strings.Cut(name, "/")
		tops[top] = true
	}
	for top := range tops {
		if err := root.Symlink(path.Join(dataLink, top), top); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if tops[name] || strings.HasPrefix(name, "..") {
			continue
		}
		if err := root.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// same tells whether the files are there as they should be.
func same(root *os.Root, files map[string]file) bool {
	folder, err := root.Readlink(dataLink)
	if err != nil {
		return false
	}
	found := 0
	err = fs.WalkDir(root.FS(), folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		found++
		want, ok := files[strings.TrimPrefix(name, folder+"/")]
		// What a container put there instead may be a FIFO, which nobody writes to, or endless.
		if info, err := d.Info(); err != nil || !info.Mode().IsRegular() || info.Size() != int64(len(want.data)) {
			return errors.New("another")
		}
		data, err := root.ReadFile(name)
		if err != nil || !ok || string(data) != string(want.data) {
			return errors.New("another")
		}
		return nil
	})
	return err == nil && found == len(files)
}
