package seccomp

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/runtime/caps"
)

// machine runs a compiled filter as the kernel would.
type machine struct{ vm *bpf.VM }

func newMachine(t *testing.T, filter []byte) machine {
	t.Helper()
	var program []bpf.Instruction
	for in := range slices.Chunk(filter, 8) {
		program = append(program, bpf.RawInstruction{
			Op: binary.LittleEndian.Uint16(in), Jt: in[2], Jf: in[3], K: binary.LittleEndian.Uint32(in[4:]),
		}.Disassemble())
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	return machine{vm}
}

func (m machine) answer(t *testing.T, auditArch, number uint32, args [6]uint64) uint32 {
	t.Helper()
	data := make([]byte, 64)
	put := func(offset int, word uint32) { binary.BigEndian.PutUint32(data[offset:], word) } // the VM's words are big-endian
	put(offNumber, number)
	put(offArch, auditArch)
	for i, a := range args {
		put(offArgs+8*i, uint32(a))
		put(offArgs+8*i+4, uint32(a>>32))
	}
	ret, err := m.vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(ret)
}

// reading is the profile read as a person would, rule by rule.
func reading(t *testing.T, profile *specs.LinuxSeccomp, machine *arch.Info, number uint32, args [6]uint64) uint32 {
	t.Helper()
	must := func(name specs.LinuxSeccompAction, errno *uint) uint32 {
		ret, err := action(name, errno)
		if err != nil {
			t.Fatal(err)
		}
		return ret
	}
	fallback := must(profile.DefaultAction, profile.DefaultErrnoRet)
	youngest, name := 0, machine.SyscallNumbers[int(number)]
	for _, call := range profile.Syscalls {
		for _, n := range call.Names {
			youngest = max(youngest, machine.SyscallNames[n])
		}
	}
	switch {
	case machine == arch.X86_64 && number >= x32Bit, int64(number) > int64(youngest) && refuses(fallback):
		return retNoSuchCall
	}
	for _, withArgs := range []bool{false, true} {
		for _, call := range profile.Syscalls {
			ret := must(call.Action, call.ErrnoRet)
			if name == "" || !slices.Contains(call.Names, name) || (len(call.Args) > 0) != withArgs || ret == fallback {
				continue
			}
			holding, indexes := 0, map[uint]bool{}
			for _, c := range call.Args {
				indexes[c.Index] = true
				if holds(c, args[c.Index]) {
					holding++
				}
			}
			if holding == len(call.Args) || len(indexes) < len(call.Args) && holding > 0 {
				return ret
			}
		}
	}
	return fallback
}

func holds(c specs.LinuxSeccompArg, value uint64) bool {
	switch c.Op {
	case specs.OpEqualTo:
		return value == c.Value
	case specs.OpNotEqual:
		return value != c.Value
	case specs.OpLessThan:
		return value < c.Value
	case specs.OpLessEqual:
		return value <= c.Value
	case specs.OpGreaterThan:
		return value > c.Value
	case specs.OpGreaterEqual:
		return value >= c.Value
	case specs.OpMaskedEqual:
		return value&c.Value == c.ValueTwo
	}
	panic("unknown operator " + c.Op)
}

// interesting lists values around those that the profile compares with, in both halves.
func interesting(profile *specs.LinuxSeccomp) []uint64 {
	values := []uint64{0, 1, 2, 1 << 31, 1<<32 - 1, 1 << 32, 1<<63 - 1, 1 << 63, 1<<64 - 1}
	for _, call := range profile.Syscalls {
		for _, c := range call.Args {
			for _, v := range []uint64{c.Value, c.ValueTwo, c.Value | c.ValueTwo} {
				values = append(values, v-1, v, v+1, v+1<<32, v-1<<32, ^v)
			}
		}
	}
	slices.Sort(values)
	return slices.Compact(values)
}

// compare holds a compiled filter to the reading of its profile, for every number and many arguments.
func compare(t *testing.T, profile *specs.LinuxSeccomp) {
	t.Helper()
	filter, err := Compile(profile)
	if err != nil {
		t.Fatal(err)
	}
	here, err := arch.GetInfo("")
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(t, filter)
	values := interesting(profile)
	numbers := []uint32{600, 1000, x32Bit - 1, x32Bit, x32Bit + 1, 1<<31 - 1, 1 << 31, 1<<32 - 1}
	for n := range uint32(520) {
		numbers = append(numbers, n)
	}
	withArgs := map[string]bool{}
	for _, call := range profile.Syscalls {
		for _, name := range call.Names {
			withArgs[name] = withArgs[name] || len(call.Args) > 0
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, number := range numbers {
		rounds := 3
		if withArgs[here.SyscallNumbers[int(number)]] {
			rounds = len(values) + 40
		}
		for round := range rounds {
			var args [6]uint64
			for i := range args {
				args[i] = values[random.IntN(len(values))]
			}
			if round < len(values) {
				args[0] = values[round]
			}
			got, want := m.answer(t, uint32(here.ID), number, args), reading(t, profile, here, number, args)
			if got != want {
				t.Fatalf("call %d (%s) with %#x: the filter answers %#x, the profile says %#x",
					number, here.SyscallNumbers[int(number)], args, got, want)
			}
		}
	}
	for _, other := range []*arch.Info{arch.I386, arch.ARM, arch.X86_64, arch.AARCH64} {
		if got := m.answer(t, uint32(other.ID), 1, [6]uint64{}); other != here && got != retKillProcess {
			t.Errorf("a call of %s gets %#x, want it killed", other.Name, got)
		}
	}
}

func TestDefaultProfile(t *testing.T) {
	for _, set := range []caps.Set{caps.Default, 0, caps.All, caps.Default | 1<<21} {
		t.Run(fmt.Sprintf("%#x", uint64(set)), func(t *testing.T) {
			profile, err := Default(set.Names())
			if err != nil {
				t.Fatal(err)
			}
			compare(t, profile)
		})
	}
}

func TestDefaultProfileIsSmall(t *testing.T) {
	profile, err := Default(caps.Default.Names())
	if err != nil {
		t.Fatal(err)
	}
	filter, err := Compile(profile)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d instructions", len(filter)/8)
	if n := len(filter) / 8; n > 300 {
		t.Errorf("%d instructions; every system call of every container walks through them", n)
	}
}

// TestFarJumps has ever more segments, so that branches skip just under and far over the 255 instructions that a
// conditional jump can.
func TestFarJumps(t *testing.T) {
	here, err := arch.GetInfo("")
	if err != nil {
		t.Fatal(err)
	}
	profile := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}
	for number := range 460 {
		name := here.SyscallNumbers[number]
		if name == "" {
			continue
		}
		errno := uint(number + 1)
		profile.Syscalls = append(profile.Syscalls, specs.LinuxSyscall{
			Names: []string{name}, Action: specs.ActErrno, ErrnoRet: &errno,
			Args: []specs.LinuxSeccompArg{{Index: uint(number % 6), Value: 7, Op: specs.OpEqualTo}},
		})
		if number >= 70 && number < 90 || number == 459 {
			compare(t, profile)
		}
	}
}

// TestRandomProfiles covers combinations of operators, actions and repeated calls that no profile of today has.
func TestRandomProfiles(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	choose := func(n int) uint { return uint(random.IntN(n)) }
	ops := []specs.LinuxSeccompOperator{
		specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpGreaterThan, specs.OpGreaterEqual, specs.OpMaskedEqual,
	}
	actions := []specs.LinuxSeccompAction{
		specs.ActAllow, specs.ActErrno, specs.ActTrace, specs.ActLog, specs.ActTrap, specs.ActKill, specs.ActKillThread, specs.ActKillProcess,
	}
	names := []string{"read", "write", "openat", "close", "clone", "clone3", "socket", "statx", "mseal", "no_such_call"}
	values := []uint64{0, 1, 5, 40, 1 << 31, 1<<32 - 1, 1 << 32, 5 << 32, 1<<64 - 1}
	for range 200 {
		errno := choose(200)
		profile := &specs.LinuxSeccomp{DefaultAction: actions[choose(len(actions))], DefaultErrnoRet: &errno}
		for range choose(12) {
			call := specs.LinuxSyscall{Action: actions[choose(len(actions))]}
			if choose(2) == 0 {
				e := choose(200)
				call.ErrnoRet = &e
			}
			for range 1 + choose(3) {
				call.Names = append(call.Names, names[choose(len(names))])
			}
			for range choose(4) {
				call.Args = append(call.Args, specs.LinuxSeccompArg{
					Index: choose(6), Value: values[choose(len(values))], ValueTwo: values[choose(len(values))], Op: ops[choose(len(ops))],
				})
			}
			profile.Syscalls = append(profile.Syscalls, call)
		}
		compare(t, profile)
	}
}

func TestCompileRefuses(t *testing.T) {
	big := uint(4096)
	arg := func(index uint, op specs.LinuxSeccompOperator) []specs.LinuxSyscall {
		return []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: index, Op: op}}}}
	}
	for _, c := range []struct {
		want    string
		profile specs.LinuxSeccomp
	}{
		{`unknown action ""`, specs.LinuxSeccomp{}},
		{`unknown action "SCMP_ACT_MAYBE"`, specs.LinuxSeccomp{DefaultAction: "SCMP_ACT_MAYBE"}},
		{"errno 4096 is above 4095", specs.LinuxSeccomp{DefaultAction: specs.ActErrno, DefaultErrnoRet: &big}},
		{"needs a listener", specs.LinuxSeccomp{DefaultAction: specs.ActNotify}},
		{"no argument 6", specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: arg(6, specs.OpEqualTo)}},
		{`unknown operator "SCMP_CMP_XX"`, specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: arg(0, "SCMP_CMP_XX")}},
	} {
		filter, err := Compile(&c.profile)
		if filter != nil || err == nil || !strings.Contains(err.Error(), c.want) || hint.Of(err) == "" {
			t.Errorf("Compile = %d bytes, %v with hint %q; want %s", len(filter), err, hint.Of(err), c.want)
		}
	}
}

