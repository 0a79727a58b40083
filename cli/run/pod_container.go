package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/kube/event"
	"codeberg.org/minipod/minipod/logs"
	"codeberg.org/minipod/minipod/pod"
	"codeberg.org/minipod/minipod/pod/volume"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/runtime/caps"
	"codeberg.org/minipod/minipod/runtime/stage"
	"codeberg.org/minipod/minipod/state"
)

// The log of a pod's container is kept as the kubelet keeps it: five files of 10 MiB.
const (
	podLogSize  = 10 << 20
	podLogFiles = 5
)

// StartContainer pulls the image where that is wanted, makes the container and returns when its command runs.
func (h *podHost) StartContainer(ctx context.Context, q pod.StartRequest) (pod.Process, error) {
	h.mu.Lock()
	box := h.box
	h.mu.Unlock()
	if box == nil {
		return nil, failuref(pod.CreateContainerError, "the sandbox has just ended")
	}
	s := &podStart{StartRequest: q, h: h, box: box, beneath: map[string]string{}}
	process, err := s.start(ctx)
	var why *pod.StartFailure
	switch {
	case !errors.As(err, &why) || ctx.Err() != nil: // nobody wanted it any more
	case why.Reason == pod.ErrImageNeverPull || why.Reason == pod.ErrImagePull:
		q.Tell(event.Warning, "Failed", "Error: %s", why.Reason)
	default:
		q.Tell(event.Warning, "Failed", "Error: %s", why.Message)
	}
	if err != nil {
		return nil, err
	}
	return process, nil
}

// A podStart is one start of a container.
type podStart struct {
	pod.StartRequest

	h   *podHost
	box *podSandbox
	r   *run

	beneath map[string]string // by target: the volumes' subPaths
	groups  []uint32          // supplementary
	strict  bool              // and none of the image's /etc/group
}

func (s *podStart) start(ctx context.Context) (*podProcess, error) {
	c := s.Container
	f := &flags.Run{Image: c.Image, Init: true, StopTimeout: -1, TTY: c.TTY, Interactive: c.Stdin}
	s.r = s.h.run(f)
	if err := s.pull(ctx); err != nil {
		return nil, err
	}
	defer s.r.unpin()
	if err := s.fill(f); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, failure(pod.CreateContainerError, err)
	}
	container, b, err := s.create()
	if err != nil {
		return nil, failure(pod.CreateContainerError, err)
	}
	s.Tell(event.Normal, "Created", "Created container: %s", c.Name)
	stopSignal, imageID := syscall.Signal(b.StopSignal), string(s.r.image.ID)
	hosted, err := s.h.host(container, b)
	if err != nil {
		return nil, failure(pod.RunContainerError, err)
	}
	s.Tell(event.Normal, "Started", "Started container %s", c.Name)
	s.h.forget(c.Name, s.Attempt-1)
	return &podProcess{hosted: hosted, start: s, imageID: imageID, stopSignal: stopSignal}, nil
}

// forget removes what an attempt before that one has left: the last two are kept, for `logs` and `logs --previous`.
func (h *podHost) forget(container string, before int) {
	if before <= 0 {
		return
	}
	list, err := h.containers()
	if err != nil {
		return
	}
	for _, r := range list {
		if r.Labels[labelContainer] == container && AttemptOf(r) < before {
			_ = h.removeContainer(r) // what is left is the pod's end's to remove
		}
	}
}

