package seccomp

import (
	"slices"
	"strings"
)

//go:generate go run gen.go

// A systemCall is a line of this architecture's table.
type systemCall struct {
	name   string
	number uint32
}

// numberOf returns the number of a system call on this architecture.
func numberOf(name string) (uint32, bool) {
	i, found := slices.BinarySearchFunc(systemCalls[:], name, func(c systemCall, name string) int { return strings.Compare(c.name, name) })
	if !found {
		return 0, false
	}
	return systemCalls[i].number, true
}
