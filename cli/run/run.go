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
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/config"
	"codeberg.org/minipod/minipod/events"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/node"
	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/runtime/caps"
	"codeberg.org/minipod/minipod/runtime/idmap"
	"codeberg.org/minipod/minipod/runtime/spec"
	"codeberg.org/minipod/minipod/runtime/stage"
	"codeberg.org/minipod/minipod/state"
	"codeberg.org/minipod/minipod/supervisor"
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
func Main(args []string, parts *Parts) (status int, err error) { return start(args, parts, false) }

// Create is `minipod create`: Main without a start.
func Create(args []string, parts *Parts) (status int, err error) { return start(args, parts, true) }

func start(args []string, parts *Parts, create bool) (status int, err error) {
	f, err := flags.ParseRun(args)
	if errors.Is(err, flags.ErrHelp) {
		return 0, ErrCold
	}
	if err != nil {
		return hint.ExitRuntime, err
	}
	switch {
	case f.Pod != "" && create:
		return hint.ExitRuntime, hint.Wrap(errors.New("--pod: a pod's containers start as soon as they are in it"), "minipod run -d --pod "+f.Pod)
	case f.Pod != "":
		return 0, ErrCold // where pods are known
	}
	r := &run{Run: f, parts: parts, create: create}
	if err := r.refuseSilence(); err != nil {
		return hint.ExitRuntime, err
	}
	if err := r.prepare(); err != nil {
		return hint.ExitStatus(err, hint.ExitRuntime), err
	}
	status, err = r.container()
	if err != nil {
		status = hint.ExitStatus(err, hint.ExitRuntime)
	}
	return status, err
}

// refuseSilence refuses flags about a start that nobody is there to watch: it is later, or another process's.
func (r *run) refuseSilence() error {
	flag := "--explain"
	if r.Step {
		flag = "--step"
	}
	told := r.Explain != "" || r.Step
	switch {
	case r.create && told:
		return hint.Wrap(fmt.Errorf("%s: create starts nothing whose steps there were to see", flag), "minipod run "+flag+" makes a container and starts it")
	case r.create && r.Detach:
		return hint.Wrap(errors.New("--detach: create starts nothing that could go on in the background"), "minipod run --detach makes a container and starts it; minipod start starts one that create made")
	case r.create && !r.SigProxy:
		return hint.Wrap(errors.New("--sig-proxy: create starts nothing that signals could be handed on to"), "minipod start --attach --sig-proxy=false starts one that create made")
	case r.Detach && told:
		return hint.Wrap(fmt.Errorf("%s and --detach: what starts the container in the background has no terminal to tell of it", flag), "leave --detach out")
	}
	return nil
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
	limits     *specs.LinuxResources
	shared     shared
	share      runtime.Shares
	create     bool          // `minipod create`: it is not started
	names      []rootfs.File // of a pod's container: what it finds others by; nil: its own, or those of whom it shares a network with
	borrowed   []string      // of a pod's container: targets of mounts that are the sandbox's, and not the host's
	node       *node.Node    // where it is in the pods' network
	byDefault  bool          // nobody asked for the network that it has
}

