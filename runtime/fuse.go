package runtime

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/rootfs"
)

// FuseVerb is the verb of our own process that mounts fuse-overlayfs for a sandbox: `FuseVerb PROGRAM PLAN`, in the
// sandbox's user and mount namespace, outside of its pid namespace.
const FuseVerb = "mount-fuse"

// mountFuse mounts the container's tree with fuse-overlayfs in the mount namespace of the sandbox pid, which waits. The
// server ends when that namespace does.
func mountFuse(pid int, program string, plan *rootfs.Plan) error {
	prog := &linux.Program{}
	for _, kind := range []string{"user", "mnt"} {
		f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/ns/" + kind)
		if err != nil {
			return fmt.Errorf("join the sandbox: %w", err)
		}
		defer f.Close()
		prog.Setns(int(f.Fd()), kind)
	}
	data, err := json.Marshal(plan)
	if err != nil {
		return fmt.Errorf("encode the plan: %w", err)
	}
	prog.Credentials(0, 0, nil, false)
	prog.Execve("/proc/self/exe", []string{"minipod", FuseVerb, program, string(data)}, os.Environ())
	child, err := linux.Fork(0, prog)
	if err != nil {
		return err
	}
	started := child.Started()
	ended, err := child.Wait()
	switch {
	case started != nil:
		return fmt.Errorf("join the sandbox: %w", started)
	case err != nil:
		return err
	case ended != 0:
		return fmt.Errorf("mount with fuse-overlayfs: exit status %d", ended.ExitStatus())
	}
	return nil
}

// MountFuse is the other end of mountFuse; args are what follows FuseVerb.
func MountFuse(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("%s is minipod's own", FuseVerb)
	}
	var plan rootfs.Plan
	if err := json.Unmarshal([]byte(args[1]), &plan); err != nil {
		return fmt.Errorf("decode the plan: %w", err)
	}
	server, err := rootfs.StartFuse(args[0], &plan)
	if err != nil {
		return err
	}
	return server.Release()
}
