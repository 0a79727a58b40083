// Package run is `minipod run`: from the command line to the command's exit status.
//
// It is a package of its own, and a light one, because it starts before the rest of the CLI does (see init.go). What it
// needs from the heavy packages it gets otherwise: a missing image is pulled by a second minipod, inside the user's id
// range; a seccomp filter comes compiled from a cache, and where it is not there yet, Main answers ErrCold and is called
// again from the CLI proper, with Parts that can compile it. Nothing has been done by then.
//
// The foreground process stays as the container's supervisor: it holds the container's lock, forwards signals, owns the
// terminal. When it dies, by kill -9 even, the kernel kills PID 1 and with it the sandbox.
package run

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/config"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/runtime/caps"
	"codeberg.org/minipod/minipod/runtime/idmap"
	"codeberg.org/minipod/minipod/runtime/spec"
	"codeberg.org/minipod/minipod/runtime/stage"
	"codeberg.org/minipod/minipod/state"
)

// ErrCold asks for another call, with Parts. Nothing was done.
var ErrCold = errors.New("not possible before main")

// Parts are what only the whole binary can do.
type Parts struct {
	// Compile returns the seccomp filter of a container with these capabilities; profile is "" for the default one, or
	// a file's path.
	Compile func(profile string, set caps.Set) ([]byte, error)
}

// Main runs `minipod run` with the arguments after the verb, and returns the exit status for the process: the command's, or
// 125 to 127 with an error that says why there was no command. parts is nil before main.
func Main(args []string, parts *Parts) (status int, err error) {
	f, err := flags.ParseRun(args)
	if errors.Is(err, flags.ErrHelp) {
		return 0, ErrCold
	}
	if err != nil {
		return hint.ExitRuntime, err
	}
	r := &run{Run: f, parts: parts}
	if err := r.prepare(); err != nil {
		return hint.ExitStatus(err, hint.ExitRuntime), err
	}
	status, err = r.container()
	if err != nil {
		status = hint.ExitStatus(err, hint.ExitRuntime)
	}
	return status, err
}

// run is one `minipod run`.
type run struct {
	*flags.Run
	parts      *Parts
	dirs       state.Dirs
	config     *config.Config
	uids, gids idmap.Map
	caps       caps.Set
	seccomp    []byte
	storage    rootfs.Choice
	fuse       string
	store      *store.Store
	image      *store.Image
	unpin      func() // lets others change the store's names again
	fill       []string
}

// prepare finds out everything that needs no container yet.
func (r *run) prepare() (err error) {
	if r.dirs, err = state.Find(os.Getenv); err != nil {
		return err
	}
	if r.caps, err = caps.Apply(caps.Default, r.CapAdd, r.CapDrop); err != nil {
		return err
	}
	if err := r.findSeccomp(); err != nil { // before anything is done: it may answer ErrCold
		return err
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(os.Stderr, "minipod: warning: %s\n", warning)
	}
	if r.config, err = config.Load(r.dirs); err != nil {
		return err
	}
	var warning error
	if r.uids, r.gids, warning, err = idmap.ForUser(os.Geteuid(), os.Getegid()); err != nil {
		return err
	}
	if warning != nil {
		fmt.Fprintf(os.Stderr, "minipod: warning: %v\n", warning)
		if advice := hint.Of(warning); advice != "" {
			fmt.Fprintf(os.Stderr, "hint: %s\n", advice)
		}
	}
	if err := state.Make(r.dirs.Data); err != nil {
		return hint.Wrap(fmt.Errorf("make the data folder: %w", err), "make it writable, or name another with MINIPOD_ROOT")
	}
	if r.store, err = store.Open(r.dirs); err != nil {
		return err
	}
	if err := r.chooseStorage(); err != nil {
		return err
	}
	return r.findImage()
}

