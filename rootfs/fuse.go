package rootfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

// StartFuse has program, a fuse-overlayfs, serve p's layers, mounts them on p.Data/p.Target and returns once they can be read.
// It runs as root of a user namespace with a mount namespace of its own. The caller waits for the process, which ends
// by itself with the last mount of its file system, be that by umount(2) or by the end of the last namespace with a
// copy of it.
//
// We make the connection and the mount ourselves and hand the program a descriptor (libfuse's "/dev/fd/N" in the place
// of a mount point), for three reasons. Its failure to start shows at once as an aborted connection, without polling
// for a mount to appear. It needs no set-uid fusermount3. And it can live in a mount namespace of its own: there its
// "/" stays the host's, where the layers are, when ours pivots; and it holds no copy of the mount that should end it.
//
// Trust: the process has the host's tree as its root. Start it outside of the container's PID namespace: inside, a
// container with CAP_SYS_PTRACE could walk out through /proc/PID/root.
func StartFuse(program string, p *Plan) (*os.Process, error) {
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return nil, hint.Wrap(err, "run `minipod doctor`")
	}
	defer device.Close() // only the server may hold it, or its death would not abort the connection
	mount, err := linux.NewMount("fuse", []string{
		"source=fuse-overlayfs", fmt.Sprintf("fd=%d", device.Fd()), "rootmode=40000", "user_id=0", "group_id=0",
		"default_permissions", // the kernel checks modes, as on a disk
		"allow_other",         // the container's other users, too
	}, 0)
	if err != nil {
		return nil, fmt.Errorf("mount for fuse-overlayfs: %w", err)
	}
	server, said, err := serve(program, p, device)
	if err != nil {
		linux.Close(mount)
		return nil, err
	}
	defer said.Close()
	target := path.Join(p.Data, p.Target)
	if err := linux.MoveMount(mount, target); err != nil {
		return nil, errors.Join(err, stop(server))
	}
	device.Close()
	// The kernel keeps this call waiting until the server has opened its layers and answered FUSE_INIT.
	if _, err := os.Stat(target); err != nil {
		err = fmt.Errorf("start %s: %w: %s", program, err, lastWords(said))
		return nil, errors.Join(err, linux.Detach(target), stop(server))
	}
	return server, nil
}

// serve starts program in the foreground, in a mount namespace of its own, with device as its descriptor 3. What it
// says on stderr goes to a file in memory, since a pipe that nobody reads any more would kill it.
func serve(program string, p *Plan, device *os.File) (*os.Process, *os.File, error) {
	said, err := linux.MemoryFile("fuse-overlayfs")
	if err != nil {
		return nil, nil, err
	}
	options := "lowerdir=" + strings.Join(p.Lower, ":") + ",upperdir=" + p.Upper + ",workdir=" + p.Work
	server, err := os.StartProcess(program, []string{"fuse-overlayfs", "-f", "-o", options, "/dev/fd/3"}, &os.ProcAttr{
		Dir:   p.Data,
		Env:   []string{},
		Files: []*os.File{nil, said, said, device},
		Sys:   linux.InOwnMountNamespace(),
	})
	if err != nil {
		said.Close()
		return nil, nil, fmt.Errorf("start fuse-overlayfs: %w", err)
	}
	return server, said, nil
}

func stop(server *os.Process) error {
	kill := server.Kill()
	if errors.Is(kill, os.ErrProcessDone) {
		kill = nil
	}
	_, err := server.Wait()
	return errors.Join(kill, err)
}

// lastWords returns what the server complained about before it died, in one line.
func lastWords(said *os.File) string {
	if _, err := said.Seek(0, io.SeekStart); err != nil {
		return "no message"
	}
	text, err := io.ReadAll(io.LimitReader(said, 1000))
	if err != nil || len(text) == 0 {
		return "no message"
	}
	return strings.Join(strings.Fields(string(text)), " ")
}
