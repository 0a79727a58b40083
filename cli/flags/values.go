package flags

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/nearest"
)

// Host is one --add-host.
type Host struct {
	Name string
	Addr string // IPv4 or IPv6, as it was written
}

// Ulimit is one --ulimit, Name being setrlimit(2)'s in lower case without RLIMIT_, the limits in its units.
type Ulimit struct {
	Name       string
	Soft, Hard uint64 // Unlimited for none
}

// Unlimited is RLIM_INFINITY.
const Unlimited = ^uint64(0)

const lettersAndDigits = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// isName reports whether s may name a container or a volume: [a-zA-Z0-9][a-zA-Z0-9_.-]*.
func isName(s string) bool {
	return s != "" && only(s[:1], lettersAndDigits) && only(s, lettersAndDigits+"_.-")
}

// only reports whether s has no other letters than the allowed: those at its ends are trimmed until one isn't.
func only(s, allowed string) bool {
	return strings.Trim(s, allowed) == ""
}

// variables joins the files' variables and, behind them, those of -e.
func variables(files, given []string) ([]string, error) {
	var list []string
	for _, file := range files {
		fromFile, err := readVariables(file)
		if err != nil {
			return nil, fmt.Errorf("--env-file: %w", err)
		}
		for _, v := range fromFile {
			if v = fromCaller(v); strings.Contains(v, "=") {
				list = append(list, v) // docker, too, drops a file's bare name that the caller hasn't set
			}
		}
	}
	for _, v := range given {
		if name, _, _ := strings.Cut(v, "="); name == "" || strings.Contains(v, "\x00") {
			return nil, hint.Wrap(fmt.Errorf("--env: invalid variable %q", v), "write NAME=VALUE, or NAME to hand yours on")
		}
		list = append(list, fromCaller(v))
	}
	return list, nil
}

// labels joins the files' labels and, behind them, those of --label. A bare name has the value "".
func labels(files, given []string) ([]string, error) {
	var list []string
	for _, file := range files {
		fromFile, err := readVariables(file)
		if err != nil {
			return nil, fmt.Errorf("--label-file: %w", err)
		}
		list = append(list, fromFile...)
	}
	list = append(list, given...)
	for i, label := range list {
		name, value, _ := strings.Cut(label, "=")
		if name == "" {
			return nil, hint.Wrap(fmt.Errorf("--label: invalid label %q", label), "write NAME=VALUE")
		}
		list[i] = name + "=" + value
	}
	return list, nil
}

// fromCaller turns NAME into NAME=VALUE if the caller's environment has it.
func fromCaller(variable string) string {
	if strings.Contains(variable, "=") {
		return variable
	}
	if value, set := os.LookupEnv(variable); set {
		return variable + "=" + value
	}
	return variable
}

// readVariables reads docker's file format: NAME=VALUE or NAME a line, no quoting, blank lines and those with # skipped.
func readVariables(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, hint.Wrap(err, "check the name and that you may read it")
	}
	if !utf8.Valid(text) {
		return nil, hint.Wrap(fmt.Errorf("%s is not UTF-8 text", file), "write one NAME=VALUE a line")
	}
	var list []string
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(string(text), "\ufeff")) {
		number++
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		line = strings.TrimLeft(line, " \t\v\f")
		if line == "" || line[0] == '#' {
			continue
		}
		name, _, _ := strings.Cut(line, "=")
		if name == "" || strings.ContainsAny(name, " \t\v\f\x00") {
			return nil, hint.Wrap(fmt.Errorf("%s: line %d: invalid name %q", file, number, name), "write one NAME=VALUE a line, without spaces around =")
		}
		list = append(list, line)
	}
	return list, nil
}

// addHost takes NAME:IP and NAME=IP; an IPv6 address may stand in brackets.
func (r *Run) addHost(value string) error {
	cut := strings.IndexAny(value, ":=")
	if cut < 1 {
		return hint.Wrap(fmt.Errorf("invalid host %q", value), "write NAME:IP")
	}
	name, ip := value[:cut], value[cut+1:]
	if ip == "host-gateway" {
		return hint.Wrap(errors.New("host-gateway has no meaning without a container network"), "give an address")
	}
	addr := strings.TrimSuffix(strings.TrimPrefix(ip, "["), "]")
	if !isIPv4(addr) && !isIPv6(addr) || strings.ContainsAny(name, " \t\n#") {
		return hint.Wrap(fmt.Errorf("invalid host %q", value), "write NAME:IP")
	}
	r.AddHosts = append(r.AddHosts, Host{name, addr})
	return nil
}

// isIPv4 and isIPv6 check an address's form. net/netip would do, but its start-up takes longer than reading all of the
// flags: it interns the names of IPv6 zones, which starts a part of the garbage collector.
func isIPv4(s string) bool {
	parts := strings.Split(s, ".")
	for _, part := range parts {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil || strconv.FormatUint(n, 10) != part { // no 010, which some programs read as 8
			return false
		}
	}
	return len(parts) == 4
}

