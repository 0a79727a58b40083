package flags

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

// A RestartPolicy is docker's --restart.
type RestartPolicy struct {
	Name    string // "", no, always, on-failure or unless-stopped
	Maximum int    // for on-failure: 0 is no bound
}

// defaultStopTimeout is docker's, in seconds.
const defaultStopTimeout = 10

func (r *Run) setRestart(value string) error {
	name, count, hasCount := strings.Cut(value, ":")
	if err := oneOf(&r.Restart.Name, "no", "always", "unless-stopped", "on-failure")(name); err != nil {
		return err
	}
	r.Restart.Maximum = 0
	if !hasCount {
		return nil
	}
	n, err := strconv.Atoi(count)
	if name != "on-failure" || err != nil || n < 0 {
		return hint.Wrap(fmt.Errorf("invalid restart policy %q", value), "a count goes with on-failure only: on-failure:5")
	}
	r.Restart.Maximum = n
	return nil
}

func (r *Run) setStopSignal(value string) error {
	sig, err := ParseSignal(value)
	r.StopSignal = sig
	return err
}

func (r *Run) setStopTimeout(value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < -1 {
		return hint.Wrap(fmt.Errorf("invalid value %s", value), "use a number of seconds, or -1 to wait for ever")
	}
	r.StopTimeout = n
	return nil
}

// ParseSignal reads a signal as docker does: a number, or a name with or without SIG.
func ParseSignal(text string) (int, error) {
	if n, err := strconv.Atoi(text); err == nil {
		if n < 1 || n > 64 {
			return 0, hint.Wrap(fmt.Errorf("invalid signal: %s", text), "use a number from 1 to 64, or a name: TERM, KILL, HUP")
		}
		return n, nil
	}
	name := strings.ToUpper(text)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if n, ok := linux.SignalNumber(name); ok {
		return n, nil
	}
	return 0, hint.Wrap(fmt.Errorf("invalid signal: %s", text), "use a number from 1 to 64, or a name: TERM, KILL, HUP")
}

// Exec is the command line of `minipod exec`.
type Exec struct {
	Container string
	Args      []string

	Interactive, TTY, Detach, Privileged bool

	Env           []string // NAME=VALUE
	Workdir, User string

	env, envFiles []string
}

// ParseExec reads the arguments that follow "exec". --help is ErrHelp.
func ParseExec(arguments []string) (*Exec, error) {
	e := &Exec{}
	settings, rest, err := Parse(ExecFlags(), arguments)
	if errors.Is(err, ErrHelp) {
		return nil, err
	}
	if err == nil && len(rest) < 2 {
		err = errors.New("exec needs a container and a command")
	}
	if err == nil {
		e.Container, e.Args = rest[0], rest[1:]
		err = e.assign(settings)
	}
	if err == nil {
		e.Env, err = variables(e.envFiles, e.env)
	}
	if err == nil {
		return e, nil
	}
	if hint.Of(err) == "" {
		err = hint.Wrap(err, "run `minipod exec --help`")
	}
	return nil, hint.Exit(err, hint.ExitRuntime)
}

func (e *Exec) assign(settings []Setting) error {
	for _, s := range settings {
		target := map[string]any{
			"detach": &e.Detach, "env": &e.env, "env-file": &e.envFiles, "interactive": &e.Interactive, "privileged": &e.Privileged,
			"tty": &e.TTY, "user": &e.User, "workdir": &e.Workdir,
		}[s.Flag.Name]
		if err := assign(target, s.Value); err != nil {
			return fmt.Errorf("--%s: %w", s.Flag.Name, err)
		}
	}
	return nil
}

// ExecFlags is the table of `minipod exec`, sorted by name.
func ExecFlags() []Flag {
	return []Flag{
		{Name: "detach", Short: "d", Kind: Bool, Usage: "let it run, and do not wait for its end"},
		{Name: "env", Short: "e", Kind: Strings, Value: "NAME[=VALUE]", Usage: "set a variable, or hand yours on"},
		{Name: "env-file", Kind: Strings, Value: "FILE", Usage: "set the variables of a file, one a line"},
		{Name: "interactive", Short: "i", Kind: Bool, Usage: "hand stdin to the command"},
		{Name: "privileged", Kind: Bool, Usage: "with every capability that the container's user namespace has"},
		{Name: "tty", Short: "t", Kind: Bool, Usage: "give the command a terminal"},
		{Name: "user", Short: "u", Kind: String, Value: "USER[:GROUP]", Usage: "run as this user of the container, name or number"},
		{Name: "workdir", Short: "w", Kind: String, Value: "FOLDER", Usage: "the command's working folder"},
	}
}

// Update is the command line of `minipod update`.
type Update struct {
	Containers []string
	Resources  Resources
	Restart    RestartPolicy // Name is "" where it stays
	Warnings   []string
}

// ParseUpdate reads the arguments that follow "update". --help is ErrHelp.
func ParseUpdate(arguments []string) (*Update, error) {
	settings, rest, err := Parse(UpdateFlags(), arguments)
	if errors.Is(err, ErrHelp) {
		return nil, err
	}
	u, run := &Update{Containers: rest}, &Run{}
	switch {
	case err != nil:
	case len(rest) == 0:
		err = errors.New("update needs a container")
	case len(settings) == 0:
		err = errors.New("you must provide one or more flags when using this command")
	default:
		for _, s := range settings {
			if s.Flag.Name == "restart" {
				err = run.setRestart(s.Value)
			} else {
				err = u.Resources.Set(s.Flag.Name, s.Value)
			}
			if err != nil {
				err = fmt.Errorf("--%s: %w", s.Flag.Name, err)
				break
			}
		}
		u.Restart = run.Restart
	}
	if err == nil {
		u.Warnings, err = u.Resources.Check()
	}
	if err == nil {
		return u, nil
	}
	if hint.Of(err) == "" {
		err = hint.Wrap(err, "run `minipod update --help`")
	}
	return nil, hint.Exit(err, hint.ExitRuntime)
}

// UpdateFlags is the table of `minipod update`: the limits, but for the group that they are in, and the restart policy.
func UpdateFlags() []Flag {
	table := slices.DeleteFunc(ResourceFlags(), func(f Flag) bool { return f.Name == "cgroup-parent" })
	return append(table, Flag{Name: "restart", Kind: String, Value: "POLICY", Usage: "start it again when it ends: no, always, unless-stopped, on-failure[:N]"})
}
