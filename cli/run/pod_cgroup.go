package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"codeberg.org/minipod/minipod/kube/event"
	"codeberg.org/minipod/minipod/runtime/cgroup"
	"codeberg.org/minipod/minipod/state"
)

// A podGroup is the pod's parent cgroup, in which each container has its own. The supervisor of all is beside it.
type podGroup struct {
	group *cgroup.Group // nil: there is none
	why   error         // why not
}

// makeGroup makes the group of a container of the pod's. Where this machine has none for us to make, or can't keep a limit, the container runs all
// the same, as under a kubelet that has not been told to enforce anything; an event says so.
func (h *podHost) makeGroup(o cgroup.Options) (*cgroup.Group, error) {
	h.grouping.Lock()
	defer h.grouping.Unlock()
	if h.group == nil {
		h.group = h.makeParent(o.ID)
	}
	err := h.group.why
	if err == nil {
		var g *cgroup.Group
		if g, err = h.group.group.Child(o.ID, o.Resources); err == nil {
			return g, nil
		}
	}
	if !asks(o.Resources) {
		if h.group.group != nil {
			if g, err := h.group.group.Child(o.ID, nil); err == nil {
				return g, nil
			}
		}
		return nil, fmt.Errorf("%w: %w", cgroup.ErrUnavailable, err)
	}
	h.recorder.Tell(event.Warning, "LimitsNotEnforced", "", "the limits of its containers are not enforced: %v", err)
	if h.group.group != nil {
		g, err := h.group.group.Child(o.ID, nil)
		if err == nil {
			return g, nil
		}
	}
	return nil, fmt.Errorf("%w: %w", cgroup.ErrUnavailable, err)
}

func (h *podHost) makeParent(id string) *podGroup {
	g, err := cgroup.New(cgroup.Options{ID: id, Description: "minipod pod " + h.pod.Namespace + "/" + h.pod.Name, Resources: h.parentLimits})
	if err != nil && h.parentLimits != nil {
		g, err = cgroup.New(cgroup.Options{ID: id, Description: "minipod pod " + h.pod.Namespace + "/" + h.pod.Name})
	}
	if err != nil {
		return &podGroup{why: err}
	}
	_ = state.WriteFile(h.groupFile(), []byte(g.Path), 0o600) // for who comes after us, should we be killed
	return &podGroup{group: g}
}

func (h *podHost) groupFile() string {
	return filepath.Join(h.dirs.Data, "pods", h.pod.UID, "cgroup")
}

// removeParent removes the pod's parent group: ours, or that of a supervisor that was killed.
func (h *podHost) removeParent() error {
	h.grouping.Lock()
	defer h.grouping.Unlock()
	if h.group != nil && h.group.group != nil {
		g := h.group.group
		h.group = nil
		return errors.Join(g.Remove(), os.Remove(h.groupFile()))
	}
	path, err := os.ReadFile(h.groupFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	g, err := cgroup.Load(strings.TrimSpace(string(path)))
	if err == nil {
		_ = g.Kill() // what does not die, Remove tells
		err = g.Remove()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Remove(h.groupFile())
}
