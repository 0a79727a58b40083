package pod

import (
	"fmt"
	"strings"
)

// A FileRef names a variable of a file in an emptyDir, which an init container has written.
type FileRef struct {
	VolumeName string `json:"volumeName"`
	Path       string `json:"path"`
	Key        string `json:"key"`
	Optional   *bool  `json:"optional,omitempty"`
}

// value is the variable of that name in the file. As under a kubelet one that is empty is none.
func (r *FileRef) value(o Objects) (value string, found bool, err error) {
	optional := r.Optional != nil && *r.Optional
	data, err := o.File(r.VolumeName, r.Path)
	if err != nil {
		if optional && IsMissing(err) {
			return "", false, nil
		}
		return "", false, fmt.Errorf("couldn't read env file: %w", err)
	}
	if value, err = envOf(string(data), r.Key); err != nil {
		return "", false, fmt.Errorf("couldn't parse env file %q of volume %q: %w", r.Path, r.VolumeName, err)
	}
	if value == "" && !optional {
		return "", false, fmt.Errorf("environment variable key %q not found in file %q", r.Key, r.Path)
	}
	return value, value != "", nil
}

// envOf finds a variable in an env file, of which Kubernetes takes a small part of the shell's language (pkg/kubelet/util/env): NAME='value', the
// value in single quotes and over several lines, and comments. What stands before the variable has to be right, too.
func envOf(text, key string) (string, error) {
	for number := 1; text != ""; number++ {
		line, rest, _ := strings.Cut(text, "\n")
		text = rest
		if line = strings.TrimLeft(strings.TrimSuffix(line, "\r"), " \t"); line == "" || line[0] == '#' {
			continue
		}
		wrong := func(format string, args ...any) error {
			return fmt.Errorf("invalid environment variable format at line %d: "+format, append([]any{number}, args...)...)
		}
		name, value, ok := strings.Cut(line, "=")
		switch {
		case !ok:
			return "", wrong("missing '='")
		case strings.TrimRight(name, " \t") == "":
			return "", wrong("empty variable name")
		case strings.TrimRight(name, " \t") != name:
			return "", wrong("whitespace before '=' is not allowed")
		case value != "" && (value[0] == ' ' || value[0] == '\t'): // as in a shell: it is empty, and what follows is another word
			if name == key {
				return "", nil
			}
			continue
		case !strings.HasPrefix(value, "'"):
			return "", wrong("value must be enclosed in single quotes")
		}
		all := value[1:]
		if rest != "" {
			all += "\n" + rest
		}
		inside, after, closed := strings.Cut(all, "'")
		if !closed {
			return "", wrong("unclosed single quote")
		}
		number += strings.Count(inside, "\n")
		after, text, _ = strings.Cut(after, "\n")
		if after = strings.TrimLeft(strings.TrimSuffix(after, "\r"), " \t"); after != "" && after[0] != '#' {
			return "", wrong("unexpected content after closing quote")
		}
		if name == key {
			return inside, nil
		}
	}
	return "", nil
}
