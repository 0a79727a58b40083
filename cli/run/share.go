package run

import (
	"errors"
	"fmt"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/runtime/spec"
)

// shared is what is known of the containers whose namespaces are to be joined, by the kind of namespace.
type shared map[specs.LinuxNamespaceType]*runtime.Bundle

// findShared looks up the containers that --network, --ipc, --uts and --pid name. From here on the flags have their IDs: a name may pass on to
// another container, and this one shall join the same at each start.
func (r *run) findShared() error {
	for _, mode := range []struct {
		kind  specs.LinuxNamespaceType
		value *string
	}{
		{specs.NetworkNamespace, &r.Network},
		{specs.IPCNamespace, &r.IPC},
		{specs.UTSNamespace, &r.UTS},
		{specs.PIDNamespace, &r.PID},
	} {
		name, ok := flags.Joined(*mode.value)
		if !ok {
			continue
		}
		record, err := runtime.Find(r.dirs, name)
		if err != nil {
			return err
		}
		b, err := runtime.LoadBundle(r.dirs, record.ID)
		if err != nil {
			return err
		}
		if mode.kind == specs.IPCNamespace && (b.IPC == "private" || b.IPC == "none") {
			return hint.Wrap(fmt.Errorf("cannot join IPC of container %s: it has --ipc %s", record.Name, b.IPC), "run that one with --ipc shareable, which is the default")
		}
		*mode.value = flags.ContainerMode(record.ID)
		if r.shared == nil {
			r.shared, r.share = shared{}, runtime.Shares{}
		}
		r.shared[mode.kind] = b
		if mode.kind != specs.UTSNamespace && !spec.Has(b.Spec, mode.kind) { // the host's: that is no container's to join, and we are in it
			continue
		}
		r.share[mode.kind] = record.ID
	}
	return nil
}

// hostNetwork, hostPID and hostIPC tell whether the container has the host's, by itself or by whom it shares one with.
func (r *run) hostNetwork() bool { return r.isHosts(specs.NetworkNamespace, r.Network) }
func (r *run) hostPID() bool     { return r.isHosts(specs.PIDNamespace, r.PID) }
func (r *run) hostIPC() bool     { return r.isHosts(specs.IPCNamespace, r.IPC) }

func (r *run) isHosts(kind specs.LinuxNamespaceType, mode string) bool {
	if b := r.shared[kind]; b != nil {
		return !spec.Has(b.Spec, kind)
	}
	return mode == "host"
}

// hosts are the kinds of namespaces that are the host's.
func (r *run) hosts() (kinds []specs.LinuxNamespaceType) {
	for _, one := range []struct {
		kind specs.LinuxNamespaceType
		host bool
	}{{specs.NetworkNamespace, r.hostNetwork()}, {specs.PIDNamespace, r.hostPID()}, {specs.IPCNamespace, r.hostIPC()}} {
		if one.host {
			kinds = append(kinds, one.kind)
		}
	}
	return kinds
}

// hostQueues tells whether the host has a place where its message queues are seen. What is not there is no reason to fail: mq_open(2) needs none.
func hostQueues() bool {
	info, err := os.Stat("/dev/mqueue")
	return err == nil && info.IsDir()
}

// shareWith completes the bundle of a container that joins others': it has their ids, and where it shares a network, the files that tell of it.
func (r *run) shareWith(b *runtime.Bundle) error {
	b.Share, b.IPC = r.share, r.IPC
	for _, other := range r.shared {
		b.UIDs, b.GIDs = other.UIDs, other.GIDs // whether they are all the same the start finds out: only then is there a user namespace
	}
	if r.names != nil {
		b.Files = r.names
		return nil
	}
	if other := r.shared[specs.NetworkNamespace]; other != nil {
		if len(other.Files) == 0 {
			return errors.New("the container whose network it shares has no names and resolvers")
		}
		b.Files, b.Names = other.Files, other.Names
		return nil
	}
	var err error
	b.Files, err = r.files(b.Spec.Hostname)
	return err
}

// sharedHostname is the name of the container whose UTS namespace is joined, or whose network: as in docker, it has the same then.
func (r *run) sharedHostname() string {
	for _, kind := range []specs.LinuxNamespaceType{specs.UTSNamespace, specs.NetworkNamespace} {
		if b := r.shared[kind]; b != nil {
			return b.Spec.Hostname
		}
	}
	return ""
}
