//go:build race || vm

package runtime

// few says that a start takes a second: under the race detector, which shadows the whole address space that fork copies, and in a
// machine without KVM (scripts/vm-test).
const few = true
