package cli

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/lang"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/view"
)

// What the verbs share that show what the kernel has: ns, cgroups, ps --tree and top.

// look takes a snapshot of all containers that run, since they may share things with those that were named. ids are the
// named ones', each of which must run; without names there are none.
func (a *app) look(names []string) (s *view.Snapshot, ids []string, err error) {
	for _, name := range names {
		r, err := a.running(name)
		if err != nil {
			return nil, nil, err
		}
		ids = append(ids, r.ID)
	}
	records, err := runtime.List(a.dirs)
	if err != nil {
		return nil, nil, err
	}
	s, err = view.Read(view.Kernel(), viewed(records))
	return s, ids, err
}

// viewed are the records of containers that have processes, the oldest first.
func viewed(records []runtime.Record) []view.Container {
	var list []view.Container
	for i := len(records) - 1; i >= 0; i-- {
		if r := records[i]; r.PID != 0 {
			list = append(list, view.Container{ID: r.ID, Name: shownName(&r), PID: r.PID, Birth: r.Birth})
		}
	}
	return list
}

// running returns the record of a container that must run.
func (a *app) running(name string) (runtime.Record, error) {
	r, err := runtime.Find(a.dirs, name)
	if err == nil && r.PID == 0 {
		err = hint.Wrap(fmt.Errorf("container %s is not running: it is %s", r.Name, r.Status), "list those that are: minipod ps")
	}
	return r, err
}

// forPeople tells whether a listing is printed for people to read, who are then told how to see the same by hand.
func forPeople(c *urfave.Context) bool {
	output := c.String("output")
	return c.String("format") == "" && (output == "" || output == "table" || output == "wide") && !c.Bool("quiet")
}

// byHand ends a view with the commands that show the same.
func (a *app) byHand(commands ...string) {
	fmt.Fprintf(a.out, "\n%s\n", language().Say("by hand: %s", strings.Join(commands, language().Say("   or: "))))
}

// language is that of the person who reads.
func language() lang.Lang { return lang.Find(os.Getenv) }

// examplePID is a process to look at by hand: PID 1 of the first container in question.
func examplePID(s *view.Snapshot, ids []string) string {
	for _, c := range s.Containers {
		if len(ids) == 0 || c.ID == ids[0] {
			return strconv.Itoa(c.PID)
		}
	}
	return "self"
}

// whoami is the user as ps names them.
func whoami() string {
	id := strconv.Itoa(os.Geteuid())
	u, err := user.LookupId(id)
	if err != nil {
		return "uid " + id
	}
	return u.Username + " (uid " + id + ")"
}

// exclusive refuses flags that ask for two forms of one answer.
func exclusive(c *urfave.Context, one string, others ...string) error {
	for _, other := range others {
		if c.IsSet(one) && c.IsSet(other) {
			return badUsage(errors.New("--"+one+" and --"+other+" exclude each other"), "run `"+c.Command.HelpName+" --help`")
		}
	}
	return nil
}

// shownName is what the views call a container: a pod's is its pod's name and its own, since its whole name is 100 characters.
func shownName(r *runtime.Record) string {
	if name := r.Labels["io.kubernetes.pod.name"]; name != "" {
		return name + "/" + r.Labels["io.kubernetes.container.name"]
	}
	return r.Name
}
