package idmap

import (
	"bytes"
	"strconv"
)

// noID is (uid_t)-1, which system calls take for "leave it": it can't be an id, so ranges end below it.
const noID = 1<<32 - 1

// ranges returns the ranges that text, a file like /etc/subuid, gives to the user, by name or by number, in the file's
// order. Lines that aren't owner:start:count are skipped, as newuidmap skips them.
func ranges(text []byte, name, number string) []Range {
	var list []Range
	for line := range bytes.Lines(text) {
		owner, r, ok := parseLine(line)
		if ok && (string(owner) == number || name != "" && string(owner) == name) {
			list = append(list, r)
		}
	}
	return list
}

// parseLine reads one line of subuid(5), owner:start:count, where the range is not empty and ends below noID.
func parseLine(line []byte) (owner []byte, r Range, ok bool) {
	owner, rest, found := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(":"))
	if !found || len(owner) == 0 {
		return nil, Range{}, false
	}
	start, count, found := bytes.Cut(rest, []byte(":"))
	if !found {
		return nil, Range{}, false
	}
	r, ok = newRange(start, count)
	return owner, r, ok
}

// newRange makes a Range of the host's ids out of two decimal numbers.
func newRange(start, count []byte) (Range, bool) {
	first, err := strconv.ParseUint(string(start), 10, 32)
	if err != nil {
		return Range{}, false
	}
	size, err := strconv.ParseUint(string(count), 10, 32)
	if err != nil || size == 0 || first+size > noID {
		return Range{}, false
	}
	return Range{Host: uint32(first), Size: uint32(size)}, true
}

// getsubidsRanges reads the output of getsubids(1): a line "0: alice 100000 65536" per range.
func getsubidsRanges(text []byte) []Range {
	var list []Range
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); len(f) == 4 {
			if r, ok := newRange(f[2], f[3]); ok {
				list = append(list, r)
			}
		}
	}
	return list
}

// available reads a namespace's own uid_map or gid_map, and returns the ids that exist there, each mapped to itself.
func available(text []byte) Map {
	var m Map
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); len(f) == 3 {
			if r, ok := newRange(f[0], f[2]); ok && len(m) < maxRanges {
				m = append(m, Range{Container: r.Host, Host: r.Host, Size: r.Size})
			}
		}
	}
	return m
}

// userName returns the name of the user with this number in text, a passwd(5) file, or "".
func userName(text []byte, number string) string {
	for line := range bytes.Lines(text) {
		name, rest, _ := bytes.Cut(line, []byte(":"))
		_, rest, _ = bytes.Cut(rest, []byte(":")) // the password's place
		uid, _, found := bytes.Cut(rest, []byte(":"))
		if found && string(uid) == number {
			return string(name)
		}
	}
	return ""
}

// afterLast returns the first id from 100000 up, where useradd begins too, that follows every range in text.
func afterLast(text []byte) uint32 {
	next := uint32(100000)
	for line := range bytes.Lines(text) {
		if _, r, ok := parseLine(line); ok {
			next = max(next, r.Host+r.Size)
		}
	}
	return next
}
