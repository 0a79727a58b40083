//go:build !race

package runtime

const few = false