// prepare finds out everything that needs no container yet.
func (r *run) prepare() (err error) {
	if r.dirs, err = state.Find(os.Getenv); err != nil {
		return err
	}
	if err := state.CheckWorld(os.Getenv); err != nil {
		return err
	}
	if r.caps, err = caps.Apply(caps.Default, r.CapAdd, r.CapDrop); err != nil {
		return err
	}
	if err := r.findSeccomp(); err != nil { // before anything is done: it may answer ErrCold
		return err
	}
	if err := r.checkWithout(); err != nil {
		return err
	}
	if r.limits, err = r.Resources.Spec(); err != nil {
		return err
	}
	if r.config, err = config.Load(r.dirs); err != nil {
		return err
	}
	if r.byDefault = r.Network == ""; r.byDefault {
		r.Network = r.config.Network.Default
	}
	if err := r.findShared(); err != nil {
		return err
	}
	if r.hostPID() {
		if r.caps, err = runtime.WithoutTracers(r.caps, r.CapAdd); err != nil {
			return err
		}
	}
	if err := r.checkPorts(); err != nil {
		return err
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(os.Stderr, "minipod: warning: %s\n", warning)
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

// container creates, starts, supervises and, with --rm, removes the container; with --detach it leaves a supervisor behind that does.
func (r *run) container() (status int, err error) {
	if err := r.connect(); err != nil {
		return 0, err
	}
	defer r.disconnect()
	if r.Detach || r.create {
		return 0, r.detached()
	}
	return r.foreground()
}

// foreground is the container's supervisor itself. The sandbox comes first of all: while it starts and gets its ids, the rest is
// found out.
func (r *run) foreground() (status int, err error) {
	defer lockThread()() // the sandbox dies with the thread that forked it
	record := r.record()
	s := &supervisor.Supervisor{Foreground: true, Bundle: r.bundle(), Node: r.node, Events: events.Open(r.dirs), Flatten: r.flatten}
	var stdio *supervisor.Stdio
	var sandbox *stage.Sandbox
	s.Narrate, s.Pause = r.narrator()
	// Nobody but we listen, nothing is limited and nothing shared: so nothing of the container is needed to fork its sandbox.
	quick := r.Remove && r.limits == nil && r.Resources.CgroupParent == "" && r.share == nil
	if quick {
		if stdio, sandbox, err = r.fork(s, &record); err != nil {
			return 0, err
		}
	}
	signals := listen()
	c, err := r.make(record)
	if err != nil {
		return 0, abandon(err, sandbox)
	}
	ran := false
	defer func() { err = errors.Join(err, finish(r.dirs, r.uids, r.gids, c, ran, s.Kept())) }()
	s.Container = c
	if err := errors.Join(r.describe(c, s.Bundle), s.Listen()); err != nil {
		return 0, abandon(err, sandbox)
	}
	s.Tell("create")
	defer func() { err = errors.Join(err, s.Close()); s.Recorded() }()
	written, swept := r.write(s, quick), make(chan error, 1)
	go func() { swept <- r.sweep() }() // while the sandbox starts, which mostly waits
	s.Started = func() { go forward(signals, s, r.SigProxy) }
	stay := leaveWithFolder(c)
	status, ran, err = s.Run(sandbox, stdio)
	stay()
	if e := written(s.Kept()); e != nil {
		fmt.Fprintf(os.Stderr, "minipod: warning: note how the container was made: %v\n", e)
	}
	if e := <-swept; e != nil {
		fmt.Fprintf(os.Stderr, "minipod: warning: clean up after a container that died: %v\n", e)
	}
	return status, err
}

// unnoticed is for how long nobody looks at a container that goes when it ends: most end sooner.
const unnoticed = 100 * time.Millisecond

// write writes the container's bundle beside the start; lazily where the container will probably be gone before anybody needs it. The
// function that it returns waits for that; needed says that somebody does need it.
func (r *run) write(s *supervisor.Supervisor, lazily bool) (finish func(needed bool) error) {
	written := make(chan error, 1)
	save := func() error {
		flags, err := json.Marshal(r.Run)
		if err != nil {
			return err
		}
		return s.SaveBundle(flags)
	}
	wait := time.Duration(0)
	if lazily {
		wait = unnoticed
	}
	timer := time.AfterFunc(wait, func() { written <- save() })
	return func(needed bool) error {
		if !timer.Stop() {
			return <-written
		}
		if needed {
			return save()
		}
		return nil
	}
}

// fork forks the sandbox.
func (r *run) fork(s *supervisor.Supervisor, record *runtime.Record) (*supervisor.Stdio, *stage.Sandbox, error) {
	stdio, err := s.OpenStdio()
	if err != nil {
		return nil, nil, err
	}
	sandbox, err := runtime.Fork(runtime.Nascent{
		Name: runtime.NameOf(*record), Namespaces: spec.Namespaces(r.hosts()...), Capabilities: r.caps,
		UIDs: r.uids, GIDs: r.gids, Stdio: stdio.Command, Narrate: s.Narrate, Parent: r.users(),
	})
	if err != nil {
		stdio.Started(err)
		return nil, nil, err
	}
	return stdio, sandbox, nil
}

func abandon(err error, sandbox *stage.Sandbox) error {
	if sandbox != nil {
		err = errors.Join(err, sandbox.Abandon())
	}
	return err
}

func (r *run) record() runtime.Record {
	labels := map[string]string{}
	for _, l := range r.Labels {
		name, value, _ := strings.Cut(l, "=")
		labels[name] = value
	}
	return runtime.Record{
		ID: linux.RandomID(), Name: r.Name, Image: r.Image, ImageID: string(r.image.ID), Remove: r.Remove, Labels: labels,
		Command: spec.Command(r.image.Config.Config, spec.Options{Args: r.Args, Entrypoint: r.Entrypoint}),
		Driver:  r.storage.Driver,
	}
}

// make writes the container down while the image's name is pinned: from then on the image is in use.
func (r *run) make(record runtime.Record) (*runtime.Container, error) {
	defer r.unpin()
	return runtime.Create(r.dirs, record)
}

// bundle is what is known of the container's bundle before there is a container.
func (r *run) bundle() *runtime.Bundle {
	return &runtime.Bundle{
		Spec:    &specs.Spec{Process: &specs.Process{Terminal: r.TTY}},
		Storage: r.storage, Fuse: r.fuse, Seccomp: r.seccomp, UIDs: r.uids, GIDs: r.gids, Reaper: r.Init,
		Log: runtime.LogOptions(r.Log), Without: r.Without, Parent: r.Resources.CgroupParent, Stdin: r.Interactive, Restart: runtime.RestartPolicy(r.Restart), StopSignal: r.stopSignal(), StopTimeout: r.StopTimeout,
		Image: r.image.Config.Config, Attach: r.attachment(), Names: r.Network == flags.PodNetwork,
	}
}

// describe completes the bundle.
func (r *run) describe(c *runtime.Container, b *runtime.Bundle) error {
	mounts, err := r.mounts(c)
	if err != nil {
		return err
	}
	limits, err := r.rlimits()
	if err != nil {
		return err
	}
	hostname := cmp.Or(r.Hostname, r.sharedHostname())
	if b.Attach != nil {
		b.Attach.Hostname = hostname // which follows from the id, where it is empty
	}
	if hostname == "" && r.Network == "host" { // who shares the host's network answers to its name, as in docker
		if hostname, err = os.Hostname(); err != nil {
			return err
		}
	}
	b.Spec, err = spec.Build(r.image.Config.Config, spec.Options{
		ID: c.ID, Hostname: hostname,
		Args: r.Args, Entrypoint: r.Entrypoint, Env: r.Env, Workdir: r.Workdir, User: r.User, Terminal: r.TTY,
		Mounts: mounts, ShmSize: r.ShmSize, NoShm: r.IPC == "none", ReadOnly: r.ReadOnly,
		HostNetwork: r.hostNetwork(), HostPID: r.hostPID(), HostIPC: r.hostIPC(), HostQueues: hostQueues(),
		Capabilities: r.caps, NoNewPrivileges: r.NoNewPrivileges,
		Rlimits: limits, OOMScoreAdj: r.OOMScoreAdj, Umask: r.Umask,
		UIDs: r.uids, GIDs: r.gids,
		Labels: c.Labels,
	})
	if err != nil {
		return err
	}
	b.Spec.Linux.Resources = r.limits
	if b.Layers, err = r.store.LayerDirs(r.image); err != nil {
		return err
	}
	b.Fill = r.fill
	return r.shareWith(b)
}

// stopSignal is the user's, the image's or SIGTERM.
func (r *run) stopSignal() int {
	if r.StopSignal != 0 {
		return r.StopSignal
	}
	if sig, err := flags.ParseSignal(r.image.Config.Config.StopSignal); err == nil {
		return sig
	}
	return int(syscall.SIGTERM)
}
