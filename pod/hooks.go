package pod

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/kube/event"
)

const killSignal = syscall.SIGKILL

// terminate ends a container: the preStop hook, the stop signal, and SIGKILL when the grace period is over, which both of them share. What
// the hook leaves is two seconds at least.
func (e *Engine) terminate(w *worker, c *Container, grace time.Duration) {
	deadline := time.Now().Add(grace)
	if c.Lifecycle != nil && c.Lifecycle.PreStop != nil && grace > 0 {
		ctx, cancel := context.WithDeadline(e.ctx, deadline)
		message, err := e.hook(ctx, w.running, c, c.Lifecycle.PreStop)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) { // whatever came of the one that was killed
			message, err = "", fmt.Errorf("not completed in the grace period of %s", grace.Round(time.Second))
		}
		cancel()
		if err != nil && !isClosed(w.running.Ended()) {
			e.Events.Tell(event.Warning, "FailedPreStopHook", w.path, "PreStopHook failed: %v%s", err, message)
		}
		if least := time.Now().Add(atLeast); deadline.Before(least) {
			deadline = least
		}
	}
	if grace <= 0 {
		_ = w.running.Signal(killSignal) // ESRCH: it has just ended
		return
	}
	_ = w.running.Signal(w.running.StopSignal())
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-w.running.Ended():
	case <-timer.C:
		_ = w.running.Signal(killSignal)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// hook runs a hook. The message is what an exec printed.
func (e *Engine) hook(ctx context.Context, running Process, c *Container, h *Handler) (message string, err error) {
	switch {
	case h.Sleep != nil:
		select {
		case <-time.After(time.Duration(h.Sleep.Seconds) * time.Second):
		case <-running.Ended():
		case <-ctx.Done():
			return "", ctx.Err()
		}
		return "", nil
	case h.Exec != nil:
		status, output, err := running.Exec(ctx, h.Exec.Command)
		if output = strings.TrimSpace(output); output != "" {
			output = ", message: " + fmt.Sprintf("%q", output)
		}
		if err == nil && status != 0 {
			err = fmt.Errorf("command '%s' exited with %d", strings.Join(h.Exec.Command, " "), status)
		}
		return output, err
	}
	good, text, err := e.Runtime.Probe(ctx, c, h)
	if err == nil && !good {
		err = errors.New(text)
	}
	return "", err
}

// observe begins the probes of a container that runs: the startup probe alone at first, where there is one.
func (e *Engine) observe(ctx context.Context, w *worker, c *Container) {
	l := e.life(c.Name)
	if c.StartupProbe != nil {
		e.probe(ctx, w, c, NewProber(Startup, c.StartupProbe, l.Started))
		return
	}
	e.startedUp(ctx, w, c)
}

func (e *Engine) startedUp(ctx context.Context, w *worker, c *Container) {
	l := e.life(c.Name)
	l.StartedUp, l.Ready = true, c.ReadinessProbe == nil
	if c.ReadinessProbe != nil {
		e.probe(ctx, w, c, NewProber(Readiness, c.ReadinessProbe, l.Started))
	}
	if c.LivenessProbe != nil {
		e.probe(ctx, w, c, NewProber(Liveness, c.LivenessProbe, l.Started))
	}
}

// probe asks again and again, until the container ends or the probe has nothing more to say.
func (e *Engine) probe(ctx context.Context, w *worker, c *Container, b *Prober) {
	running := w.running
	go func() {
		for {
			select {
			case <-time.After(time.Until(b.Next())):
			case <-running.Ended():
				return
			case <-ctx.Done():
				return
			}
			good, message, err := e.ask(ctx, running, c, b)
			if ctx.Err() != nil || isClosed(running.Ended()) { // it ended meanwhile: that is no answer
				return
			}
			switch {
			case err != nil:
				e.Events.Tell(event.Warning, "Unhealthy", w.path, "%s probe errored: %v", b.Kind, err)
			case !good:
				e.Events.Tell(event.Warning, "Unhealthy", w.path, "%s probe failed: %s", b.Kind, message)
			}
			if !b.Answer(good && err == nil, time.Now()) {
				continue
			}
			verdict := b.Verdict
			e.post(func() { e.answered(ctx, w, c, b.Kind, verdict) })
			if b.Kind == Startup || b.Kind == Liveness && !verdict {
				return
			}
		}
	}()
}

func (e *Engine) ask(ctx context.Context, running Process, c *Container, b *Prober) (good bool, message string, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.Timeout())
	defer cancel()
	h := &b.Probe.Handler
	if h.Exec == nil {
		return e.Runtime.Probe(ctx, c, h)
	}
	status, output, err := running.Exec(ctx, h.Exec.Command)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return false, fmt.Sprintf("command timed out: %q timed out after %s", strings.Join(h.Exec.Command, " "), b.Timeout()), nil
	}
	return status == 0, output, err
}

// answered takes a probe's verdict in.
func (e *Engine) answered(ctx context.Context, w *worker, c *Container, kind string, good bool) {
	l := e.life(c.Name)
	if e.workers[c.Name] != w || l.Stage != Live {
		return
	}
	switch {
	case kind == Readiness:
		l.Ready = good
	case !good:
		l.Unwell = kind
	case kind == Startup:
		e.startedUp(ctx, w, c)
	}
}
