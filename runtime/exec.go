package runtime

import (
	"os"
	"strings"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/runtime/stage"
)

// ExecOptions are the settings of another command in a container.
type ExecOptions struct {
	Args       []string
	Env        []string // NAME=VALUE, over the container's own
	Workdir    string   // "" for the container's
	User       string   // "" for the container's
	Terminal   bool
	Stdio      [3]*os.File // where Terminal is false
	Cgroup     *os.File    // the container's group; nil: ours
	Privileged bool        // every capability that the container's user namespace has, or may have among the host's processes
}

// Exec runs a command in a container, held by Sandbox.Hold, that this process supervises, with the container's own limits, and returns when it executes. With
// a terminal it returns its master, too. The caller waits for the child and closes the terminal.
func Exec(inside *stage.Held, b *Bundle, o ExecOptions) (*linux.Child, *os.File, error) {
	plan, err := planOf(b.Spec, b.UIDs, b.GIDs)
	if err != nil {
		return nil, nil, err
	}
	p := plan.Process
	p.Args, p.Seccomp = o.Args, b.Seccomp
	p.Env = override(p.Env, o.Env)
	if o.Terminal {
		p.Env = override(p.Env, []string{"TERM=xterm"})
	}
	if o.Workdir != "" {
		p.Cwd = o.Workdir
	}
	if o.User != "" {
		p.User = o.User
	}
	if o.Privileged {
		p.Bounding, p.Capabilities = ^uint64(0), ^uint64(0)>>(63-linux.LastCapability())
	}
	if plan.HostPIDs {
		p.Bounding, p.Capabilities = p.Bounding&^uint64(hostTracers), p.Capabilities&^uint64(hostTracers)
	}
	return stage.Enter(stage.Entry{
		Sandbox: inside, Cgroup: o.Cgroup, Process: p, Stdio: o.Stdio, Terminal: o.Terminal,
		Sealed: p.Bounding&(1<<capSysAdmin) != 0 || plan.HostPIDs,
	})
}

// override sets variables over those of env.
func override(env, over []string) []string {
	env = append([]string{}, env...)
next:
	for _, variable := range over {
		name, _, _ := strings.Cut(variable, "=")
		for i, old := range env {
			if oldName, _, _ := strings.Cut(old, "="); oldName == name {
				env[i] = variable
				continue next
			}
		}
		env = append(env, variable)
	}
	return env
}
