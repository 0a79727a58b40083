package stage

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
)

// restKinds are the namespaces that are the container's own, whatever it shares, by which what its command has left is found: one that
// leaves the mount namespace is still in the cgroup namespace.
var restKinds = [...]string{"mnt", "cgroup"}

// A rest is what the processes of a container are found by that lives among others': its namespaces of restKinds.
type rest [len(restKinds)]*os.File

func holdRest(pid int) (r rest, err error) {
	for i, kind := range restKinds {
		if r[i], err = os.Open("/proc/" + strconv.Itoa(pid) + "/ns/" + kind); err != nil {
			return r, errors.Join(err, r.close())
		}
	}
	return r, nil
}

// end kills whoever is in them.
func (r *rest) end() error {
	var texts []string
	for i, f := range r {
		if f == nil { // it did not come that far
			return nil
		}
		text, err := linux.NamespaceText(f)
		if err != nil {
			return err
		}
		ours, err := os.Readlink("/proc/self/ns/" + restKinds[i])
		if err != nil || ours == text {
			return errors.Join(fmt.Errorf("%s is our own: nobody is killed", text), err)
		}
		texts = append(texts, text)
	}
	return linux.KillInNamespaces(texts...)
}

func (r *rest) close() (err error) {
	for i, f := range r {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
		r[i] = nil
	}
	return err
}

// endRest kills what the command has left, before the sandbox itself ends. An error would have no reader, and the supervisor does the
// same (Sandbox.endRest) for a sandbox that was killed; this is for a supervisor that was.
func endRest(namespaces []string) { _ = linux.KillInNamespaces(namespaces...) }

func (p *Sandbox) holdRest() (err error) {
	const own = linux.NewNS | linux.NewCgroup
	if p.Namespaces&own != own { // else what is killed in the end were we and all of the user's
		return errors.New("what lives among others' processes needs a mount and a cgroup namespace of its own")
	}
	p.rest, err = holdRest(p.PID)
	return err
}

// endRest kills what a command left that shared a pid namespace: the kernel does so only with a PID 1. The sandbox is gone by now.
func (p *Sandbox) endRest() error {
	err := errors.Join(p.rest.end(), p.rest.close())
	if p.pidNamespace != nil {
		p.pidNamespace.Close()
		p.pidNamespace = nil
	}
	return err
}

// A Forlorn is a sandbox whose supervisor is about to be killed, held to see to its end, where it lives among others' processes.
type Forlorn struct {
	pid   int
	birth uint64
	rest  rest
}

// HoldForlorn takes hold of the sandbox pid that started at birth. nil: the kernel sees to its end, or it is gone.
func HoldForlorn(pid int, birth uint64) (*Forlorn, error) {
	if pid <= 0 {
		return nil, nil
	}
	ours, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return nil, err
	}
	theirs, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/pid")
	if err != nil || theirs != ours { // it is dead or PID 1 of its own
		return nil, nil //nolint:nilerr // see above
	}
	r, err := holdRest(pid)
	if !linux.Alive(pid, birth) { // it was another's number
		return nil, r.close()
	}
	return &Forlorn{pid, birth, r}, err
}

// End returns when nothing is left of it. It ends by itself, as a rule; one that is frozen or stopped does not.
func (f *Forlorn) End() error {
	const patience = 2 * time.Second
	for deadline := time.Now().Add(patience); linux.Alive(f.pid, f.birth) && time.Now().Before(deadline); {
		time.Sleep(2 * time.Millisecond)
	}
	err := linux.KillProcess(f.pid, f.birth, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		err = nil
	}
	return errors.Join(err, linux.AwaitEnd(f.pid, f.birth), f.rest.end(), f.rest.close())
}
