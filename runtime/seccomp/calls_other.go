//go:build !amd64 && !arm64

package seccomp

const (
	auditArch = 0 // no filter is made
	hasX32    = false
)

var systemCalls [0]systemCall
