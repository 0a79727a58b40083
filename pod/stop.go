package pod

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/state"
)

// Kubernetes knows no pod that is stopped. One of ours is stopped by an annotation: its containers and its sandbox end, it stays, and
// nobody starts it until the annotation is gone.

// stoppedBy is the annotation. Its value is how many seconds the containers got to end.
const stoppedBy = "minipod.io/stopped"

// ReasonStopped is that of the status of a pod that is stopped.
const ReasonStopped = "Stopped"

// ErrFinished is the answer to a start of a pod that has come to its end.
var ErrFinished = errors.New("has come to its end")

// Stopped tells whether the pod is not to run for now.
func (p *Pod) Stopped() bool {
	_, ok := p.Metadata.Annotations[stoppedBy]
	return ok
}

// Wanted are the annotations that somebody gave the pod, without our own.
func Wanted(annotations map[string]string) map[string]string {
	theirs := maps.Clone(annotations)
	delete(theirs, stoppedBy)
	return theirs
}

func (p *Pod) stopGrace() time.Duration {
	seconds, err := strconv.ParseInt(p.Metadata.Annotations[stoppedBy], 10, 32)
	if err != nil || seconds < 0 {
		seconds = p.grace()
	}
	return time.Duration(seconds) * time.Second
}

// Stop asks for the end of the pod's containers, which get grace seconds, or what the pod says where that is nil. The pod stays, until
// Resume. See Wait. One that is stopped is left alone.
func Stop(dirs state.Dirs, uid string, grace *int64) error {
	return Change(dirs, uid, nil, func(p *Pod) error {
		if p.Stopped() {
			return nil
		}
		seconds := p.grace()
		if grace != nil {
			seconds = max(*grace, 0)
		}
		if p.Metadata.Annotations == nil {
			p.Metadata.Annotations = map[string]string{}
		}
		p.Metadata.Annotations[stoppedBy] = strconv.FormatInt(seconds, 10)
		return nil
	})
}

// Resume starts a pod again that was stopped. One that was not is left alone, and one that has come to its end is ErrFinished.
func Resume(dirs state.Dirs, uid string) error {
	s, err := readStatus(dirs, uid)
	if err != nil {
		return err
	}
	if s.finished() {
		return hint.Wrap(fmt.Errorf("pod %s %w: %s", uid, ErrFinished, s.Phase), "make it again of its manifest: minipod generate yaml NAME")
	}
	err = Change(dirs, uid, nil, func(p *Pod) error {
		delete(p.Metadata.Annotations, stoppedBy)
		return nil
	})
	if err != nil {
		return err
	}
	return Start(dirs, uid)
}

// AllStopped tells whether a pod that is stopped has nothing left that runs.
func (s *Status) AllStopped() bool { return s.Reason == ReasonStopped }
