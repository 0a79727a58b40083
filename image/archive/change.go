package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ApplyChange edits an image's config as a line of a Dockerfile would: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL,
// STOPSIGNAL, USER, VOLUME and WORKDIR, as `docker import --change` takes them. After an error the config may be half
// changed.
func ApplyChange(config *ocispec.ImageConfig, change string) error {
	if err := applyChange(config, change); err != nil {
		return fmt.Errorf("change %.200q: %w", change, err)
	}
	return nil
}

func applyChange(config *ocispec.ImageConfig, change string) error {
	verb, rest, _ := strings.Cut(strings.TrimSpace(change), " ")
	rest = strings.TrimSpace(rest)
	if rest == "" && verb != "" {
		return fmt.Errorf("%s needs a value", strings.ToUpper(verb))
	}
	var err error
	switch strings.ToUpper(verb) {
	case "CMD":
		config.Cmd, err = command(rest)
	case "ENTRYPOINT":
		// As in a Dockerfile, a new entry point does not get the old one's arguments. There is none here to lose but
		// what an earlier change set, and that one counts.
		config.Entrypoint, err = command(rest)
	case "ENV":
		return pairs(rest, func(k, v string) { config.Env = setEnv(config.Env, k, v) })
	case "LABEL":
		return pairs(rest, func(k, v string) {
			if config.Labels == nil {
				config.Labels = map[string]string{}
			}
			config.Labels[k] = v
		})
	case "EXPOSE":
		return expose(config, rest)
	case "VOLUME":
		return volumes(config, rest)
	case "STOPSIGNAL":
		config.StopSignal = rest
	case "USER":
		config.User = rest
	case "WORKDIR":
		config.WorkingDir = path.Join("/", config.WorkingDir, rest)
		if path.IsAbs(rest) {
			config.WorkingDir = path.Clean(rest)
		}
	default:
		return hint.Wrap(fmt.Errorf("unknown instruction %q", verb),
			"use CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR")
	}
	return err
}

// command reads the exec form, a JSON list, or else the shell form.
func command(s string) ([]string, error) {
	if !strings.HasPrefix(s, "[") {
		return []string{"/bin/sh", "-c", s}, nil
	}
	return stringList(s)
}

func stringList(s string) ([]string, error) {
	var list []string
	if err := json.Unmarshal([]byte(s), &list); err != nil {
		return nil, hint.Wrap(errors.New("it is no JSON list of strings"), `write it like ["sh", "-c", "echo hi"]`)
	}
	return list, nil
}

// pairs reads KEY=VALUE words, or the old form KEY VALUE.
func pairs(s string, set func(k, v string)) error {
	list, err := words(s)
	if err != nil {
		return err
	}
	if len(list) > 1 && !strings.Contains(list[0], "=") {
		k, v, _ := strings.Cut(s, " ")
		set(k, strings.TrimSpace(v))
		return nil
	}
	for _, word := range list {
		k, v, found := strings.Cut(word, "=")
		if !found || k == "" {
			return fmt.Errorf("%q is not KEY=VALUE", word)
		}
		set(k, v)
	}
	return nil
}

func setEnv(env []string, k, v string) []string {
	for i, e := range env {
		if name, _, _ := strings.Cut(e, "="); name == k {
			env[i] = k + "=" + v
			return env
		}
	}
	return append(env, k+"="+v)
}

// expose takes PORT, PORT/tcp, PORT/udp, PORT/sctp and ranges of ports.
func expose(config *ocispec.ImageConfig, s string) error {
	for _, word := range strings.Fields(s) {
		ports, protocol, found := strings.Cut(word, "/")
		if !found {
			protocol = "tcp"
		}
		if protocol = strings.ToLower(protocol); protocol != "tcp" && protocol != "udp" && protocol != "sctp" {
			return fmt.Errorf("%q: unknown protocol", word)
		}
		low, high, isRange := strings.Cut(ports, "-")
		if !isRange {
			high = low
		}
		first, err1 := strconv.ParseUint(low, 10, 16)
		last, err2 := strconv.ParseUint(high, 10, 16)
		if err1 != nil || err2 != nil || first == 0 || first > last {
			return fmt.Errorf("%q is not a port from 1 to 65535", word)
		}
		if config.ExposedPorts == nil {
			config.ExposedPorts = map[string]struct{}{}
		}
		for port := first; port <= last; port++ {
			config.ExposedPorts[strconv.FormatUint(port, 10)+"/"+protocol] = struct{}{}
		}
	}
	return nil
}

func volumes(config *ocispec.ImageConfig, s string) (err error) {
	list := strings.Fields(s)
	if strings.HasPrefix(s, "[") {
		if list, err = stringList(s); err != nil {
			return err
		}
	}
	for _, v := range list {
		if strings.TrimSpace(v) == "" {
			return errors.New("a volume has no name")
		}
		if config.Volumes == nil {
			config.Volumes = map[string]struct{}{}
		}
		config.Volumes[v] = struct{}{}
	}
	return nil
}

// words splits like a Dockerfile: at spaces outside of quotes; \ takes the next character as it is, within single
// quotes it is itself.
func words(s string) ([]string, error) {
	var list []string
	var word strings.Builder
	quote, inWord := rune(0), false
	escaped := false
	for _, c := range s {
		switch {
		case escaped:
			if quote == '"' && c != '"' && c != '\\' && c != '$' {
				word.WriteByte('\\') // within double quotes only these are special
			}
			word.WriteRune(c)
			escaped = false
		case c == '\\' && quote != '\'':
			escaped, inWord = true, true
		case c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, inWord = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if inWord {
				list = append(list, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	if quote != 0 || escaped {
		return nil, errors.New("a quote is not closed")
	}
	if inWord {
		list = append(list, word.String())
	}
	return list, nil
}
