package runtime

import (
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/runtime/caps"
	"codeberg.org/minipod/minipod/runtime/spec"
	"codeberg.org/minipod/minipod/runtime/stage"
)

func TestWithoutTracers(t *testing.T) {
	all, err := caps.Apply(caps.Default, []string{"ALL"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	set, err := WithoutTracers(all, []string{"all", "NET_ADMIN"})
	if err != nil || set.Has(capSysPtrace) || set.Has(capBlockSuspend) || !set.Has(capSysAdmin) || set|hostTracers != all {
		t.Errorf("%v, %v", set, err)
	}
	for _, name := range []string{"SYS_PTRACE", "cap_block_suspend", "FLY"} {
		if set, err := WithoutTracers(all, []string{"CHOWN", name}); err == nil {
			t.Errorf("%s: %v", name, set)
		}
	}
}

// TestPlanOfHostPIDs marks our /proc alone as the kernel's: a user's volume in its place has to be refused.
func TestPlanOfHostPIDs(t *testing.T) {
	bind := func(target string) specs.Mount {
		return specs.Mount{Type: "bind", Source: "/proc", Destination: target, Options: []string{"rbind"}}
	}
	for name, tt := range map[string]struct {
		hosts []specs.LinuxNamespaceType
		want  string
	}{
		"the host's": {[]specs.LinuxNamespaceType{specs.PIDNamespace}, "/proc"},
		"its own":    {nil, ""},
	} {
		s := &specs.Spec{
			Process: &specs.Process{Args: []string{"true"}}, Linux: &specs.Linux{Namespaces: spec.Namespaces(tt.hosts...)},
			Mounts: []specs.Mount{bind("/proc"), bind("/p"), bind("/proc")},
		}
		p, err := planOf(s, oneID, oneID)
		if err != nil {
			t.Fatal(err)
		}
		var marked []string
		for _, m := range p.Rootfs.Mounts {
			if m.Kernel {
				marked = append(marked, m.Target)
			}
		}
		if got := strings.Join(marked, " "); got != tt.want || p.HostPIDs != (tt.want != "") {
			t.Errorf("%s: %q, %v", name, got, p.HostPIDs)
		}
	}
}

func TestCheckHostPIDs(t *testing.T) {
	own := spec.Namespaces(specs.PIDNamespace)
	good := stage.Plan{HostPIDs: true, Reaper: true}
	if err := checkHostPIDs(&good, own); err != nil {
		t.Error(err)
	}
	bounding, effective, first, lesson := good, good, good, good
	lesson.Without = []string{"seccomp"}
	bounding.Process.Bounding, effective.Process.Capabilities, first.Reaper = 1<<capSysPtrace, 1<<capBlockSuspend, false
	for name, p := range map[string]*stage.Plan{"a bound": &bounding, "a capability": &effective, "no reaper": &first, "a step left out": &lesson} {
		if checkHostPIDs(p, own) == nil {
			t.Error(name)
		}
		p.HostPIDs = false
		if err := checkHostPIDs(p, own); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, kind := range []specs.LinuxNamespaceType{specs.MountNamespace, specs.CgroupNamespace} { // what was killed in the end would be the user's
		if checkHostPIDs(&good, spec.Namespaces(specs.PIDNamespace, kind)) == nil {
			t.Errorf("without a %s namespace", kind)
		}
	}
}
