package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"codeberg.org/minipod/minipod/kube/event"
	"codeberg.org/minipod/minipod/node"
	"codeberg.org/minipod/minipod/pod"
	"codeberg.org/minipod/minipod/pod/volume"
	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/runtime/caps"
	"codeberg.org/minipod/minipod/runtime/spec"
	"codeberg.org/minipod/minipod/state"
	"codeberg.org/minipod/minipod/supervisor"
)

// A podSandbox is a pod's sandbox that runs.
type podSandbox struct {
	*hosted

	host     *podHost
	hostname string
	ip       string
	lease    *node.Lease // nil: the host's network, or none
	files    []rootfs.File
	volumes  map[string]volume.Volume
	root     string // its root folder, as we see it
}

// StartSandbox makes the sandbox and returns when its PID 1 is there, and in the network.
func (h *podHost) StartSandbox(ctx context.Context, p *pod.Pod, attempt int) (pod.Sandbox, error) {
	if err := state.WriteFile(h.attemptFile(), fmt.Append(nil, attempt+1), 0o600); err != nil {
		return nil, err
	}
	maker := h.maker(p)
	if err := maker.Check(); err != nil {
		return nil, failure(pod.FailedMount, err)
	}
	if err := h.imageVolumes(ctx, p); err != nil {
		return nil, failure(pod.FailedMount, err)
	}
	hostname, err := hostnameOf(p)
	if err != nil {
		return nil, err
	}
	bounding, err := sandboxCapabilities(p)
	if err != nil {
		return nil, err
	}
	c, err := runtime.Create(h.dirs, runtime.Record{
		Name: h.containerName(sandboxName, attempt), Image: "pause", Command: []string{"/pause"}, Remove: true, Hosted: true, Driver: rootfs.Empty,
		Labels: h.labels(p, sandboxName, attempt),
	})
	if err != nil {
		return nil, err
	}
	b := &runtime.Bundle{
		Spec: spec.Sandbox(spec.SandboxOptions{
			Hostname: hostname, HostNetwork: p.Spec.HostNetwork, HostIPC: p.Spec.HostIPC, Capabilities: bounding, Memory: maker.InMemory(),
			Sysctls: sysctlsOf(p), UIDs: h.uids, GIDs: h.gids,
		}),
		Pause: true, Storage: rootfs.Choice{Driver: rootfs.Empty}, UIDs: h.uids, GIDs: h.gids, Reaper: true,
		Log: runtime.LogOptions{None: true}, StopSignal: int(syscall.SIGTERM), StopTimeout: 2, Attach: attachmentOf(p, hostname),
	}
	if err := errors.Join(c.SaveBundle(b), markReady(c)); err != nil {
		return nil, errors.Join(err, c.Delete(runtime.RemoveTree))
	}
	s, err := h.host(c, b)
	if err != nil {
		return nil, err
	}
	box := &podSandbox{hosted: s, host: h, hostname: hostname, root: "/proc/" + strconv.Itoa(s.begun.PID) + "/root"}
	err = box.settle(p, s.begun.Network)
	if err == nil {
		if box.volumes, err = maker.Make(box.root); err != nil {
			err = failure(pod.FailedMount, err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, box.Stop())
	}
	h.mu.Lock()
	h.box = box
	h.mu.Unlock()
	return box, nil
}

// settle takes down the sandbox's place in the network, and by which names and resolvers its containers find others.
func (b *podSandbox) settle(p *pod.Pod, lease *node.Lease) (err error) {
	b.lease, b.ip = lease, b.host.hostIP()
	if lease != nil {
		b.ip = lease.IP
	}
	b.files, err = b.names(p)
	return err
}

func markReady(c *runtime.Container) error {
	c.Ready = true
	return c.Save()
}

// hostnameOf is what the pod's containers are called: its hostname or its name, cut as the kubelet does it, or the whole name of it in DNS.
func hostnameOf(p *pod.Pod) (string, error) {
	if p.Spec.HostNetwork {
		return os.Hostname()
	}
	const longest = 63
	name := cmp.Or(p.Spec.Hostname, p.Metadata.Name)
	if len(name) > longest {
		name = strings.TrimRight(name[:longest], "-.")
	}
	if p.Spec.SetHostnameAsFQDN != nil && *p.Spec.SetHostnameAsFQDN && p.Spec.Subdomain != "" {
		name = name + "." + p.Spec.Subdomain + "." + p.Metadata.Namespace + ".svc.cluster.local"
		if len(name) > longest+1 {
			return "", fmt.Errorf("failed to construct FQDN from pod hostname and cluster domain, FQDN %s is too long (64 characters is the max, %d characters requested)", name, len(name))
		}
	}
	return name, nil
}

// sandboxCapabilities are those that any container may have that lives among the sandbox's processes: PID 1 is to be prepared for them.
func sandboxCapabilities(p *pod.Pod) (set caps.Set, err error) {
	if p.Spec.ShareProcessNamespace == nil || !*p.Spec.ShareProcessNamespace {
		return 0, nil
	}
	for _, list := range [][]pod.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			one, err := capabilitiesOf(&list[i])
			if err != nil {
				return 0, err
			}
			set |= one
		}
	}
	return set, nil
}

func (b *podSandbox) IP() string { return b.ip }

// Stop ends the sandbox, and returns when nothing is left of it.
func (b *podSandbox) Stop() error {
	b.host.mu.Lock()
	if b.host.box == b {
		b.host.box = nil
	}
	b.host.mu.Unlock()
	err := b.detach() // whose ports are to be free when the pod is gone
	if err := b.supervisor.Stop(); err != nil {
		return err
	}
	<-b.ended
	return err
}

// A hosted container is one whose supervisor lives in this process.
type hosted struct {
	supervisor *supervisor.Supervisor
	id         string
	ended      chan struct{}  // closed when it has ended, and its record says how
	begun      runtime.Record // as it was when it began to run
	record     runtime.Record // as it was in the end
}

// host starts a container and supervises it, on a thread that lives as long as the container does: the kernel kills the one with the other.
// On an error nothing is left of it.
func (h *podHost) host(c *runtime.Container, b *runtime.Bundle) (*hosted, error) {
	s := &hosted{id: c.ID, ended: make(chan struct{})}
	started := make(chan error, 1)
	s.supervisor = &supervisor.Supervisor{
		Container: c, Bundle: b, Events: h.events, Flatten: h.run(nil).flatten, Started: func() { s.begun = c.Record; started <- nil }, MakeGroup: h.makeGroup,
		Lost: func(why error) {
			h.recorder.Tell(event.Warning, "NetworkNotReady", "", "network is not ready: %v", why)
		},
	}
	if err := s.supervisor.Listen(); err != nil {
		return nil, errors.Join(err, finish(h.dirs, h.uids, h.gids, c, false, false))
	}
	s.supervisor.Tell("create")
	go func() {
		defer lockThread()()
		_, ran, err := s.supervisor.Run(nil, nil)
		ended := s.supervisor.Close()
		s.supervisor.Recorded()
		s.record = c.Record
		closed := finish(h.dirs, h.uids, h.gids, c, ran, false)
		if !ran {
			started <- errors.Join(err, ended, closed)
		}
		close(s.ended)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return s, nil
}

// Ended is closed when it has ended.
func (s *hosted) Ended() <-chan struct{} { return s.ended }
