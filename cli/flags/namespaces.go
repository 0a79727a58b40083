package flags

import (
	"errors"
	"fmt"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
)

// containerMode begins the value of a flag that names the container whose namespace is joined.
const containerMode = "container:"

// Joined returns the container that a mode (Run.Network, IPC, UTS, PID) names, or false.
func Joined(mode string) (container string, ok bool) { return strings.CutPrefix(mode, containerMode) }

// ContainerMode is the mode that names container.
func ContainerMode(container string) string { return containerMode + container }

// setMode stores a mode: one of allowed, or a container.
func setMode(target *string, value string, allowed ...string) error {
	container, ok := Joined(value)
	switch {
	case !ok:
		return oneOf(target, append(allowed, containerMode+"NAME")...)(value)
	case !isName(container): // an ID is one, too
		return hint.Wrap(fmt.Errorf("invalid container name %q", container), "write container: and a name or id that `minipod ps` shows")
	}
	*target = value
	return nil
}

// PodNetwork is the network mode of a container that has its own place in the pods' network.
const PodNetwork = "pod"

// setNetwork is docker's --network. The pods' network is what docker calls bridge.
func (r *Run) setNetwork(value string) error {
	if value == "bridge" || value == "default" {
		value = PodNetwork
	}
	return setMode(&r.Network, value, PodNetwork, "none", "host")
}

func (r *Run) addAlias(value string) error {
	const longest = 63 // RFC 1035
	if value == "" || len(value) > longest || !only(value, lettersAndDigits+"-._") {
		return hint.Wrap(fmt.Errorf("invalid network alias %q", value), "use up to 63 letters, digits, dots and hyphens")
	}
	r.Aliases = append(r.Aliases, value)
	return nil
}

func (r *Run) setIPC(value string) error {
	return setMode(&r.IPC, value, "shareable", "private", "none", "host")
}

func (r *Run) setUTS(value string) error {
	if value == "host" {
		return hint.Wrap(errors.New("the host's name is not the container's to hold"), "give it the same name: --hostname \"$(hostname)\"")
	}
	if value == "private" || value == "" { // docker's word for it is the empty one
		r.UTS = ""
		return nil
	}
	return setMode(&r.UTS, value, "private")
}

// setPID is docker's --pid. private, which docker does not have, makes the command PID 1.
func (r *Run) setPID(value string) error {
	if value == "private" {
		r.Init, r.PID = false, ""
		return nil
	}
	return setMode(&r.PID, value, "private", "host")
}

// checkShared refuses what docker refuses: settings of what another container decides.
func (r *Run) checkShared() error {
	_, network := Joined(r.Network)
	_, uts := Joined(r.UTS)
	_, pid := Joined(r.PID)
	_, ipc := Joined(r.IPC)
	conflict := func(what, mode string) error {
		return hint.Wrap(fmt.Errorf("conflicting options: %s and %s", what, mode), "leave one of them out")
	}
	switch {
	case r.Hostname != "" && network:
		return conflict("hostname", "the network mode")
	case r.Hostname != "" && uts:
		return conflict("hostname", "the UTS mode")
	case (len(r.Publish) > 0 || r.PublishAll) && (network || r.Network == "none"):
		return conflict("port publishing", "the network mode")
	case len(r.AddHosts) > 0 && network:
		return conflict("custom host-to-IP mapping", "the network mode")
	case r.ShmSize != 0 && (ipc || r.IPC == "none" || r.IPC == "host"):
		return conflict("--shm-size", "the IPC mode")
	case !r.Init && pid:
		return conflict("--init=false", "the PID mode: another container has its PID 1 already")
	case !r.Init && r.PID == "host":
		return conflict("--init=false", "the PID mode: the host has its PID 1 already")
	}
	return nil
}
