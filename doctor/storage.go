package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/rootfs"
)

func (m *machine) overlay(ctx context.Context) finding {
	if !m.namespaces || m.Storage == nil {
		return finding{Skip, []string{m.say("not tried: it takes a user namespace")}, nil}
	}
	probed, err := m.Storage(ctx)
	if err != nil {
		return finding{Skip, []string{err.Error()}, nil}
	}
	if probed.Overlay {
		m.overlaid = true
		evidence := []string{m.say("test mount with whiteouts, opaque folders and copy-up below %s: works", m.Dirs.Data)}
		if !probed.Volatile {
			evidence = append(evidence, m.say("option volatile: refused; stopping a container that wrote much is slower"))
		}
		return finding{OK, evidence, nil}
	}
	return finding{Warn, []string{m.say("test mount below %s: %s", m.Dirs.Data, probed.Reason)}, []string{
		m.say("# keep the data folder on ext4, xfs or btrfs: export MINIPOD_ROOT=/a/folder/there"),
	}}
}

func (m *machine) fuseOverlayfs(context.Context) finding {
	if m.overlaid && m.Config.Storage.Driver != string(rootfs.FuseOverlayfs) {
		return finding{Skip, []string{m.say("not needed: the kernel's overlay works")}, nil}
	}
	var f finding
	path, err := m.LookPath("fuse-overlayfs")
	if err != nil {
		f.evidence, f.fix = append(f.evidence, err.Error()), append(f.fix, m.install(fusePackage()))
	} else {
		f.evidence = append(f.evidence, m.say("%s: installed", path))
	}
	if err := m.Open(m.Root + "/dev/fuse"); err != nil {
		f.evidence, f.fix = append(f.evidence, m.say("%s, want it open for reading and writing", err.Error())), append(f.fix, device("fuse", "fuse", err)...)
	} else {
		f.evidence = append(f.evidence, m.say("%s: opens", "/dev/fuse"))
	}
	if f.status = OK; len(f.fix) > 0 {
		f.status = Warn
	}
	return f
}

// device returns what makes /dev/node openable: the module where it is missing, the mode where it is shut. udev gives
// it the mode again at the next start.
func device(node, module string, err error) []string {
	if errors.Is(err, fs.ErrNotExist) {
		return []string{"sudo modprobe " + module, "echo " + module + " | sudo tee /etc/modules-load.d/minipod-" + module + ".conf"}
	}
	name := filepath.Base(node)
	return []string{
		"sudo chmod 0666 /dev/" + node,
		fmt.Sprintf(`echo 'KERNEL=="%s", MODE="0666"' | sudo tee /etc/udev/rules.d/70-minipod-%s.rules`, name, name),
	}
}

// roomy is what a few ordinary images take, unpacked.
const roomy = 2 << 30

func (m *machine) data(context.Context) finding {
	dir := m.existing(m.Dirs.Data)
	here, err := m.Statfs(dir)
	if err != nil {
		return finding{Fail, []string{err.Error()}, []string{m.say("# let MINIPOD_ROOT name a folder that you may write to")}}
	}
	f := finding{OK, []string{m.say("%s: %.1f GiB free, want %d or more", dir, float64(here.Free)/(1<<30), roomy>>30)}, nil}
	elsewhere := m.say("# keep the data folder on a local disk: export MINIPOD_ROOT=/a/folder/there")
	if here.Free < roomy {
		f.status, f.fix = Warn, []string{m.say("# remove images that you don't use: minipod image prune -a"), elsewhere}
	}
	if here.Noexec && !m.overlaid { // overlay's own mount has none of the flags of those below it
		f.status, f.fix = Fail, []string{elsewhere}
		f.evidence = append(f.evidence, m.say("mounted noexec, so that no copied program runs"))
	}
	switch {
	case here.Readonly:
		f.status, f.fix = Fail, []string{elsewhere}
		f.evidence = append(f.evidence, m.say("mounted read-only"))
	case here.Magic == linux.NFSMagic:
		f.status, f.fix = Fail, []string{elsewhere}
		f.evidence = append(f.evidence, m.say("NFS: the server knows nothing of subordinate ids and refuses their files"))
	}
	return f
}

// existing is the nearest folder of path's that exists: minipod makes the others.
func (m *machine) existing(path string) string {
	for !m.exists(path) && path != "/" && path != "." {
		path = filepath.Dir(path)
	}
	return m.Root + path
}
