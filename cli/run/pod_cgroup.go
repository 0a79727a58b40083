package run

import (
	"fmt"

	"codeberg.org/minipod/minipod/runtime/cgroup"
)

// makeGroup makes no group: the pod's supervisor is one process for all of them, and stays where it is.
func (h *podHost) makeGroup(cgroup.Options) (*cgroup.Group, error) {
	return nil, fmt.Errorf("%w: a pod's containers have none of their own", cgroup.ErrUnavailable)
}
