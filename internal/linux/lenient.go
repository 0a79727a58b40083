package linux

import (
	"encoding/binary"
	stdruntime "runtime"

	"golang.org/x/sys/unix"
)

// ownCalls are those of a PID 1 that has forked its command: it lets go of its descriptors, and waits for signals, which it takes, hands over and forwards,
// and for children; and those by which Go has its threads wait. Whoever makes it do one has no more of it than that processes in its namespaces get a signal.
var ownCalls = [...]uint32{
	unix.SYS_RT_SIGTIMEDWAIT, unix.SYS_RT_SIGRETURN, unix.SYS_TGKILL, unix.SYS_KILL, unix.SYS_WAIT4, unix.SYS_EXIT_GROUP,
	unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_SCHED_YIELD, unix.SYS_DUP3, unix.SYS_CLOSE,
}

// lenient is a seccomp filter that lets ownCalls pass, whatever filter says, and asks that about all others. A profile is written for the command: where it
// forbids tgkill, the end of a child would never be heard of.
func lenient(filter []byte) []byte {
	const (
		loadWord  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		jumpEqual = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		answer    = unix.BPF_RET | unix.BPF_K

		number, arch = 0, 4 // in struct seccomp_data
	)
	audit, ok := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[stdruntime.GOARCH]
	if !ok { // no filter is made for it
		return filter
	}
	var program []byte
	add := func(op uint16, yes, no int, k uint32) {
		program = append(binary.NativeEndian.AppendUint16(program, op), byte(yes), byte(no))
		program = binary.NativeEndian.AppendUint32(program, k)
	}
	add(loadWord, 0, 0, arch)
	add(jumpEqual, 0, len(ownCalls)+2, audit) // of a call of another machine the number means something else
	add(loadWord, 0, 0, number)
	for i, call := range ownCalls {
		no := 0
		if i == len(ownCalls)-1 {
			no = 1
		}
		add(jumpEqual, len(ownCalls)-1-i, no, call)
	}
	add(answer, 0, 0, unix.SECCOMP_RET_ALLOW)
	return append(program, filter...)
}
