package idmap

import "strconv"

// Range maps Size ids: Container, Container+1, … inside to Host, Host+1, … outside.
type Range struct {
	Container, Host, Size uint32
}

// Map is one of a user namespace's two translations, for users or for groups. Its ranges don't overlap.
type Map []Range

// maxRanges keeps a map within the one write, shorter than a page, that the kernel takes: a line has up to 33 bytes.
const maxRanges = 100

// newMap returns the map of 0 to own and of 1 and up to the subordinate ranges in their order. A range that overlaps
// an earlier one is left out, as the kernel would refuse the map as a whole. As the host's sides are disjoint, the
// container's can't overflow.
func newMap(own uint32, subordinate []Range) Map {
	m := Map{{Container: 0, Host: own, Size: 1}}
	next := uint32(1)
	for _, r := range subordinate {
		if m.overlaps(r) {
			continue
		}
		last := &m[len(m)-1]
		if last.Host+last.Size == r.Host {
			last.Size += r.Size
		} else if len(m) < maxRanges {
			m = append(m, Range{Container: next, Host: r.Host, Size: r.Size})
		} else {
			break
		}
		next += r.Size
	}
	return m
}

func (m Map) overlaps(r Range) bool {
	for _, have := range m {
		if r.Host < have.Host+have.Size && have.Host < r.Host+r.Size {
			return true
		}
	}
	return false
}

// Single reports whether m maps one id only, so that files can't have other owners and chown mostly fails.
func (m Map) Single() bool {
	return len(m) == 1 && m[0].Size == 1
}

// Has reports whether id exists inside.
func (m Map) Has(id uint32) bool {
	for _, r := range m {
		if id >= r.Container && id-r.Container < r.Size {
			return true
		}
	}
	return false
}

// Identity returns the map of a user namespace whose parent has the ids of m, and that has the same: inside and outside of it they are one.
func (m Map) Identity() Map {
	same := make(Map, len(m))
	for i, r := range m {
		same[i] = Range{Container: r.Container, Host: r.Container, Size: r.Size}
	}
	return same
}

// Text lists m as /proc/PID/uid_map takes it, a range a line.
func (m Map) Text() []byte { return m.text() }

// arguments lists m as newuidmap takes it: container, host and size of each range, as separate words.
func (m Map) arguments() []string {
	words := make([]string, 0, 3*len(m))
	for _, r := range m {
		words = append(words, decimal(r.Container), decimal(r.Host), decimal(r.Size))
	}
	return words
}

// text lists m as /proc/PID/uid_map takes it, a range a line.
func (m Map) text() []byte {
	var text []byte
	for _, r := range m {
		for _, n := range []uint32{r.Container, r.Host, r.Size} {
			text = append(strconv.AppendUint(text, uint64(n), 10), ' ')
		}
		text[len(text)-1] = '\n'
	}
	return text
}

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
