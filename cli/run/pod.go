package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/config"
	"codeberg.org/minipod/minipod/events"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/kube/event"
	"codeberg.org/minipod/minipod/pod"
	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/runtime/idmap"
	"codeberg.org/minipod/minipod/state"
)

// The labels of a pod's containers: the kubelet's, and our own for the attempt.
const (
	labelContainer = "io.kubernetes.container.name"
	labelPod       = "io.kubernetes.pod.name"
	labelNamespace = "io.kubernetes.pod.namespace"
	labelUID       = "io.kubernetes.pod.uid"
	labelAttempt   = "io.minipod.pod.attempt"
)

// sandboxName is what the kubelet calls the sandbox among the containers.
const sandboxName = "POD"

// SupervisePod is the life of a pod's supervisor: the engine of package pod, and beside it the supervisors of all of the pod's containers, each
// on a thread of its own.
func SupervisePod() (status int) {
	birth, err := pod.Take()
	if err != nil {
		return hint.ExitRuntime
	}
	h, err := newPodHost(birth)
	if err != nil {
		_ = birth.Ready(err)
		return hint.ExitRuntime
	}
	if err := birth.Run(h, h.recorder, h.hostIP()); err != nil {
		return hint.ExitRuntime
	}
	return 0
}

// A podHost is what a pod.Engine runs on: this machine.
type podHost struct {
	dirs       state.Dirs
	pod        pod.Metadata
	config     *config.Config
	uids, gids idmap.Map
	store      *store.Store
	storage    rootfs.Choice
	fuse       string
	events     *events.Log
	recorder   *event.Recorder

	parentLimits *specs.LinuxResources // of all of the pod's containers together
	grouping     sync.Mutex
	group        *podGroup // nil: not made yet

	pulling sync.Mutex // one image at a time, as the kubelet does by default

	mu  sync.Mutex
	box *podSandbox // the one that lives
}

func newPodHost(birth *pod.Birth) (*podHost, error) {
	stored, err := pod.Get(birth.Dirs, birth.UID)
	if err != nil {
		return nil, err
	}
	h := &podHost{dirs: birth.Dirs, pod: stored.Metadata, events: events.Open(birth.Dirs), parentLimits: podLimits(&stored.Pod)}
	hostname, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	m := h.pod
	h.recorder = event.NewRecorder(h.dirs,
		event.Object{Kind: "Pod", APIVersion: "v1", Namespace: m.Namespace, Name: m.Name, UID: m.UID}, event.Source{Component: "kubelet", Host: hostname})
	if h.config, err = config.Load(h.dirs); err != nil {
		return nil, err
	}
	if h.uids, h.gids, _, err = idmap.ForUser(os.Geteuid(), os.Getegid()); err != nil { // what warns of one id alone, doctor says
		return nil, err
	}
	if h.store, err = store.Open(h.dirs); err != nil {
		return nil, err
	}
	r := h.run(&flags.Run{})
	if err := r.chooseStorage(); err != nil {
		return nil, err
	}
	h.storage, h.fuse = r.storage, r.fuse
	return h, nil
}

// run is the start of a container of the pod's.
func (h *podHost) run(f *flags.Run) *run {
	return &run{Run: f, dirs: h.dirs, config: h.config, uids: h.uids, gids: h.gids, store: h.store, storage: h.storage, fuse: h.fuse, unpin: func() {}}
}

// labels are those of a container of the pod's.
func (h *podHost) labels(p *pod.Pod, container string, attempt int) map[string]string {
	labels := map[string]string{}
	if container == sandboxName {
		for k, v := range p.Metadata.Labels {
			labels[k] = v
		}
	}
	labels[labelContainer], labels[labelPod], labels[labelNamespace] = container, h.pod.Name, h.pod.Namespace
	labels[labelUID], labels[labelAttempt] = h.pod.UID, strconv.Itoa(attempt)
	return labels
}

// containerName is the kubelet's name of a container, which is a file's name, too: of a pod's name that is very long the end is left out.
func (h *podHost) containerName(container string, attempt int) string {
	const longest = 255
	rest := "_" + h.pod.Namespace + "_" + h.pod.UID + "_" + strconv.Itoa(attempt)
	name := "k8s_" + container + "_" + h.pod.Name
	return name[:min(len(name), longest-len(rest))] + rest
}

// containers are the pod's containers on disk.
func (h *podHost) containers() ([]runtime.Record, error) {
	return runtime.Named(h.dirs, func(name string) bool {
		return strings.HasPrefix(name, "k8s_") && strings.Contains(name, "_"+h.pod.UID+"_")
	})
}

// AttemptOf is how many containers of a pod there were before this one in its place.
func AttemptOf(r runtime.Record) int {
	n, _ := strconv.Atoi(r.Labels[labelAttempt])
	return n
}

// Settle writes down the ends of containers that nobody saw, and removes sandboxes that are none any more.
func (h *podHost) Settle() (sandboxes int, err error) {
	if err := Sweep(h.dirs, h.removeInside); err != nil {
		return 0, err
	}
	list, err := h.containers()
	if err != nil {
		return 0, err
	}
	for _, r := range list {
		if r.Labels[labelContainer] != sandboxName {
			continue
		}
		sandboxes = max(sandboxes, AttemptOf(r)+1)
		if err := h.removeContainer(r); err != nil {
			return 0, err
		}
	}
	return max(sandboxes, h.sandboxesBefore()), h.removeParent()
}

// attemptFile counts the pod's sandboxes, of which nothing is left on disk once they have ended.
func (h *podHost) attemptFile() string {
	return filepath.Join(h.dirs.Data, "pods", h.pod.UID, "sandboxes")
}

func (h *podHost) sandboxesBefore() int {
	text, err := os.ReadFile(h.attemptFile())
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return n
}

func (h *podHost) removeInside(dir string) error { return RemoveInside(h.uids, h.gids, dir) }

// removeContainer removes a container that has ended. One that is gone is no error.
func (h *podHost) removeContainer(r runtime.Record) error {
	c, err := runtime.Adopt(h.dirs, r)
	if errors.Is(err, runtime.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(RemoveGroup(c.Record), finish(h.dirs, h.uids, h.gids, c, false, false))
}

// Clean removes the pod's containers, and what they wrote to its volumes.
func (h *podHost) Clean() error {
	list, err := h.containers()
	for _, r := range list {
		err = errors.Join(err, h.removeContainer(r))
	}
	err = errors.Join(err, h.removeParent())
	for _, name := range []string{"volumes", "messages"} {
		dir := filepath.Join(h.dirs.Data, "pods", h.pod.UID, name)
		e := runtime.RemoveTree(dir)
		if errors.Is(e, fs.ErrPermission) {
			e = h.removeInside(dir)
		}
		if e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// hostIP is the address that the machine is reached by: that of the host's network.
func (h *podHost) hostIP() string { return "127.0.0.1" }

// failure is why something of a container could not be done, in Kubernetes' words.
func failure(reason string, err error) *pod.StartFailure {
	return &pod.StartFailure{Reason: reason, Message: err.Error()}
}

func failuref(reason, format string, args ...any) *pod.StartFailure {
	return &pod.StartFailure{Reason: reason, Message: fmt.Sprintf(format, args...)}
}
