package labs

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/lang"
)

// Status is what a check comes to.
type Status string

// What a check may come to. Unknown is what could not be read; it never counts as a pass.
const (
	Pass    Status = "pass"
	Fail    Status = "fail"
	Unknown Status = "unknown"
)

// An Evidence is what was read, and what was wanted there.
type Evidence struct {
	Path string `json:"path"`
	Got  string `json:"got"`
	Want string `json:"want,omitempty"`
}

// A Verdict is what a check came to, and why.
type Verdict struct {
	Check    string     `json:"check"` // as lab.yaml has it
	Says     string     `json:"says"`  // the same as a sentence
	Status   Status     `json:"status"`
	Evidence []Evidence `json:"evidence"`
	Hint     string     `json:"hint,omitempty"` // the section of the text that helps
	Lacks    *Lack      `json:"lacks,omitempty"`
}

// A Lack is what a check did not get to judge at all, since it is not there. No hint of a lab's says anything true about that.
type Lack struct {
	Who    string `json:"who"`              // a container's name, pod:POD/CONTAINER, or a role
	Status string `json:"status,omitempty"` // docker's: exited, created; or Changing; "" where there is no such container
	Answer bool   `json:"answer,omitempty"` // it is the learner who is to name it, and did not, or it has ended

	Command string `json:"command,omitempty"` // it is there, and runs another command than this one, which the text looks for
}

// Changing is the status of a container that is starting or ending just now.
const Changing = "changing"

// OtherCommand is the hint of a check of proc.args: no lab writes it, since it says the same in all.
const OtherCommand = "other-command"

// Host is the role that whoever asks plays: outside of every container.
const Host = "host"

// A Container is what a world knows of one.
type Container struct {
	ID         string
	Status     string  // docker's: created, running, exited…
	Sandbox    Process // as minipod wrote it down when it started: alive is what the kernel says
	Supervisor Process
	Published  map[int]int // ports of the host by those of the container
	Restarts   int         // of a pod's: how many there were before it
}

// An Event is something that happened in a world: "start box", with attributes (exitCode=137).
type Event struct {
	Action, Name string
	Attributes   map[string]string
}

// A World is where the learner works.
type World interface {
	Root() string                                    // $MINIPOD_ROOT there
	Container(name string) (Container, error)        // by its name, or of a pod as pod:POD/CONTAINER; fs.ErrNotExist where there is none
	Events() ([]Event, error)                        // the oldest first
	RootOf(p Process) (dev, inode uint64, err error) // of p's mount namespace: what setns(2) would make the root of who enters it

	// OwnerOf is the user namespace that p's namespace of that kind belongs to: who has a capability there has it over p's. 0 is one above ours.
	OwnerOf(p Process, kind string) (inode uint64, err error)

	HostName(p Process) (string, error) // in p's UTS namespace
	Queues(p Process) (string, error)   // /proc/sysvipc/msg in p's ipc namespace: System V message queues
}

// A Snapshot is which process played a role when a step was passed, and in which namespaces.
type Snapshot struct {
	Process
	Namespaces map[string]uint64 `json:"namespaces"`
	Reaped     uint64            `json:"reaped,omitempty"` // cminflt of /proc/PID/stat: more than 0 once it has waited for a child
}

// A Judge decides on checks. It keeps which process a container's command is between two looks, since finding that out takes a look at every
// process; else it has no memory.
type Judge struct {
	Files    fs.FS // the machine's "/"
	World    World
	Lab      *Lab
	Language lang.Lang         // of what it says
	UID      int               // the learner's
	Self     int               // a PID outside of all containers: our own
	Answers  map[string]Answer // by name
	Passed   map[string]map[string]Snapshot

	commands map[Process]Process // of sandboxes
}

func (j *Judge) kernel() kernel { return kernel{j.Files} }

// Check decides on one check.
func (j *Judge) Check(c Check) Verdict {
	v := kinds()[c.Kind].probe(j, c.Args)
	v.Check, v.Says, v.Hint = c.String(), j.sentence(c), c.Hint
	if v.Lacks != nil && v.Lacks.Command != "" && v.Hint == "" {
		v.Hint = OtherCommand
	}
	for i, e := range v.Evidence {
		v.Evidence[i] = Evidence{e.Path, j.word(e.Got), j.word(e.Want)}
	}
	return v
}