// container creates, starts, supervises and, with --rm, removes the container. The sandbox comes first of all: while it
// starts and gets its ids, the rest is found out.
func (r *run) container() (status int, err error) {
	record := r.record()
	io, err := r.openStdio()
	if err != nil {
		return 0, err
	}
	narrate, pause := r.narrator()
	sandbox, err := runtime.Fork(runtime.Nascent{
		Name: runtime.NameOf(record), Namespaces: spec.Namespaces(r.Network == "host"), Capabilities: r.caps,
		UIDs: r.uids, GIDs: r.gids, Stdio: io.command, Narrate: narrate,
	})
	io.started(err)
	if err != nil {
		return 0, err
	}
	signals := listen()
	c, err := r.create(record)
	if err != nil {
		return 0, errors.Join(err, sandbox.Abandon())
	}
	ran := false
	defer func() { err = errors.Join(err, r.finish(c, status, ran)) }()
	config, err := r.startConfig(c)
	if err != nil {
		return 0, errors.Join(err, sandbox.Abandon())
	}
	config.Sandbox, config.Narrate, config.Pause = sandbox, narrate, pause
	swept := make(chan error, 1)
	go func() { swept <- r.sweep() }() // while the sandbox starts, which mostly waits
	if sandbox, err = c.Start(config); err == nil {
		ran = true
		saved := make(chan error, 1)
		go func() { saved <- c.Save() }() // for ps; a container without its PID there is one that has just started
		status, err = r.supervise(sandbox, io, signals)
		if e := <-saved; e != nil { // and not before: or its file would appear in a folder that is being removed
			fmt.Fprintf(os.Stderr, "minipod: warning: the container ran, and ps did not know: %v\n", e)
		}
	}
	if e := <-swept; e != nil {
		fmt.Fprintf(os.Stderr, "minipod: warning: clean up after a container that died: %v\n", e)
	}
	return status, err
}

func (r *run) record() runtime.Record {
	labels := map[string]string{}
	for _, l := range r.Labels {
		name, value, _ := strings.Cut(l, "=")
		labels[name] = value
	}
	return runtime.Record{
		ID: linux.RandomID(), Name: r.Name, Image: r.Image, ImageID: string(r.image.ID), Command: r.Args, Remove: r.Remove, Labels: labels,
		Driver: r.storage.Driver,
	}
}

// create writes the container down while the image's name is pinned: from then on the image is in use.
func (r *run) create(record runtime.Record) (*runtime.Container, error) {
	defer r.unpin()
	return runtime.Create(r.dirs, record)
}

func (r *run) startConfig(c *runtime.Container) (*runtime.Config, error) {
	mounts, err := r.mounts(c)
	if err != nil {
		return nil, err
	}
	limits, err := r.rlimits()
	if err != nil {
		return nil, err
	}
	hostname := r.Hostname
	if hostname == "" && r.Network == "host" { // who shares the host's network answers to its name, as in docker
		if hostname, err = os.Hostname(); err != nil {
			return nil, err
		}
	}
	s, err := spec.Build(r.image.Config.Config, spec.Options{
		ID: c.ID, Hostname: hostname,
		Args: r.Args, Entrypoint: r.Entrypoint, Env: r.Env, Workdir: r.Workdir, User: r.User, Terminal: r.TTY,
		Mounts: mounts, ShmSize: r.ShmSize, ReadOnly: r.ReadOnly,
		HostNetwork:  r.Network == "host",
		Capabilities: r.caps, NoNewPrivileges: r.NoNewPrivileges,
		Rlimits: limits, OOMScoreAdj: r.OOMScoreAdj, Umask: r.Umask,
		UIDs: r.uids, GIDs: r.gids,
		Labels: c.Labels,
	})
	if err != nil {
		return nil, err
	}
	layers, err := r.store.LayerDirs(r.image)
	if err != nil {
		return nil, err
	}
	files, err := r.files(s.Hostname)
	if err != nil {
		return nil, err
	}
	return &runtime.Config{
		Spec: s, Layers: layers, Storage: r.storage, Fuse: r.fuse, Flatten: r.flatten, Seccomp: r.seccomp, Files: files, Fill: r.fill,
		UIDs: r.uids, GIDs: r.gids, Reaper: r.Init,
	}, nil
}

// supervise waits for the end, and hands on what comes meanwhile.
func (r *run) supervise(sandbox *stage.Sandbox, io *stdio, signals chan os.Signal) (int, error) {
	if err := io.attach(sandbox); err != nil {
		return hint.ExitRuntime, errors.Join(err, sandbox.Signal(killSignal), wait(sandbox))
	}
	go forward(signals, sandbox, io, r.SigProxy)
	status, err := sandbox.Wait()
	return status, errors.Join(err, io.finish())
}

func wait(sandbox *stage.Sandbox) error {
	_, err := sandbox.Wait()
	return err
}
