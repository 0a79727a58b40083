package seccomp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"

	"codeberg.org/minipod/minipod/internal/hint"
)

// The answers of a filter, SECCOMP_RET_* of linux/seccomp.h. Errno and trace carry a number in their low 16 bits.
const (
	retKillProcess = 0x80000000
	retKillThread  = 0x00000000
	retTrap        = 0x00030000
	retErrno       = 0x00050000
	retTrace       = 0x7ff00000
	retLog         = 0x7ffc0000
	retAllow       = 0x7fff0000

	maxErrno = 4095 // the kernel cuts larger ones down to it

	retNoSuchCall = retErrno | uint32(syscall.ENOSYS)
)

// Where struct seccomp_data has its fields, on a little-endian machine.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16 // six of 8 bytes, the low half first
)

const (
	maxInstructions = 4096       // BPF_MAXINSNS
	x32Bit          = 0x40000000 // __X32_SYSCALL_BIT
)

// A rule gives ret to a call whose arguments pass all conditions.
type rule struct {
	conditions []specs.LinuxSeccompArg
	ret        uint32
}

// An answer is what one system call gets: that of the first rule that matches, else otherwise.
type answer struct {
	rules     []rule
	otherwise uint32
}

// A segment is an answer for the numbers from first up to the next segment's first.
type segment struct {
	first uint32
	answer
}

// Compile returns the filter for profile on this machine's architecture: an array of struct sock_filter in the machine's
// byte order, 8 bytes an instruction, as seccomp(SECCOMP_SET_MODE_FILTER) takes it.
func Compile(profile *specs.LinuxSeccomp) ([]byte, error) {
	filter, err := compile(profile)
	return filter, hint.Wrap(err, "correct the profile, or use --security-opt seccomp=unconfined")
}

func compile(profile *specs.LinuxSeccomp) ([]byte, error) {
	if auditArch == 0 {
		return nil, errors.New("seccomp filters are made for x86-64 and arm64 only")
	}
	segments, err := plan(profile)
	if err != nil {
		return nil, err
	}
	program := slices.Concat(
		[]bpf.Instruction{
			load(offArch),
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
			bpf.RetConstant{Val: retKillProcess},
			load(offNumber),
		},
		search(segments),
	)
	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil, fmt.Errorf("assemble seccomp filter: %w", err)
	}
	if len(raw) > maxInstructions {
		return nil, fmt.Errorf("the seccomp filter has %d instructions, the kernel takes %d", len(raw), maxInstructions)
	}
	filter := make([]byte, 0, 8*len(raw))
	for _, in := range raw {
		filter = binary.LittleEndian.AppendUint16(filter, in.Op)
		filter = append(filter, in.Jt, in.Jf)
		filter = binary.LittleEndian.AppendUint32(filter, in.K)
	}
	return filter, nil
}

// plan decides the answer for every number. The first segment begins at 0.
func plan(profile *specs.LinuxSeccomp) ([]segment, error) {
	fallback, err := action(profile.DefaultAction, profile.DefaultErrnoRet)
	if err != nil {
		return nil, err
	}
	answers, youngest, err := collect(profile, fallback)
	if err != nil {
		return nil, err
	}
	var segments []segment
	begin := func(first uint32, a answer) {
		if n := len(segments); n > 0 && a.rules == nil && segments[n-1].rules == nil && a.otherwise == segments[n-1].otherwise {
			return // the segment goes on
		}
		segments = append(segments, segment{first, a})
	}
	next := uint32(0)
	for _, number := range slices.Sorted(maps.Keys(answers)) {
		if next < number {
			begin(next, answer{otherwise: fallback})
		}
		begin(number, answers[number])
		next = number + 1
	}
	if next <= youngest || !refuses(fallback) {
		begin(next, answer{otherwise: fallback})
	}
	if refuses(fallback) {
		begin(youngest+1, answer{otherwise: retNoSuchCall})
	}
	if hasX32 {
		begin(x32Bit, answer{otherwise: retNoSuchCall})
	}
	return segments, nil
}

// refuses tells a default action that keeps unknown calls from the kernel. A tracer is no refusal: it may emulate them.
func refuses(ret uint32) bool {
	return ret != retAllow && ret != retLog && ret&^0xffff != retTrace
}

// collect gathers the rules by system call, and finds the highest number that the profile names, 0 if none.
func collect(profile *specs.LinuxSeccomp, fallback uint32) (answers map[uint32]answer, youngest uint32, err error) {
	answers = map[uint32]answer{}
	settled := map[uint32]bool{} // by a rule without conditions
	for _, call := range profile.Syscalls {
		ret, err := action(call.Action, call.ErrnoRet)
		if err != nil {
			return nil, 0, err
		}
		rules, err := alternatives(call.Args, ret)
		if err != nil {
			return nil, 0, fmt.Errorf("rule for %q: %w", call.Names, err)
		}
		for _, name := range call.Names {
			number, known := numberOf(name)
			if !known {
				continue
			}
			youngest = max(youngest, number)
			switch {
			case ret == fallback || settled[number]:
			case len(call.Args) == 0:
				answers[number], settled[number] = answer{otherwise: ret}, true
			default:
				answers[number] = answer{append(answers[number].rules, rules...), fallback}
			}
		}
	}
	return answers, youngest, nil
}