// Step decides on all checks of a step. Where one does not pass, and the step has a diagnosis that fits, that one's hint is the first
// failed check's. Where an answer comes first, the others wait for it: what they are called would tell what is to be guessed.
func (j *Judge) Step(s *Step) []Verdict {
	if c := s.Checks[0]; c.Kind == "answer" {
		if _, answered := j.Answers[c.Args.one("name")]; !answered {
			return []Verdict{j.Check(c)}
		}
	}
	var verdicts []Verdict
	first := -1
	for i, c := range s.Checks {
		verdicts = append(verdicts, j.Check(c))
		if first < 0 && verdicts[i].Status != Pass {
			first = i
		}
	}
	if first < 0 {
		return verdicts
	}
	for _, d := range s.Diagnose {
		v := j.Check(d.When)
		if v.Status != Pass {
			continue
		}
		is := &verdicts[first]
		is.Hint, is.Lacks = d.Hint, nil
		for _, e := range v.Evidence {
			e.Want = "" // what the mistake looks like is not what the step asks for
			if !slices.ContainsFunc(is.Evidence, func(other Evidence) bool { return other.Path == e.Path && other.Got == e.Got }) {
				is.Evidence = append(is.Evidence, e)
			}
		}
		break
	}
	return verdicts
}

// Passes tells whether all do.
func Passes(verdicts []Verdict) bool {
	return len(verdicts) > 0 && !slices.ContainsFunc(verdicts, func(v Verdict) bool { return v.Status != Pass })
}

// Stable is for how long a step's checks have to hold: what is true for a moment while something starts or ends is not what the learner made.
const Stable = 120 * time.Millisecond

// Snapshots are who plays the roles of the lab just now; roles that nobody plays are not in it.
func (j *Judge) Snapshots() map[string]Snapshot {
	now := map[string]Snapshot{}
	roles := []string{}
	for role := range j.Lab.Roles {
		roles = append(roles, role)
	}
	for name, answer := range j.Answers {
		if answer.Process.PID != 0 {
			roles = append(roles, name)
		}
	}
	for _, role := range roles {
		p, refused := j.process(role)
		if refused != nil {
			continue
		}
		s := Snapshot{Process: p, Namespaces: map[string]uint64{}}
		if now, err := j.kernel().procStat(p.PID); err == nil {
			s.Reaped = now.reaped
		}
		for _, kind := range namespaceKinds {
			if ns, err := j.kernel().namespace(p, kind); err == nil {
				s.Namespaces[kind] = ns.ino
			}
		}
		now[role] = s
	}
	return now
}

// file is a file of a process for the learner's eyes. Ours has ended by then; theirs is in the same namespaces.
func (j *Judge) file(p Process, name string) string {
	if p.PID == j.Self {
		return "/proc/self/" + name
	}
	return p.file(name)
}

// process finds who plays a role. Where nobody does, it returns the verdict about that.
func (j *Judge) process(role string) (Process, *Verdict) {
	if role == Host {
		p, err := j.kernel().process(j.Self)
		if err != nil {
			return p, unreadable(err)
		}
		return p, nil
	}
	if answer, ok := j.Answers[role]; ok && answer.Process.PID != 0 {
		if !j.kernel().alive(answer.Process) {
			return Process{}, absent(Lack{Who: role, Status: "gone", Answer: true}, Evidence{answer.Process.file("stat"), "gone", "a living process"})
		}
		return answer.Process, nil
	}
	kind, name, _ := strings.Cut(j.Lab.Roles[role], ":")
	switch kind {
	case "container":
		return j.contained(name, false)
	case "supervisor":
		c, err := j.World.Container(name)
		if err == nil && j.kernel().alive(c.Supervisor) {
			return c.Supervisor, nil
		}
		return Process{}, absent(Lack{Who: name}, Evidence{"minipod ps", j.say("no supervisor of %s", name), "a living process"})
	case "pod":
		return j.contained("pod:"+name, false)
	case "sandbox":
		if pod, ok := strings.CutPrefix(name, "pod/"); ok {
			name = "pod:" + pod + "/POD"
		}
		return j.contained(name, true)
	}
	return Process{}, absent(Lack{Who: role, Answer: true}, Evidence{j.asking(role), "nothing yet", "a PID"})
}

