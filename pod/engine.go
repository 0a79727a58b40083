package pod

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/kube/event"
)

// A Runtime does what an engine decides. Its calls may last; the engine makes each of them on a goroutine of its own.
type Runtime interface {
	// Settle puts in order what an engine before us left, and tells how many sandboxes there were.
	Settle() (sandboxes int, err error)

	// StartSandbox returns when the sandbox runs and has its network and the pod's volumes. A *StartFailure says which event it is.
	StartSandbox(ctx context.Context, p *Pod, attempt int) (Sandbox, error)

	// StartContainer returns when the container's command runs. A *StartFailure says what the container waits for.
	StartContainer(ctx context.Context, r StartRequest) (Process, error)

	// Refresh brings those of the pod's volumes up to date that are made of objects and fields.
	Refresh(p *Pod) error

	// Usage returns how many bytes an emptyDir on disk has, as far as we may see it.
	Usage(volume string) int64

	// Probe asks a container by its network. The message is for people; an error is one of asking.
	Probe(ctx context.Context, c *Container, h *Handler) (good bool, message string, err error)

	// Clean removes what there is of the pod beside its own folder: containers, and what they wrote.
	Clean() error
}

// A StartRequest is a container to be started.
type StartRequest struct {
	Pod       *Pod
	Container *Container
	Attempt   int
	PodIP     string
	HostIP    string
	Tell      func(kind, reason, format string, args ...any) // events
}

// A Sandbox is one that runs.
type Sandbox interface {
	IP() string
	Ended() <-chan struct{}
	Stop() error // ends and removes it
}

// A Process is a container that runs, or did.
type Process interface {
	ID() string
	ImageID() string
	Ended() <-chan struct{}
	Result() Terminated // once it has ended
	StopSignal() syscall.Signal
	Signal(sig syscall.Signal) error

	// Exec runs a command in the container. The output is its first kilobytes, stdout and stderr. It is killed when ctx ends.
	Exec(ctx context.Context, command []string) (status int, output string, err error)
}

func (f *StartFailure) Error() string { return f.Message }

// FailedSandbox and FailedMount are the events of a sandbox that can't be started.
const (
	FailedSandbox = "FailedCreatePodSandBox"
	FailedMount   = "FailedMount"
)

// An Engine keeps a pod as it is wanted: it decides, and has done what was decided, until nothing is to run any more. All of its state is
// one goroutine's; what lasts is done by others, which post what they found.
type Engine struct {
	Runtime Runtime
	Events  *event.Recorder
	HostIP  string

	birth   *Birth
	pod     *Pod
	w       World
	box     Sandbox
	workers map[string]*worker // by the containers' names: those that have one
	posted  chan func()
	stop    context.CancelFunc
	ctx     context.Context //nolint:containedctx // of everything that is begun: it ends with the engine
	written []byte

	fresh, measuring bool          // a refresh, a measurement is going on
	removed          chan struct{} // closed when somebody has removed the pod's folder
}

// A worker looks after one attempt of a container.
type worker struct {
	path    string  // as events have it
	running Process // nil: not started yet
	cancel  func()  // ends what is done for it: its start, its hooks, its probes
}