// alternatives returns the rules of which one must match: one that asks for all conditions or, where two are about the
// same argument, which as "and" could seldom hold, one for each.
func alternatives(conditions []specs.LinuxSeccompArg, ret uint32) ([]rule, error) {
	var seen [6]bool
	repeated := false
	for _, c := range conditions {
		if c.Index >= uint(len(seen)) {
			return nil, fmt.Errorf("a system call has no argument %d", c.Index)
		}
		if test(c, 0) == nil {
			return nil, fmt.Errorf("unknown operator %q", c.Op)
		}
		repeated = repeated || seen[c.Index]
		seen[c.Index] = true
	}
	if !repeated {
		return []rule{{conditions, ret}}, nil
	}
	var rules []rule
	for _, c := range conditions {
		rules = append(rules, rule{[]specs.LinuxSeccompArg{c}, ret})
	}
	return rules, nil
}

// action translates a profile's action; EPERM is the errno of those that don't say.
func action(name specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	number := uint(syscall.EPERM)
	if errno != nil {
		number = *errno
	}
	switch name {
	case specs.ActAllow:
		return retAllow, nil
	case specs.ActErrno, specs.ActTrace:
		if number > maxErrno {
			return 0, fmt.Errorf("errno %d is above %d", number, maxErrno)
		}
		if name == specs.ActTrace {
			return retTrace | uint32(number), nil
		}
		return retErrno | uint32(number), nil
	case specs.ActLog:
		return retLog, nil
	case specs.ActTrap:
		return retTrap, nil
	case specs.ActKill, specs.ActKillThread:
		return retKillThread, nil
	case specs.ActKillProcess:
		return retKillProcess, nil
	case specs.ActNotify:
		return 0, errors.New("SCMP_ACT_NOTIFY needs a listener, which minipod doesn't have")
	}
	return 0, fmt.Errorf("unknown action %q", name)
}

// search returns code that finds the segment of the number in the accumulator, and its answer.
func search(segments []segment) []bpf.Instruction {
	if len(segments) == 1 {
		return segments[0].code()
	}
	middle := len(segments) / 2
	below, above := search(segments[:middle]), search(segments[middle:])
	// A conditional jump skips 255 instructions at most, an unconditional one any number.
	branch := []bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: segments[middle].first, SkipTrue: uint8(len(below))}}
	if len(below) > 255 {
		branch = []bpf.Instruction{
			bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: segments[middle].first, SkipFalse: 1},
			bpf.Jump{Skip: uint32(len(below))},
		}
	}
	return slices.Concat(branch, below, above)
}

// code returns the answer's instructions. A rule whose conditions don't hold is skipped.
func (a answer) code() []bpf.Instruction {
	var code []bpf.Instruction
	for _, r := range a.rules {
		body := []bpf.Instruction{bpf.RetConstant{Val: r.ret}}
		for _, c := range slices.Backward(r.conditions) {
			body = slices.Concat(test(c, uint8(len(body))), body) // six conditions of six instructions at most
		}
		code = append(code, body...)
	}
	return append(code, bpf.RetConstant{Val: a.otherwise})
}

// test returns code that falls through if c holds and skips rest instructions more if not, or nil for an unknown
// operator. BPF's words have 32 bits and arguments 64, so the high halves decide first; all compare unsigned.
func test(c specs.LinuxSeccompArg, rest uint8) []bpf.Instruction {
	high, low := load(offArgs+8*c.Index+4), load(offArgs+8*c.Index)
	vHigh, vLow := uint32(c.Value>>32), uint32(c.Value)
	jump := func(cond bpf.JumpTest, value uint32, skipTrue, skipFalse uint8) bpf.Instruction {
		return bpf.JumpIf{Cond: cond, Val: value, SkipTrue: skipTrue, SkipFalse: skipFalse}
	}
	// The low halves decide where the high ones are equal: "a > b" passes if greater, "a < b" fails if greater or equal.
	greater, notLess := bpf.JumpGreaterThan, bpf.JumpGreaterOrEqual
	switch c.Op {
	case specs.OpGreaterEqual:
		greater = bpf.JumpGreaterOrEqual
	case specs.OpLessEqual:
		notLess = bpf.JumpGreaterThan
	}
	switch c.Op {
	case specs.OpEqualTo:
		return []bpf.Instruction{high, jump(bpf.JumpEqual, vHigh, 0, 2+rest), low, jump(bpf.JumpEqual, vLow, 0, rest)}
	case specs.OpNotEqual:
		return []bpf.Instruction{high, jump(bpf.JumpEqual, vHigh, 0, 2), low, jump(bpf.JumpEqual, vLow, rest, 0)}
	case specs.OpMaskedEqual: // Value is the mask, ValueTwo what must be left
		return []bpf.Instruction{
			high,
			bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: vHigh},
			jump(bpf.JumpEqual, uint32(c.ValueTwo>>32), 0, 3+rest),
			low,
			bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: vLow},
			jump(bpf.JumpEqual, uint32(c.ValueTwo), 0, rest),
		}
	case specs.OpGreaterThan, specs.OpGreaterEqual:
		return []bpf.Instruction{
			high, jump(bpf.JumpGreaterThan, vHigh, 3, 0), jump(bpf.JumpEqual, vHigh, 0, 2+rest),
			low, jump(greater, vLow, 0, rest),
		}
	case specs.OpLessThan, specs.OpLessEqual:
		return []bpf.Instruction{
			high, jump(bpf.JumpGreaterOrEqual, vHigh, 0, 3), jump(bpf.JumpEqual, vHigh, 0, 2+rest),
			low, jump(notLess, vLow, rest, 0),
		}
	}
	return nil
}

func load(offset uint) bpf.Instruction { return bpf.LoadAbsolute{Off: uint32(offset), Size: 4} }
