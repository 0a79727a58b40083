//go:build !race && !vm

package runtime

const few = false