const dockerFormat = `{"defaultAction": "SCMP_ACT_ERRNO", "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []}],
	"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"},
	{"name": "mount", "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}}]}`

const ociFormat = `{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
	"syscalls": [{"names": ["mount", "umount2"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}`

func TestLoad(t *testing.T) {
	load := func(text string, capabilities ...string) (*specs.LinuxSeccomp, error) {
		file := filepath.Join(t.TempDir(), "profile.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return Load(file, capabilities)
	}
	for _, c := range []struct {
		text  string
		caps  []string
		rules int
	}{
		{dockerFormat, nil, 1},
		{dockerFormat, []string{"CAP_SYS_ADMIN"}, 2},
		{ociFormat, nil, 1},
	} {
		profile, err := load(c.text, c.caps...)
		if err != nil {
			t.Fatal(err)
		}
		if len(profile.Syscalls) != c.rules {
			t.Errorf("%d rules, want %d", len(profile.Syscalls), c.rules)
		}
		compare(t, profile)
	}
	for _, text := range []string{"", "{}", "[]", "null", "{", `{"syscalls": 1}`} {
		if _, err := load(text); err == nil || hint.Of(err) == "" {
			t.Errorf("%q: %v with hint %q", text, err, hint.Of(err))
		}
	}
	if _, err := Load("/nonexistent", nil); err == nil || hint.Of(err) == "" {
		t.Errorf("a missing file: %v with hint %q", err, hint.Of(err))
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(dockerFormat))
	f.Add([]byte(ociFormat))
	f.Add([]byte(`{"defaultAction":"SCMP_ACT_KILL","syscalls":[{"names":["read"],"action":"SCMP_ACT_TRACE","args":[{"index":5,"value":1,"op":"SCMP_CMP_GE"}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		profile, err := Parse(text, []string{"CAP_CHOWN"})
		if err != nil {
			return
		}
		filter, err := Compile(profile)
		if err != nil {
			return
		}
		newMachine(t, filter) // which checks every jump
	})
}

func BenchmarkCompileDefault(b *testing.B) {
	for b.Loop() {
		profile, err := Default(caps.Default.Names())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Compile(profile); err != nil {
			b.Fatal(err)
		}
	}
}
