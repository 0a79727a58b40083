package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/kube/manifest"
	"codeberg.org/minipod/minipod/kube/store"
	"codeberg.org/minipod/minipod/pod"
	"codeberg.org/minipod/minipod/state"
)

// What `apply` and `create -f` do with an object that they have read.

// writeObject makes an object what it is to be, and answers what became of it: created, configured or unchanged.
func (a *app) writeObject(ctx context.Context, o *manifest.Object, w writing) (string, error) {
	if err := w.saveConfig(o); err != nil {
		return "", err
	}
	if o.Kind == kindPod {
		return a.writePod(ctx, o, w)
	}
	how := ""
	done := errors.New("done") // keeps Update from writing
	err := store.Update(a.dirs, o.Kind, o.Namespace, o.Name, func(old []byte) ([]byte, error) {
		var err error
		switch {
		case old == nil:
			how, err = "created", o.Created(newUID(), time.Now())
		case w.create:
			return nil, alreadyExists(o)
		default:
			if how, err = a.merge(o, old); w.force && isInvalid(err) {
				how, err = "configured", o.Created(newUID(), time.Now())
			}
		}
		if err == nil && (w.dry != "" || how == "unchanged") {
			err = done
		}
		return o.JSON, err
	})
	if errors.Is(err, done) {
		err = nil
	}
	return how, err
}

// saveConfig has apply keep the file in an annotation, and create where it is asked to.
func (w writing) saveConfig(o *manifest.Object) error {
	if w.create && !w.save {
		return nil
	}
	return o.SaveConfig()
}

// merge makes o of the file and of what there is.
func (a *app) merge(o *manifest.Object, old []byte) (how string, err error) {
	changed, unknown, err := o.Apply(old)
	if err == nil && unknown {
		kind, err := findKind(o.Kind)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(a.err, "Warning: resource %s/%s is missing the %s annotation which is required by minipod apply. minipod apply should only be used on resources created "+
			"declaratively by either minipod create --save-config or minipod apply. The missing annotation will be patched automatically.\n", kind.plural, o.Name, manifest.LastApplied)
	}
	if isInvalid(err) {
		err = hint.Wrap(err, "delete it, and make it anew: minipod apply --force -f FILE")
	}
	return updated(changed, err)
}

func isInvalid(err error) bool {
	var invalid *manifest.Invalid
	return errors.As(err, &invalid)
}

func updated(changed bool, err error) (string, error) {
	if changed {
		return "configured", err
	}
	return "unchanged", err
}

func alreadyExists(o *manifest.Object) error {
	kind, err := findKind(o.Kind)
	if err != nil {
		return err
	}
	return hint.Wrap(serverError("AlreadyExists", "%s %q already exists", kind.plural, o.Name), "change what is there with: minipod apply -f")
}

func (a *app) writePod(ctx context.Context, o *manifest.Object, w writing) (string, error) {
	for {
		there, err := pod.Find(a.dirs, o.Namespace, o.Name)
		switch {
		case errors.Is(err, pod.ErrNotFound):
			return "created", a.createPod(o, w.dry != "")
		case err != nil:
			return "", err
		case w.create:
			return "", alreadyExists(o)
		}
		how, err := a.mergePod(o, there, w.dry != "")
		if w.force && isInvalid(err) {
			return "configured", a.remakePod(ctx, o, there, w.dry != "")
		}
		if !errors.Is(err, errOutdated) {
			return how, err
		}
	}
}

// errOutdated is the answer where somebody else changed a pod since it was read.
var errOutdated = errors.New("outdated")

func (a *app) mergePod(o *manifest.Object, there *pod.Stored, dry bool) (string, error) {
	if there.Metadata.Deleted != nil {
		fmt.Fprintf(a.err, "Warning: Detected changes to resource %s which is currently being deleted.\n", o.Name)
	}
	before, err := liveManifest(there)
	if err != nil {
		return "", err
	}
	how, err := a.merge(o, before)
	if err != nil || dry || how == "unchanged" {
		return how, err
	}
	return how, changePod(a.dirs, there, o)
}

// changePod makes a pod what o says, or answers errOutdated.
func changePod(dirs state.Dirs, there *pod.Stored, o *manifest.Object) error {
	return pod.Change(dirs, there.Metadata.UID, o.JSON, func(p *pod.Pod) error {
		if p.Metadata.Generation != there.Metadata.Generation {
			return errOutdated
		}
		p.Spec, p.Metadata.Labels, p.Metadata.Annotations = o.Pod.Spec, o.Labels, o.Annotations
		return nil
	})
}

// liveManifest is a pod's manifest, with what label and annotate have changed.
func liveManifest(there *pod.Stored) ([]byte, error) {
	data, err := there.Manifest()
	if err != nil {
		return nil, err
	}
	return manifest.Live(data, &there.Pod, nil)
}

// remakePod is for what Kubernetes lets nobody change: the pod ends, and another takes its name.
func (a *app) remakePod(ctx context.Context, o *manifest.Object, there *pod.Stored, dry bool) error {
	if dry {
		return nil
	}
	d := &deletion{a: a}
	if err := d.remove(&kubeObject{kind: podKind(), meta: there.Metadata}); err != nil && !errors.Is(err, errMissing) {
		return err
	}
	if err := d.await(ctx); err != nil {
		return interrupted(ctx, err)
	}
	return a.createPod(o, false)
}

func (a *app) createPod(o *manifest.Object, dry bool) error {
	if dry {
		return nil
	}
	made, err := pod.Create(a.dirs, o.Pod, o.JSON)
	if errors.Is(err, pod.ErrExists) { // somebody else was faster
		return alreadyExists(o)
	}
	if err != nil {
		return err
	}
	return pod.Start(a.dirs, made.Metadata.UID)
}

// newUID is a version 4 UUID.
func newUID() string {
	h := []byte(linux.RandomID()[:32])
	h[12], h[16] = '4', "89ab"[h[16]&3]
	return fmt.Sprintf("%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
}