// fill turns the pod's words into docker's.
func (s *podStart) fill(f *flags.Run) error {
	c, p := s.Container, s.Pod
	f.Name = s.h.containerName(c.Name, s.Attempt)
	f.Network, f.IPC, f.UTS = flags.ContainerMode(s.box.id), flags.ContainerMode(s.box.id), flags.ContainerMode(s.box.id)
	if p.Spec.HostNetwork {
		f.Network = "host"
	}
	if p.Spec.HostIPC {
		f.IPC = "host"
	}
	if p.Spec.HostPID {
		f.PID = "host"
	}
	if share := p.Spec.ShareProcessNamespace; share != nil && *share {
		f.PID = flags.ContainerMode(s.box.id)
	}
	s.r.names = s.box.files
	env, err := pod.NewEnvironment(p, c, s.facts(), s.h)
	if err != nil {
		return failure(pod.CreateContainerConfigError, err)
	}
	f.Env = env.List()
	if err := s.mount(f, env); err != nil {
		return err
	}
	f.Log = flags.Log{MaxSize: podLogSize, MaxFile: podLogFiles}
	if c.Lifecycle != nil && c.Lifecycle.StopSignal != nil {
		if f.StopSignal, err = flags.ParseSignal(*c.Lifecycle.StopSignal); err != nil {
			return failure(pod.CreateContainerConfigError, err)
		}
	}
	f.Workdir = c.WorkingDir
	words := expand(env, c.Command)
	f.Args = expand(env, c.Args)
	if len(words) > 0 {
		f.Entrypoint, f.Args = &words[0], append(words[1:], f.Args...)
	}
	if err := s.secure(f); err != nil {
		return err
	}
	if s.r.caps, err = capabilitiesOf(c); err != nil {
		return failure(pod.CreateContainerConfigError, err)
	}
	if p.Spec.HostPID {
		if s.r.caps, err = runtime.WithoutTracers(s.r.caps, addedCapabilities(c)); err != nil {
			return failure(pod.CreateContainerConfigError, err)
		}
	}
	if err := s.r.findSeccompOf(s.h); err != nil {
		return failure(pod.CreateContainerError, err)
	}
	s.r.limits = containerLimits(p, c)
	f.OOMScoreAdj = oomScoreOf(p, c, s.facts().Memory)
	if err := s.r.findShared(); err != nil {
		return failure(pod.CreateContainerError, err)
	}
	return nil
}

// capabilitiesOf are those that a container asks for.
func capabilitiesOf(c *pod.Container) (caps.Set, error) {
	context := c.SecurityContext
	if context == nil {
		return caps.Default, nil
	}
	if context.Privileged != nil && *context.Privileged {
		return caps.Apply(caps.Default, []string{"ALL"}, nil)
	}
	if context.Capabilities == nil {
		return caps.Default, nil
	}
	return caps.Apply(caps.Default, context.Capabilities.Add, context.Capabilities.Drop)
}

// addedCapabilities are those that it names.
func addedCapabilities(c *pod.Container) []string {
	if c.SecurityContext == nil || c.SecurityContext.Capabilities == nil {
		return nil
	}
	return c.SecurityContext.Capabilities.Add
}

func expand(env *pod.Environment, words []string) (list []string) {
	for _, w := range words {
		list = append(list, env.Expand(w))
	}
	return list
}

// mount hands the volumes on.
func (s *podStart) mount(f *flags.Run, env *pod.Environment) error {
	mounts, err := volume.Mounts(s.Container, s.box.volumes, s.box.root, env)
	if err != nil {
		return failure(pod.CreateContainerConfigError, err)
	}
	for _, m := range mounts {
		one := flags.Mount{Type: "bind", Source: m.Dir, Target: m.Target, Options: m.Options}
		switch {
		case m.Memory:
			s.r.borrowed = append(s.r.borrowed, m.Target)
		case m.Claim != "":
			one.Type, one.Source, one.NoCopy = "volume", m.Claim, true
		}
		if m.Beneath != "" {
			s.beneath[m.Target] = m.Beneath
		}
		f.Mounts = append(f.Mounts, one)
	}
	return nil
}

// create makes the container, ready to start.
func (s *podStart) create() (*runtime.Container, *runtime.Bundle, error) {
	r := s.r
	record := r.record()
	record.Hosted = true
	record.Labels = s.h.labels(s.Pod, s.Container.Name, s.Attempt)
	if err := s.removeEarlier(record.Name); err != nil {
		return nil, nil, err
	}
	c, err := r.make(record)
	if err != nil {
		return nil, nil, err
	}
	b := r.bundle()
	err = r.describe(c, b)
	if err == nil {
		err = s.complete(b)
	}
	if err == nil {
		b.Flags, err = json.Marshal(r.Run)
	}
	if err == nil {
		err = errors.Join(c.SaveBundle(b), markReady(c))
	}
	if err != nil {
		return nil, nil, errors.Join(err, finish(s.h.dirs, s.h.uids, s.h.gids, c, false, false))
	}
	return c, b, nil
}

// removeEarlier removes a container of that name, which a supervisor left that was killed.
func (s *podStart) removeEarlier(name string) error {
	list, err := s.h.containers()
	if err != nil {
		return err
	}
	for _, r := range list {
		if r.Name == name {
			return s.h.removeContainer(r)
		}
	}
	return nil
}