// Run takes the pod over that b is about, and returns when nothing of it runs, nor will.
func (b *Birth) Run(rt Runtime, events *event.Recorder, hostIP string) error {
	pokes := make(chan os.Signal, 1)
	signal.Notify(pokes, pokeSignal)
	leave := make(chan os.Signal, 1)
	signal.Notify(leave, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	e := &Engine{Runtime: rt, Events: events, HostIP: hostIP, birth: b, workers: map[string]*worker{}, posted: make(chan func(), 64)}
	e.ctx, e.stop = context.WithCancel(context.Background())
	defer e.stop()
	if err := b.Ready(e.begin()); err != nil {
		return err
	}
	e.removed = make(chan struct{})
	go func(lock *os.File) {
		if err := linux.AwaitUnlink(e.ctx, lock); err == nil {
			close(e.removed)
		}
	}(b.lock.File())
	for {
		if err := e.loop(pokes, leave); err != nil {
			return err
		}
		if e.pod.Metadata.Deleted != nil {
			return e.remove()
		}
		if e.w.Leaving {
			return b.lock.Unlock()
		}
		// Somebody who has just asked for the pod's end saw our lock, and leaves the rest to us. So we look once more when it is free.
		if again, err := b.retake(); err != nil || !again {
			return err
		}
		if err := e.reload(); err != nil {
			return err
		}
	}
}

// begin reads what is wanted, and what there was.
func (e *Engine) begin() error {
	if err := e.reload(); err != nil {
		return err
	}
	attempts, err := e.Runtime.Settle()
	if err != nil {
		return err
	}
	last, err := readStatus(e.birth.Dirs, e.birth.UID)
	if err != nil {
		return err
	}
	e.w = World{HostIP: e.HostIP, Sandbox: SandboxLife{Attempt: attempts, Told: true}, Lives: map[string]*Life{}, Status: *last}
	for _, list := range [][]ContainerStatus{last.InitContainerStatuses, last.ContainerStatuses} {
		for i := range list {
			e.restore(&list[i])
		}
	}
	if last.Reason == ReasonStopped { // whatever the restart policy says: nothing of it has ended by itself
		for _, l := range e.w.Lives {
			l.Again = true
		}
	}
	e.scheduled()
	return nil
}

// restore takes up what is known of a container of which an engine before us wrote down the state.
func (e *Engine) restore(s *ContainerStatus) {
	s.lose(e.now())
	l := &Life{Attempt: int(s.RestartCount), Epoch: -1, Image: s.Image, ImageID: s.ImageID, Last: s.LastState.Terminated}
	switch {
	case s.State.Terminated != nil:
		l.Stage, l.Ended = Ended, s.State.Terminated
	case s.LastState.Terminated != nil:
		l.Stage, l.Ended, l.Last = Ended, s.LastState.Terminated, nil
	default:
		return
	}
	l.ID = trimPrefix(s.ContainerID)
	e.w.Lives[s.Name] = l
}

func trimPrefix(id string) string {
	if len(id) > len(idPrefix) {
		return id[len(idPrefix):]
	}
	return ""
}

func (e *Engine) now() time.Time { return time.Now().UTC() }

func (e *Engine) reload() error {
	s, err := Get(e.birth.Dirs, e.birth.UID)
	if err != nil {
		return err
	}
	waited := e.pod != nil && len(e.pod.Spec.SchedulingGates) > 0
	if e.pod = &s.Pod; waited {
		e.scheduled()
	}
	return nil
}

// remove removes all that there is of the pod. Where that can't be done the pod stays, and the next command tries again.
func (e *Engine) remove() error {
	if err := e.Runtime.Clean(); err != nil {
		e.Events.Tell(event.Warning, "FailedKillPod", "", "error killing pod: %v", err)
		return err
	}
	return e.birth.forget(e.pod.Metadata)
}

// post has something done by the goroutine that decides.
func (e *Engine) post(do func()) {
	select {
	case e.posted <- do:
	case <-e.ctx.Done():
	}
}

// loop decides and has done, until it is over.
func (e *Engine) loop(pokes, leave chan os.Signal) error {
	refreshing := time.NewTicker(refreshEvery)
	defer refreshing.Stop()
	measuring := time.NewTicker(measureEvery)
	defer measuring.Stop()
	for {
		e.w.Now = e.now()
		d := Decide(e.pod, &e.w)
		e.w.Status = d.Status
		err := e.report()
		if errors.Is(err, fs.ErrNotExist) {
			return errRemoved
		}
		if err != nil {
			e.Events.Tell(event.Warning, "FailedStatusUpdate", "", "%v", err)
		}
		for _, n := range d.Notices {
			e.tell(n)
		}
		if d.Over {
			return nil
		}
		for _, a := range d.Actions {
			e.do(a)
		}
		if len(d.Actions) > 0 {
			continue
		}
		var alarm <-chan time.Time
		if !d.Wake.IsZero() {
			timer := time.NewTimer(max(time.Until(d.Wake), time.Millisecond))
			alarm = timer.C
		}
		select {
		case do := <-e.posted:
			do()
			e.drain()
		case <-pokes:
			if err := e.reload(); err != nil {
				return fmt.Errorf("read what is wanted: %w", err)
			}
			e.refresh()
		case <-e.minute(refreshing):
			e.refresh()
		case <-e.limited(measuring):
			e.measure()
		case <-leave:
			e.w.Leaving = true
		case <-e.removed:
			return errRemoved
		case <-alarm:
		}
	}
}

// errRemoved ends us, and with us all that runs: what is there to be written has no place, and whoever removed it does not want it back.
var errRemoved = errors.New("the pod's folder was removed")

// refreshEvery is how often a volume made of a ConfigMap follows it: the kubelet's syncFrequency.
const refreshEvery = time.Minute

// minute is ticker's channel where there is anything to refresh: a pod without such volumes sleeps until something happens.
func (e *Engine) minute(ticker *time.Ticker) <-chan time.Time {
	for i := range e.pod.Spec.Volumes {
		v := &e.pod.Spec.Volumes[i]
		if v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil || v.Projected != nil {
			return ticker.C
		}
	}
	return nil
}

// measureEvery is how often volumes with a sizeLimit are looked at: as the kubelet's eviction manager does.
const measureEvery = 10 * time.Second

func (e *Engine) limited(ticker *time.Ticker) <-chan time.Time {
	for i := range e.pod.Spec.Volumes {
		if v := e.pod.Spec.Volumes[i].EmptyDir; v != nil && v.SizeLimit != nil && v.Medium == "" {
			return ticker.C
		}
	}
	return nil
}

// measure evicts the pod where one of its volumes has outgrown its limit.
func (e *Engine) measure() {
	if e.measuring {
		return
	}
	e.measuring = true
	p := e.pod
	go func() {
		message := ""
		for i := range p.Spec.Volumes {
			v := &p.Spec.Volumes[i]
			if v.EmptyDir == nil || v.EmptyDir.SizeLimit == nil || v.EmptyDir.Medium != "" || v.EmptyDir.SizeLimit.Value() == 0 {
				continue
			}
			if e.Runtime.Usage(v.Name) > v.EmptyDir.SizeLimit.Value() {
				message = fmt.Sprintf("Usage of EmptyDir volume %q exceeds the limit %q. ", v.Name, *v.EmptyDir.SizeLimit)
			}
		}
		e.post(func() { e.measuring, e.w.Evicted = false, cmp.Or(e.w.Evicted, message) })
	}()
}

func (e *Engine) refresh() {
	if e.fresh || e.w.Sandbox.Stage != Live {
		return
	}
	e.fresh = true
	p := e.pod
	go func() {
		if err := e.Runtime.Refresh(p); err != nil {
			e.Events.Tell(event.Warning, FailedMount, "", "%v", err)
		}
		e.post(func() { e.fresh = false })
	}()
}

// drain takes in what else was posted, so that it is decided about once.
func (e *Engine) drain() {
	for {
		select {
		case do := <-e.posted:
			do()
		default:
			return
		}
	}
}

// report writes the status down, where it says anything new.
func (e *Engine) report() error {
	data, err := json.Marshal(e.w.Status)
	if err != nil || bytes.Equal(data, e.written) {
		return err
	}
	if err := (reserve{podDir(e.birth.Dirs, e.birth.UID)}).put(statusFile, data); err != nil {
		return err
	}
	e.written = data
	return nil
}

func (e *Engine) tell(n Notice) {
	if n.Once != "" {
		if n.Container == "" {
			if e.w.Sandbox.Told {
				return
			}
			e.w.Sandbox.Told = true
		} else {
			l, key := e.life(n.Container), n.Reason+" "+n.Once
			if told, ok := l.Told[n.Reason]; ok && told == key {
				return
			}
			if l.Told == nil {
				l.Told = map[string]string{}
			}
			l.Told[n.Reason] = key
		}
	}
	e.Events.Tell(n.Type, n.Reason, e.fieldPath(n.Container), "%s", n.Message)
}

func (e *Engine) life(name string) *Life {
	l := e.w.Lives[name]
	if l == nil {
		l = &Life{}
		e.w.Lives[name] = l
	}
	return l
}

// fieldPath is what an event about a container says that it is about.
func (e *Engine) fieldPath(container string) string {
	if container == "" {
		return ""
	}
	for i := range e.pod.Spec.InitContainers {
		if e.pod.Spec.InitContainers[i].Name == container {
			return "spec.initContainers{" + container + "}"
		}
	}
	return "spec.containers{" + container + "}"
}