func isIPv6(s string) bool {
	head, tail, gap := strings.Cut(s, "::")
	if strings.Contains(tail, "::") {
		return false
	}
	n, ok := groups(head, !gap)
	if !gap {
		return ok && n == 8
	}
	m, tailOK := groups(tail, true)
	return ok && tailOK && n+m < 8
}

// groups counts the 16-bit groups of one side of an IPv6 address. Where last is set it may end in an IPv4 address, which
// stands for two.
func groups(s string, last bool) (n int, ok bool) {
	if s == "" {
		return 0, true
	}
	parts := strings.Split(s, ":")
	for i, part := range parts {
		if last && i == len(parts)-1 && isIPv4(part) {
			return n + 2, true
		}
		if _, err := strconv.ParseUint(part, 16, 16); err != nil || len(part) > 4 {
			return 0, false
		}
		n++
	}
	return n, true
}

// addSecurityOpt takes docker's options. No AppArmor profile or SELinux label is ever set, so asking for none is fine.
func (r *Run) addSecurityOpt(value string) error {
	name, argument := value, ""
	if cut := strings.IndexAny(value, "=:"); cut >= 0 { // ":" was docker's first spelling
		name, argument = value[:cut], value[cut+1:]
	}
	switch {
	case name == "no-new-privileges" && (argument == "" || argument == "true"):
		r.NoNewPrivileges = true
	case name == "no-new-privileges" && argument == "false":
		r.NoNewPrivileges = false
	case name == "seccomp" && argument == "builtin":
		r.Seccomp = ""
	case name == "seccomp" && argument == "unconfined":
		r.Seccomp = argument
	case name == "seccomp" && argument != "":
		file, err := filepath.Abs(argument)
		if err != nil {
			return fmt.Errorf("seccomp profile %s: %w", argument, err)
		}
		r.Seccomp = file
	case value == "apparmor=unconfined", value == "label=disable", value == "label:disable":
	default:
		return hint.Wrap(fmt.Errorf("unknown option %q", value), "use no-new-privileges[=false], seccomp=unconfined or seccomp=FILE")
	}
	return nil
}

var limitNames = []string{
	"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime",
	"sigpending", "stack",
}

// addUlimit takes NAME=SOFT[:HARD]; SOFT alone is both. A later limit of the same name replaces the earlier.
func (r *Run) addUlimit(value string) error {
	name, limits, _ := strings.Cut(value, "=")
	if !slices.Contains(limitNames, name) {
		advice := "use one of " + strings.Join(limitNames, ", ")
		if near := nearest.Name(name, limitNames); near != "" {
			advice = "did you mean " + near + "?"
		}
		return hint.Wrap(fmt.Errorf("unknown limit %q", name), advice)
	}
	softText, hardText, two := strings.Cut(limits, ":")
	if !two {
		hardText = softText
	}
	soft, err := parseLimit(softText)
	if err != nil {
		return err
	}
	hard, err := parseLimit(hardText)
	if err != nil {
		return err
	}
	if soft > hard {
		return hint.Wrap(fmt.Errorf("%s: the soft limit %s is above the hard limit %s", name, softText, hardText), "write NAME=SOFT:HARD")
	}
	r.Ulimits = slices.DeleteFunc(r.Ulimits, func(u Ulimit) bool { return u.Name == name })
	r.Ulimits = append(r.Ulimits, Ulimit{name, soft, hard})
	return nil
}

func parseLimit(text string) (uint64, error) {
	if text == "-1" || text == "unlimited" {
		return Unlimited, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, hint.Wrap(fmt.Errorf("invalid limit %q", text), "write NAME=SOFT[:HARD] with numbers, -1 for none")
	}
	return n, nil
}

// parseSize reads a number of bytes with docker's units: 1024, 64k, 64m, 1g, 1GB, 1GiB, all in powers of 1024.
func parseSize(text string) (int64, error) {
	unitStart := strings.IndexFunc(text, func(c rune) bool { return c < '0' || c > '9' })
	if unitStart < 0 {
		unitStart = len(text)
	}
	shift := -1
	switch strings.ToLower(text[unitStart:]) {
	case "", "b":
		shift = 0
	case "k", "kb", "kib":
		shift = 10
	case "m", "mb", "mib":
		shift = 20
	case "g", "gb", "gib":
		shift = 30
	case "t", "tb", "tib":
		shift = 40
	}
	n, err := strconv.ParseInt(text[:unitStart], 10, 64)
	if err != nil || shift < 0 || n == 0 || n > (1<<62)>>shift {
		return 0, hint.Wrap(fmt.Errorf("invalid size %q", text), "write a number of bytes, or one with k, m, g or t")
	}
	return n << shift, nil
}
