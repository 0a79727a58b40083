package pod

import (
	"cmp"
	"context"
	"errors"
	"time"

	"codeberg.org/minipod/minipod/kube/event"
)

// do begins what was decided.
func (e *Engine) do(a Action) {
	switch a.Verb {
	case StartSandbox:
		e.startSandbox(a)
	case StopSandbox:
		e.stopSandbox()
	case StartContainer:
		e.startContainer(a)
	case KillContainer:
		e.killContainer(a)
	}
}

func (e *Engine) startSandbox(a Action) {
	e.w.Sandbox = SandboxLife{Stage: Starting, Attempt: a.Attempt}
	p := e.pod
	go func() {
		box, err := e.Runtime.StartSandbox(e.ctx, p, a.Attempt)
		e.post(func() { e.sandboxStarted(a, box, err) })
		if err == nil {
			<-box.Ended()
			e.post(func() { e.sandboxEnded(box) })
		}
	}()
}

func (e *Engine) sandboxStarted(a Action, box Sandbox, err error) {
	if err == nil {
		e.box = box
		e.w.Sandbox.Stage, e.w.Sandbox.IP = Live, box.IP()
		return
	}
	e.w.Sandbox = SandboxLife{Attempt: a.Attempt, Retry: e.now().Add(retrySandbox), Told: true}
	var failure *StartFailure
	if errors.As(err, &failure) {
		e.Events.Tell(event.Warning, failure.Reason, "", "%s", failure.Message)
		return
	}
	e.Events.Tell(event.Warning, FailedSandbox, "", "Failed to create pod sandbox: %v", err)
}

// sandboxEnded notes the end of a sandbox that nobody asked for. What is left of it is removed; that matters to nobody who waits.
func (e *Engine) sandboxEnded(box Sandbox) {
	if e.box != box || e.w.Sandbox.Stage != Live {
		return
	}
	e.box = nil
	e.w.Sandbox.Stage, e.w.Sandbox.IP = Ended, ""
	go func() { _ = box.Stop() }()
}

func (e *Engine) stopSandbox() {
	box := e.box
	e.w.Sandbox.Stage = Stopping
	go func() {
		if err := box.Stop(); err != nil {
			e.Events.Tell(event.Warning, "FailedKillPod", "", "error killing pod: %v", err)
		}
		e.post(func() {
			e.box = nil
			e.w.Sandbox.Stage, e.w.Sandbox.IP, e.w.Sandbox.Told = Ended, "", true
		})
	}()
}

func (e *Engine) startContainer(a Action) {
	c, l := e.pod.find(a.Container), e.life(a.Container)
	before := *l
	l.Stage = Starting
	ctx, cancel := context.WithCancel(e.ctx)
	w := &worker{path: e.fieldPath(c.Name), cancel: cancel}
	e.workers[c.Name] = w
	request := StartRequest{
		Pod: e.pod, Container: c, Attempt: a.Attempt, PodIP: e.w.Sandbox.IP, HostIP: e.HostIP,
		Tell: func(kind, reason, format string, args ...any) { e.Events.Tell(kind, reason, w.path, format, args...) },
	}
	epoch := e.w.Sandbox.Attempt
	go func() {
		running, err := e.Runtime.StartContainer(ctx, request)
		e.post(func() {
			if err != nil {
				e.notStarted(w, c, before, a, err)
				return
			}
			e.started(ctx, w, c, before, a, epoch, running)
		})
	}()
}

