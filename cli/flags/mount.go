package flags

import (
	"encoding/csv"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/nearest"
)

// Mount is one -v, --mount or --tmpfs.
type Mount struct {
	Type    string   // bind, volume or tmpfs
	Source  string   // bind: an absolute path; volume: a name, or "" for a new anonymous one; tmpfs: ""
	Target  string   // absolute and clean, not "/"
	Options []string // mount(8)'s words, complete: rbind, ro, rprivate, nosuid, size=1048576, …
	NoCopy  bool     // a new volume isn't filled with what the image has at Target
}

var propagations = []string{"rprivate", "private", "rslave", "slave", "rshared", "shared"}

// addVolume takes docker's -v: TARGET, SOURCE:TARGET or SOURCE:TARGET:OPTIONS. A SOURCE with a leading / or . is a path,
// any other the name of a volume.
func (r *Run) addVolume(value string) error {
	fields := strings.Split(value, ":")
	var m Mount
	switch len(fields) {
	case 1:
		m = Mount{Type: "volume", Target: fields[0]}
	case 2, 3:
		m = Mount{Source: fields[0], Target: fields[1]}
	default:
		return hint.Wrap(fmt.Errorf("invalid volume %q: too many colons", value), "write [SOURCE:]TARGET[:OPTIONS], or use --mount for paths with colons")
	}
	if len(fields) > 1 && m.Source == "" {
		return hint.Wrap(fmt.Errorf("invalid volume %q: the source is empty", value), "write TARGET alone for an anonymous volume")
	}
	if err := m.setSource(); err != nil {
		return err
	}
	access, propagation := "", ""
	if len(fields) == 3 && fields[2] != "" {
		for option := range strings.SplitSeq(fields[2], ",") {
			switch {
			case option == "ro" || option == "rw":
				if access != "" {
					return hint.Wrap(fmt.Errorf("invalid volume %q: ro and rw, or one of them twice", value), "keep one")
				}
				access = option
			case slices.Contains(propagations, option) && m.Type == "bind":
				if propagation != "" {
					return hint.Wrap(fmt.Errorf("invalid volume %q: two kinds of propagation", value), "keep one")
				}
				propagation = option
			case option == "nocopy" && m.Type == "volume":
				m.NoCopy = true
			case option == "z" || option == "Z":
				r.Warnings = append(r.Warnings, fmt.Sprintf("-v %s: option %s is ignored: minipod sets no SELinux labels", value, option))
			case option == "cached" || option == "delegated" || option == "consistent":
				r.Warnings = append(r.Warnings, fmt.Sprintf("-v %s: option %s is ignored: it only means something on macOS", value, option))
			default:
				return unknownWord("option", option, append([]string{"ro", "rw", "nocopy", "z", "Z"}, propagations...))
			}
		}
	}
	m.bindOptions("rbind", access == "ro", propagation)
	return r.add(m)
}

// addMount takes docker's --mount: key=value pairs in one CSV record.
func (r *Run) addMount(value string) error {
	fields, err := csv.NewReader(strings.NewReader(value)).Read()
	if err != nil {
		return hint.Wrap(fmt.Errorf("invalid mount %q: %w", value, err), "write type=bind,source=…,target=…")
	}
	given := mountFields{Mount: Mount{Type: "volume"}, bind: "rbind"}
	// The type decides what the other keys mean, wherever it stands.
	for _, field := range fields {
		if key, v, _ := strings.Cut(field, "="); strings.EqualFold(key, "type") {
			given.Type = strings.ToLower(v)
		}
	}
	if !slices.Contains([]string{"bind", "volume", "tmpfs"}, given.Type) {
		return hint.Wrap(fmt.Errorf("unknown mount type %q", given.Type), "use type=bind, type=volume or type=tmpfs")
	}
	for _, field := range fields {
		key, v, hasValue := strings.Cut(field, "=")
		if err := given.set(r, strings.ToLower(key), v, hasValue); err != nil {
			return err
		}
	}
	m := given.Mount
	switch {
	case m.Type == "tmpfs" && m.Source != "":
		return hint.Wrap(errors.New("a tmpfs has no source"), "leave source out, or use type=bind")
	case m.Type == "tmpfs":
		m.Options = tmpfsOptions(append(given.tmpfs, accessOf(given.readOnly)))
		return r.add(m)
	case m.Type == "bind" && m.Source == "":
		return hint.Wrap(errors.New("a bind mount needs a source"), "add source=PATH")
	case m.Type == "bind":
		if m.Source, err = filepath.Abs(m.Source); err != nil {
			return fmt.Errorf("mount source: %w", err)
		}
	case m.Source != "" && !isName(m.Source):
		return badVolumeName(m.Source)
	}
	m.bindOptions(given.bind, given.readOnly, given.propagation)
	return r.add(m)
}

// mountFields is a --mount in the making.
type mountFields struct {
	Mount
	readOnly    bool
	bind        string // rbind or bind
	propagation string
	tmpfs       []string
}

var mountKeys = []string{
	"type", "source", "src", "target", "destination", "dst", "readonly", "ro", "bind-propagation", "bind-nonrecursive",
	"volume-nocopy", "tmpfs-size", "tmpfs-mode", "consistency",
}