func (j *Judge) contained(name string, sandbox bool) (Process, *Verdict) {
	shown := j.named(name)
	where := j.say("container %s", shown)
	c, err := j.World.Container(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Process{}, absent(Lack{Who: name}, Evidence{"minipod ps", j.say("no container %s in this lab's world", shown), where})
	case err != nil:
		return Process{}, unreadable(err)
	case c.Status == "running" && !j.kernel().alive(c.Sandbox): // what minipod wrote down is about to be true, or was
		return Process{}, absent(Lack{Who: name, Status: Changing}, Evidence{where, "starting or ending", "running"})
	case c.Sandbox.PID == 0 || !j.kernel().alive(c.Sandbox):
		return Process{}, absent(Lack{Who: name, Status: orElse(c.Status, "exited")}, Evidence{where, c.Status, "running"})
	case sandbox || !j.isSandbox(c.Sandbox):
		return c.Sandbox, nil
	}
	if p, ok := j.commands[c.Sandbox]; ok && j.kernel().alive(p) {
		return p, nil
	}
	children, _, err := j.kernel().children(c.Sandbox.PID)
	if err != nil {
		return Process{}, unreadable(err)
	}
	if len(children) == 0 || !j.kernel().alive(children[0]) {
		return Process{}, absent(Lack{Who: name, Status: Changing}, Evidence{where, "starting or ending", "running"})
	}
	if j.commands == nil {
		j.commands = map[Process]Process{}
	}
	j.commands[c.Sandbox] = children[0]
	return children[0], nil
}

// isSandbox tells a PID 1 of ours from a command that is PID 1 itself.
func (j *Judge) isSandbox(p Process) bool {
	text, err := j.kernel().read(p.file("cmdline"))
	return err == nil && strings.HasPrefix(text, "minipod\x00sandbox\x00")
}

func failed(evidence ...Evidence) *Verdict { return &Verdict{Status: Fail, Evidence: evidence} }

func absent(lack Lack, evidence Evidence) *Verdict {
	return &Verdict{Status: Fail, Evidence: []Evidence{evidence}, Lacks: &lack}
}

// unreadable is the verdict about what could not be read. A process that ended meanwhile is none any more: that is a fail.
func unreadable(err error) *Verdict {
	e := Evidence{Got: err.Error()}
	var at *fs.PathError
	if errors.As(err, &at) {
		e = Evidence{at.Path, at.Err.Error(), "readable"}
		if strings.HasPrefix(at.Path, "/proc/") && errors.Is(err, fs.ErrNotExist) {
			e.Got, e.Want = "gone", "a living process"
			return &Verdict{Status: Fail, Evidence: []Evidence{e}}
		}
	}
	return &Verdict{Status: Unknown, Evidence: []Evidence{e}}
}

// verdict passes where ok.
func verdict(ok bool, evidence ...Evidence) Verdict {
	if ok {
		return Verdict{Status: Pass, Evidence: evidence}
	}
	return Verdict{Status: Fail, Evidence: evidence}
}

// ErrNoPID is what FindProcess answers about what is no number.
var ErrNoPID = errors.New("no PID")

// FindProcess is the living process whose PID somebody typed.
func FindProcess(files fs.FS, text string) (Process, error) {
	pid, err := strconv.Atoi(text)
	if err != nil || pid < 1 {
		return Process{}, hint.Wrap(fmt.Errorf("%q: %w", text, ErrNoPID), "type the number that ps or lsns shows")
	}
	p, err := kernel{files}.process(pid)
	if err != nil {
		return p, hint.Wrap(fmt.Errorf("there is no process %d: %w", pid, err), "type the PID that it has on the host")
	}
	return p, nil
}

// asking is what the learner types to say who plays a role.
func (j *Judge) asking(role string) string {
	if j.Lab.asks(role) {
		return "minipod lab answer"
	}
	return "minipod lab answer " + role + "=PID"
}
