package stage

import (
	"fmt"
	"syscall"

	"codeberg.org/minipod/minipod/rootfs"
)

// A Plan is everything that the child needs to know, complete and read-only. It is plain data, in a sealed file.
type Plan struct {
	Name     string // of the container, as ps shows it
	Hostname string
	Loopback bool     // the network namespace is ours: bring up lo
	Sysctls  []string // NAME=VALUE: the kernel's parameters of the namespaces that are ours
	Rootfs   rootfs.Plan
	Process  Process
	Reaper   bool // run the command under PID 1; else it is PID 1 itself
	Pause    bool // there is no command: PID 1 alone, in whose namespaces others live

	PIDNamespace int  // the descriptor of another's that the command joins, while the sandbox stays in the host's; 0: its own
	HostPIDs     bool // there is no pid namespace but the host's: the sandbox is PID 1 of none

	Without []string // steps to leave out, of Optional

	Bounded  bool // its group has a pids.max
	Terminal bool
	Explain  bool // send every step as it happens
	Step     bool // and wait for the parent's word before each
}

func (p *Plan) joinsPIDs() bool { return p.PIDNamespace != 0 }

// sharesPIDs tells whether the command lives among others' processes: the sandbox is not the PID 1 with which all of them end.
func (p *Plan) sharesPIDs() bool { return p.joinsPIDs() || p.HostPIDs }

// A Process is the command as it will run.
type Process struct {
	Args        []string
	Env         []string
	Cwd         string
	User        string // name or number, ":" group; looked up in the container's own /etc/passwd and /etc/group
	Groups      []string
	ImageGroups string // when those count that /etc/group gives the user: "" is docker's way
	Umask       uint32
	Rlimits     []Rlimit
	OOMScoreAdj *int

	Bounding        uint64 // capabilities by number, as bit masks
	Capabilities    uint64 // effective and permitted, for uid 0; other users get none
	NoNewPrivileges bool
	Seccomp         []byte // struct sock_filter[], nil for none
	IDs             []IDRange
	GIDs            []IDRange
	Setgroups       bool // the user namespace allows setgroups(2)
}

// How the groups that the image's /etc/group gives the user count. Docker's way, "", is that they do unless a group was named; Kubernetes'
// supplementalGroupsPolicy is one of these.
const (
	GroupsMerged = "merge"  // always
	GroupsStrict = "strict" // never
)

// An IDRange is a run of ids that exist in the user namespace.
type IDRange struct{ First, Count uint32 }

// An Rlimit is one of setrlimit(2).
type Rlimit struct {
	Name       string
	Resource   int
	Soft, Hard uint64
}

// An Event is one step, told.
type Event struct {
	Step   string        `json:"step"`
	Why    string        `json:"why"`
	Who    string        `json:"who"` // "minipod" outside, "sandbox" inside
	Calls  []CallResult  `json:"calls,omitempty"`
	Error  string        `json:"error,omitempty"`
	Before bool          `json:"before,omitempty"` // announced by --step, not done yet
	Micros int64         `json:"µs"`
	Errno  syscall.Errno `json:"errno,omitempty"`
}

// A CallResult is a system call and what the kernel answered.
type CallResult struct {
	Call   string `json:"call"`
	Result string `json:"result"`
}

// A message is one record from the child.
type message struct {
	Kind  string // alive, step, console, exec, failed
	Event *Event
	Fail  *Failure
}

// A Failure is why a container did not start. It unwraps to the errno of the call that the kernel refused.
type Failure struct {
	Step  string
	Text  string
	Hint  string
	Exit  int           // the exit status that docker gives: 125, 126 or 127
	Errno syscall.Errno // 0: not the kernel
}

func (f *Failure) Error() string {
	if f.Step == "" { // the text says it
		return f.Text
	}
	return fmt.Sprintf("%s: %s", f.Step, f.Text)
}

// Unwrap returns the errno.
func (f *Failure) Unwrap() error {
	if f.Errno == 0 {
		return nil
	}
	return f.Errno
}