func (f *mountFields) set(r *Run, key, value string, hasValue bool) error {
	if i := strings.IndexByte(key, '-'); i > 0 && slices.Contains(mountKeys, key) && key[:i] != f.Type {
		return hint.Wrap(fmt.Errorf("%s doesn't go with type=%s", key, f.Type), "leave it out, or write type="+key[:i])
	}
	switch key {
	case "readonly", "ro", "bind-nonrecursive", "volume-nocopy":
		truth, err := strconv.ParseBool(value)
		if hasValue && err != nil {
			return hint.Wrap(fmt.Errorf("invalid value %q for %s", value, key), "write "+key+" or "+key+"=false")
		}
		truth = truth || !hasValue
		switch {
		case key == "volume-nocopy":
			f.NoCopy = truth
		case key != "bind-nonrecursive":
			f.readOnly = truth
		case truth:
			f.bind = "bind"
		}
		return nil
	}
	if slices.Contains(mountKeys, key) && value == "" {
		return hint.Wrap(fmt.Errorf("%s needs a value", key), "write "+key+"=…")
	}
	switch key {
	case "type":
	case "source", "src":
		f.Source = value
	case "target", "destination", "dst":
		f.Target = value
	case "bind-propagation":
		if !slices.Contains(propagations, value) {
			return unknownWord("propagation", value, propagations)
		}
		f.propagation = value
	case "tmpfs-size":
		size, err := parseSize(value)
		if err != nil {
			return err
		}
		f.tmpfs = append(f.tmpfs, "size="+strconv.FormatInt(size, 10))
	case "tmpfs-mode":
		if _, err := strconv.ParseUint(value, 8, 12); err != nil {
			return hint.Wrap(fmt.Errorf("invalid mode %q", value), "use an octal number like 1777")
		}
		f.tmpfs = append(f.tmpfs, "mode="+value)
	case "consistency":
		r.Warnings = append(r.Warnings, "--mount: consistency is ignored: it only means something on macOS")
	default:
		return unknownWord("key", key, mountKeys)
	}
	return nil
}

// addTmpfs takes TARGET[:OPTIONS], the options being mount(8)'s.
func (r *Run) addTmpfs(value string) error {
	target, list, _ := strings.Cut(value, ":")
	var given []string
	if list != "" {
		given = strings.Split(list, ",")
	}
	for _, option := range given {
		if err := checkTmpfsOption(option); err != nil {
			return err
		}
	}
	return r.add(Mount{Type: "tmpfs", Target: target, Options: tmpfsOptions(given)})
}

var tmpfsWords = []string{
	"ro", "rw", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "atime", "noatime", "diratime", "nodiratime",
	"relatime", "norelatime", "strictatime", "sync", "async",
}

func checkTmpfsOption(option string) error {
	key, value, hasValue := strings.Cut(option, "=")
	var valid bool
	switch key {
	case "size":
		_, err := parseSize(strings.TrimSuffix(value, "%"))
		valid = err == nil
	case "nr_inodes", "nr_blocks":
		_, err := parseSize(value)
		valid = err == nil
	case "mode":
		_, err := strconv.ParseUint(value, 8, 12)
		valid = err == nil
	case "uid", "gid":
		_, err := strconv.ParseUint(value, 10, 32)
		valid = err == nil
	default:
		if !slices.Contains(tmpfsWords, key) {
			return unknownWord("option", key, append([]string{"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"}, tmpfsWords...))
		}
		valid = !hasValue
	}
	if !valid {
		return hint.Wrap(fmt.Errorf("invalid option %q", option), "write for example size=64m,mode=1777,noexec")
	}
	return nil
}

// tmpfsOptions puts docker's defaults in front; of two that contradict each other mount takes the later.
func tmpfsOptions(given []string) []string {
	options := []string{"nosuid", "nodev", "noexec"}
	for _, option := range given {
		if option != "rw" {
			options = append(options, option)
		}
	}
	return options
}

func accessOf(readOnly bool) string {
	if readOnly {
		return "ro"
	}
	return "rw"
}

// setSource tells a path from a volume's name, and makes the path absolute.
func (m *Mount) setSource() error {
	switch {
	case m.Source == "":
		return nil
	case m.Source[0] == '/' || m.Source[0] == '.':
		source, err := filepath.Abs(m.Source)
		if err != nil {
			return fmt.Errorf("mount source: %w", err)
		}
		m.Type, m.Source = "bind", source
		return nil
	case isName(m.Source):
		m.Type = "volume"
		return nil
	}
	return badVolumeName(m.Source)
}

func badVolumeName(name string) error {
	return hint.Wrap(fmt.Errorf("invalid volume name %q", name), "begin a path with / or ./; a name has letters, digits, _ . and -")
}

// bindOptions sets the options of a bind mount, which a volume is too.
func (m *Mount) bindOptions(bind string, readOnly bool, propagation string) {
	if propagation == "" {
		propagation = "rprivate"
	}
	m.Options = []string{bind, accessOf(readOnly), propagation}
}

// add checks what all mounts have in common.
func (r *Run) add(m Mount) error {
	if m.Target == "" {
		return hint.Wrap(errors.New("a mount needs a target"), "add target=PATH")
	}
	if !path.IsAbs(m.Target) {
		return hint.Wrap(fmt.Errorf("mount target %q is not absolute", m.Target), "begin it with /")
	}
	if m.Target = path.Clean(m.Target); m.Target == "/" {
		return hint.Wrap(errors.New("the container's root can't be a mount's target"), "mount it on a folder below")
	}
	r.Mounts = append(r.Mounts, m)
	return nil
}

func unknownWord(what, word string, known []string) error {
	advice := "use " + strings.Join(known, ", ")
	if near := nearest.Name(word, known); near != "" {
		advice = "did you mean " + near + "?"
	}
	return hint.Wrap(fmt.Errorf("unknown %s %q", what, word), advice)
}