// notStarted leaves the container as it was, with the reason; or as one that ended at once, where that is what it did.
func (e *Engine) notStarted(w *worker, c *Container, before Life, a Action, err error) {
	w.cancel()
	delete(e.workers, c.Name)
	now, stopped := e.now(), e.life(c.Name).Stage == Stopping
	l := before
	failure := &StartFailure{Reason: CreateContainerError, Message: err.Error()}
	errors.As(err, &failure)
	l.Image, l.Failure = c.Image, &StartFailure{Reason: failure.Reason, Message: failure.Message, At: now, Retry: now.Add(retryConfig)}
	switch failure.Reason {
	case ErrImagePull:
		l.Pull = before.Pull.next(now, now)
		l.Failure.Retry = now.Add(l.Pull.Pause)
	case RunContainerError:
		l.Last = cmp.Or(before.Ended, before.Last)
		l.Stage, l.Attempt, l.Crash, l.Again, l.Unwell = Ended, a.Attempt, a.Crash, false, ""
		l.Epoch = e.w.Sandbox.Attempt
		l.Ended = &Terminated{ExitCode: 128, Reason: "StartError", Message: failure.Message, StartedAt: time.Unix(0, 0).UTC(), FinishedAt: now}
		l.Failure.Retry = now.Add(shown)
	}
	if stopped { // it was the stop that it came to grief by
		l.Failure = nil
	}
	*e.life(c.Name) = l
}

func (e *Engine) started(ctx context.Context, w *worker, c *Container, before Life, a Action, epoch int, running Process) {
	l := e.life(c.Name)
	stopping, stopBy := l.Stage == Stopping, l.StopBy
	w.running = running
	*l = Life{
		Stage: Live, Attempt: a.Attempt, Epoch: epoch, Image: c.Image, ID: running.ID(), ImageID: running.ImageID(), Started: e.now(),
		Last: cmp.Or(before.Ended, before.Last), Crash: a.Crash, Pull: Backoff{}, Told: before.Told,
	}
	go func() {
		<-running.Ended()
		e.post(func() { e.ended(w, c.Name) })
	}()
	if stopping { // somebody wanted its end before it began
		l.Stage, l.StopBy = Stopping, stopBy
		go e.terminate(w, c, 0)
		return
	}
	if c.Lifecycle == nil || c.Lifecycle.PostStart == nil {
		e.observe(ctx, w, c)
		return
	}
	l.Hooking = true
	go func() {
		message, err := e.hook(ctx, running, c, c.Lifecycle.PostStart)
		e.post(func() {
			l := e.life(c.Name)
			if e.workers[c.Name] != w || l.Stage != Live {
				return
			}
			l.Hooking = false
			if err != nil {
				e.Events.Tell(event.Warning, "FailedPostStartHook", w.path, "PostStartHook failed: %v%s", err, message)
				l.Unwell = PostStart
				return
			}
			e.observe(ctx, w, c)
		})
	}()
}

// ended notes how a container ended.
func (e *Engine) ended(w *worker, name string) {
	if e.workers[name] != w {
		return
	}
	w.cancel()
	delete(e.workers, name)
	l, result := e.life(name), w.running.Result()
	result.ContainerID = idPrefix + l.ID
	if result.StartedAt.IsZero() {
		result.StartedAt = l.Started
	}
	if result.FinishedAt.IsZero() {
		result.FinishedAt = e.now()
	}
	result.StartedAt, result.FinishedAt = result.StartedAt.UTC(), result.FinishedAt.UTC()
	l.Stage, l.Ended, l.Hooking, l.Ready, l.StartedUp = Ended, &result, false, false, false
}

func (e *Engine) killContainer(a Action) {
	c, l, w := e.pod.find(a.Container), e.life(a.Container), e.workers[a.Container]
	if w == nil {
		return
	}
	if a.Message != "" {
		e.Events.Tell(event.Normal, "Killing", w.path, "%s", a.Message)
	}
	again := l.Stage == Stopping
	l.StopBy, l.Again = e.now().Add(a.Grace), a.Again
	switch {
	case l.Stage == Starting:
		w.cancel()
	case again && w.running != nil:
		go e.killAt(w, a.Grace)
	case !again:
		go e.terminate(w, c, a.Grace)
	}
	l.Stage, l.Ready = Stopping, false
}

// killAt kills a container that is being ended already when its time has become shorter.
func (e *Engine) killAt(w *worker, grace time.Duration) {
	select {
	case <-w.running.Ended():
	case <-time.After(grace):
		_ = w.running.Signal(killSignal) // ESRCH: it has just ended
	}
}
