//go:build race

package runtime

// few says that a start takes a second under the race detector, which shadows the whole address space that fork copies.
const few = true
