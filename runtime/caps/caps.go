// Package caps names Linux capabilities and computes the set a container gets.
//
// Root's power is split into 41 capabilities (capabilities(7)). A container's root holds only some of them, and in
// minipod only towards the container's own user namespace: CAP_NET_ADMIN there configures the container's network and
// nothing of the host's. Docker's default is the set that ordinary images expect; --cap-add and --cap-drop change it.
//
// The package starts within microseconds on purpose, the names being an array: it is linked into every container start.
package caps

import (
	"fmt"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/nearest"
)

// Set holds capabilities as the kernel does, bit n for capability number n. The zero value is empty.
type Set uint64

// names is indexed by capability number: include/uapi/linux/capability.h, complete since Linux 5.9.
var names = [...]string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
	"CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
	"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
	"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

// The capabilities that sets here are made of.
const (
	chown          Set = 1 << 0
	dacOverride    Set = 1 << 1
	fowner         Set = 1 << 3
	fsetid         Set = 1 << 4
	kill           Set = 1 << 5
	setgid         Set = 1 << 6
	setuid         Set = 1 << 7
	setpcap        Set = 1 << 8
	netBindService Set = 1 << 10
	netRaw         Set = 1 << 13
	sysChroot      Set = 1 << 18
	mknod          Set = 1 << 27
	auditWrite     Set = 1 << 29
	setfcap        Set = 1 << 31
)

const (
	// Default is what Docker gives a container: moby/daemon/pkg/oci/caps/defaults.go.
	Default = chown | dacOverride | fsetid | fowner | mknod | netRaw | setgid | setuid | setfcap | setpcap |
		netBindService | sysChroot | kill | auditWrite

	// All is every capability that this package knows; the running kernel may know fewer.
	All Set = 1<<len(names) - 1
)

// Parse returns the set that a --cap-add or --cap-drop value means: one capability in either case, with or without
// CAP_, or "ALL". An unknown name is an error with the nearest known one as its hint.
func Parse(name string) (Set, error) {
	canonical := strings.ToUpper(name)
	if canonical == "ALL" {
		return All, nil
	}
	if !strings.HasPrefix(canonical, "CAP_") {
		canonical = "CAP_" + canonical
	}
	for n, known := range names {
		if known == canonical {
			return 1 << n, nil
		}
	}
	advice := "run `man 7 capabilities` for the names"
	if near := nearest.Name(canonical, names[:]); near != "" {
		advice = "did you mean " + near + "?"
	}
	return 0, hint.Wrap(fmt.Errorf("unknown capability %q", name), advice)
}

// ParseAll returns the union of the named sets.
func ParseAll(list []string) (Set, error) {
	var all Set
	for _, name := range list {
		s, err := Parse(name)
		if err != nil {
			return 0, err
		}
		all |= s
	}
	return all, nil
}

// Apply changes base as docker's --cap-add and --cap-drop do. Their order on the command line doesn't count: what is
// dropped goes first and what is added comes after, so that --cap-drop ALL --cap-add CHOWN leaves CHOWN. Only under
// --cap-add ALL is it the other way round, for the drops would otherwise mean nothing.
func Apply(base Set, add, drop []string) (Set, error) {
	added, err := ParseAll(add)
	if err != nil {
		return 0, err
	}
	dropped, err := ParseAll(drop)
	if err != nil {
		return 0, err
	}
	if added == All && dropped != All {
		return All &^ dropped, nil
	}
	return base&^dropped | added, nil
}

// Has reports whether s holds the capability with this number.
func (s Set) Has(number int) bool {
	return number >= 0 && number < 64 && s&(1<<number) != 0
}

// Names lists s in the order of capability numbers, written CAP_CHOWN. Bits without a name are left out.
func (s Set) Names() []string {
	list := make([]string, 0, len(names))
	for n, name := range names {
		if s.Has(n) {
			list = append(list, name)
		}
	}
	return list
}

// Known lists every name that Parse accepts besides "ALL", for completion.
func Known() []string { return All.Names() }
