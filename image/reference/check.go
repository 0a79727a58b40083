package reference

import (
	"errors"
	"fmt"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
)

// checkRegistry: host [":" port], where host is dotted components or an IPv6 address in brackets.
func checkRegistry(s string) error {
	host, rest := s, ""
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return fmt.Errorf("registry %q: missing ]", s)
		}
		host, rest = s[:end+1], s[end+1:]
		if address := host[1:end]; address == "" || strings.Trim(address, "0123456789abcdefABCDEF:") != "" {
			return fmt.Errorf("registry %q: no IPv6 address between [ and ]", s)
		}
	} else {
		if i := strings.IndexByte(s, ':'); i >= 0 {
			host, rest = s[:i], s[i:]
		}
		for label := range strings.SplitSeq(host, ".") {
			if err := checkHostLabel(label); err != nil {
				return fmt.Errorf("registry %q: %w", s, err)
			}
		}
	}
	if rest == "" {
		return nil
	}
	if port, found := strings.CutPrefix(rest, ":"); !found || port == "" || strings.Trim(port, "0123456789") != "" {
		return fmt.Errorf("registry %q: no port number after the colon", s)
	}
	return nil
}

func checkHostLabel(label string) error {
	if label == "" {
		return errors.New("an empty part between dots")
	}
	for i := range len(label) {
		if c := label[i]; !isLower(c) && !isDigit(c) && !('A' <= c && c <= 'Z') && c != '-' {
			return fmt.Errorf("%q is not allowed in a host name", c)
		}
	}
	if label[0] == '-' || label[len(label)-1] == '-' {
		return fmt.Errorf("%q starts or ends with a hyphen", label)
	}
	return nil
}

// checkRepository: components of [a-z0-9]+, joined within by ".", "_", "__" or any number of "-", and between by "/".
func checkRepository(s string) error {
	if len(s) > maxRepository {
		return fmt.Errorf("the repository is longer than %d characters", maxRepository)
	}
	for component := range strings.SplitSeq(s, "/") {
		if err := checkComponent(component); err != nil {
			return err
		}
	}
	return nil
}

func checkComponent(s string) error {
	if s == "" {
		return errors.New("an empty part between slashes")
	}
	for i := 0; i < len(s); {
		c := s[i]
		if isLower(c) || isDigit(c) {
			i++
			continue
		}
		if 'A' <= c && c <= 'Z' {
			return errors.New("a repository is written in lower case")
		}
		run := len(s[i:]) - len(strings.TrimLeft(s[i:], string(rune(c))))
		switch {
		case c != '.' && c != '_' && c != '-':
			return fmt.Errorf("%q is not allowed in a repository", s[i:i+runeLen(s[i:])])
		case i == 0 || i+run == len(s):
			return fmt.Errorf("%q starts or ends with %q", s, c)
		case c == '.' && run > 1, c == '_' && run > 2, s[i+run] == '.', s[i+run] == '_', s[i+run] == '-':
			return fmt.Errorf("%q has too many separators in a row", s)
		}
		i += run
	}
	return nil
}

// runeLen returns the length of the first character of s, so that a message shows it whole.
func runeLen(s string) int {
	for i := range s {
		if i > 0 {
			return i
		}
	}
	return len(s)
}

func checkTag(s string) error {
	switch {
	case s == "":
		return hint.Wrap(errors.New("no tag after the colon"), "write a tag, or leave out the colon for "+DefaultTag)
	case len(s) > maxTag:
		return fmt.Errorf("the tag is longer than %d characters", maxTag)
	case s[0] == '.' || s[0] == '-':
		return fmt.Errorf("the tag starts with %q", s[0])
	}
	for i := range len(s) {
		if c := s[i]; !isLower(c) && !isDigit(c) && !('A' <= c && c <= 'Z') && c != '_' && c != '.' && c != '-' {
			return fmt.Errorf("%q is not allowed in a tag", s[i:i+runeLen(s[i:])])
		}
	}
	return nil
}

// checkDigest takes the two algorithms that the OCI image specification registers.
func checkDigest(s string) error {
	algorithm, encoded, found := strings.Cut(s, ":")
	want, known := 0, true
	switch algorithm {
	case "sha256":
		want = 64
	case "sha512":
		want = 128
	default:
		known = false
	}
	switch {
	case !found:
		return hint.Wrap(errors.New("no digest after the @"), "write it as NAME@sha256:… with 64 hex digits")
	case !known:
		return fmt.Errorf("unknown digest algorithm %q (sha256 and sha512 are known)", algorithm)
	case len(encoded) != want || !isHex(encoded):
		return fmt.Errorf("a %s digest is %d lower-case hex digits", algorithm, want)
	}
	return nil
}

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