// complete adds to the bundle what docker has no words for.
func (s *podStart) complete(b *runtime.Bundle) error {
	b.Borrow, b.Beneath = s.r.borrowed, s.beneath
	b.Spec.Process.User.AdditionalGids = s.groups
	b.ImageGroups = stage.GroupsMerged
	if s.strict {
		b.ImageGroups = stage.GroupsStrict
	}
	name := s.messageFile()
	if err := state.Make(filepath.Dir(name)); err != nil {
		return err
	}
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		return err
	}
	if err := os.Chmod(name, 0o666); err != nil { // for whoever the command runs as; the folder is ours alone
		return err
	}
	target := s.Container.TerminationMessagePath
	if target == "" {
		target = "/dev/termination-log"
	}
	b.Spec.Mounts = append(b.Spec.Mounts, specs.Mount{Type: "bind", Source: name, Destination: filepath.Clean("/" + target), Options: []string{"bind", "rprivate", "rw"}})
	return nil
}

// messageFile is where the container writes why it ends.
func (s *podStart) messageFile() string {
	return filepath.Join(s.h.dirs.Data, "pods", s.h.pod.UID, "messages", s.Container.Name, strconv.Itoa(s.Attempt))
}

// A podProcess is a container that runs.
type podProcess struct {
	*hosted

	start      *podStart
	imageID    string
	stopSignal syscall.Signal
}

func (p *podProcess) ID() string                      { return p.id }
func (p *podProcess) ImageID() string                 { return p.imageID }
func (p *podProcess) StopSignal() syscall.Signal      { return p.stopSignal }
func (p *podProcess) Signal(sig syscall.Signal) error { return p.supervisor.Signal(sig) }

// Result tells how it ended.
func (p *podProcess) Result() pod.Terminated {
	r := &p.record
	t := pod.Terminated{ExitCode: int32(r.ExitCode), Reason: pod.Completed, StartedAt: r.Started, FinishedAt: r.Finished}
	switch {
	case r.OOMKilled:
		t.Reason = pod.OOMKilled
	case r.ExitCode != 0:
		t.Reason = pod.Error
	}
	t.Message = p.message(t.ExitCode != 0)
	return t
}

// The kubelet's bounds of a termination message.
const (
	maxMessage      = 4096
	maxLogMessage   = 2048
	maxMessageLines = 80
)

// message is what it left at its terminationMessagePath, or the end of its log. Nothing stays of the former on disk: it may be a gigabyte, and
// the next attempt leaves another.
func (p *podProcess) message(failed bool) string {
	text := ""
	if f, err := os.Open(p.start.messageFile()); err == nil {
		data, _ := io.ReadAll(io.LimitReader(f, maxMessage))
		f.Close()
		_ = os.Remove(p.start.messageFile()) // the pod's end removes what is left
		text = string(data)
	}
	if text == "" && failed && p.start.Container.TerminationMessagePolicy == "FallbackToLogsOnError" {
		var out bytes.Buffer
		name := filepath.Join(p.start.h.dirs.Containers(), p.id, logs.FileName)
		if err := logs.Read(context.Background(), name, logs.ReadOptions{Tail: maxMessageLines}, &out, &out); err == nil {
			data := out.Bytes()
			text = string(data[max(0, len(data)-maxLogMessage):])
		}
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// maxOutput is how much of a probe's output is kept, as by the kubelet.
const maxOutput = 10 << 10

// Exec runs a command in the container.
func (p *podProcess) Exec(ctx context.Context, command []string) (status int, output string, err error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, "", err
	}
	defer null.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return 0, "", err
	}
	defer r.Close()
	read := make(chan string, 1)
	go func() {
		data, _ := io.ReadAll(io.LimitReader(r, maxOutput))
		read <- string(data)
		_, _ = io.Copy(io.Discard, r)
	}()
	status, err = p.supervisor.Exec(ctx, command, [3]*os.File{null, w, w})
	w.Close()
	if err != nil {
		return status, "", fmt.Errorf("run %q in the container: %w", strings.Join(command, " "), err)
	}
	select { // what it left behind may hold the pipe open
	case output = <-read:
	case <-ctx.Done():
		r.Close()
		output = <-read
	}
	return status, strings.ToValidUTF8(output, "\uFFFD"), nil
}
