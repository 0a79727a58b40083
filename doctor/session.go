package doctor

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"codeberg.org/minipod/minipod/internal/linux"
)

func (m *machine) tun(context.Context) finding {
	if err := m.Open(m.Root + "/dev/net/tun"); err != nil {
		return finding{Warn, []string{m.say("%s, want it open for reading and writing", err.Error())}, device("net/tun", "tun", err)}
	}
	return finding{OK, []string{m.say("%s: opens", "/dev/net/tun")}, nil}
}

// controllers are those that pods' limits use. The others that exist (io, cpuset, …) would be welcome.
var controllers = [...]string{"cpu", "memory", "pids"}

func (m *machine) cgroup(context.Context) finding {
	const mount = "/sys/fs/cgroup"
	if fs, err := m.Statfs(m.Root + mount); err != nil || fs.Magic != linux.CgroupMagic {
		return finding{Warn, []string{m.say("%s: not cgroup v2 alone (stat -f -c %%T %s; want cgroup2fs)", mount, mount)}, m.unified()}
	}
	file := mount + m.cgroupFolder() + "/cgroup.controllers"
	have := strings.Fields(m.read(file))
	evidence := []string{m.say("%s: %q, want %s among them", file, strings.Join(have, " "), strings.Join(controllers[:], ", "))}
	for _, c := range controllers {
		if !slices.Contains(have, c) {
			return finding{Warn, evidence, m.delegate()}
		}
	}
	return finding{OK, evidence, nil}
}

// cgroupFolder is the group that systemd hands to the user, or where there is none the one that we are in.
func (m *machine) cgroupFolder() string {
	service := fmt.Sprintf("/user.slice/user-%d.slice/user@%d.service", m.UID, m.UID)
	if m.exists("/sys/fs/cgroup" + service) {
		return service
	}
	return strings.TrimSuffix(value(m.read("/proc/self/cgroup"), "0::"), "/")
}

func (m *machine) unified() []string {
	const argument = "systemd.unified_cgroup_hierarchy=1"
	if !m.systemd() {
		return []string{m.say("# mount cgroup v2, and no v1 controller, at /sys/fs/cgroup (man 7 cgroups)")}
	}
	if slices.Contains(m.families(), "fedora") {
		return []string{"sudo grubby --update-kernel=ALL --args=" + argument, "sudo reboot"}
	}
	return []string{
		`sudo sed -i 's/^GRUB_CMDLINE_LINUX="/&` + argument + ` /' /etc/default/grub`,
		"sudo update-grub || sudo grub-mkconfig -o /boot/grub/grub.cfg",
		"sudo reboot",
	}
}

func (m *machine) delegate() []string {
	if !m.systemd() {
		return []string{m.say("# without systemd somebody with root must make a group for you and chown it (man 7 cgroups, Delegation)")}
	}
	const dir = "/etc/systemd/system/user@.service.d"
	return []string{
		"sudo mkdir -p " + dir,
		"printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | sudo tee " + dir + "/delegate.conf",
		"sudo systemctl daemon-reload",
		m.say("# log out of every session and in again"),
	}
}

// systemd tells whether it is the machine's init (man 3 sd_booted).
func (m *machine) systemd() bool { return m.exists("/run/systemd/system") }

func (m *machine) runtimeDir(context.Context) finding {
	dir := m.Getenv("XDG_RUNTIME_DIR")
	usual := fmt.Sprintf("/run/user/%d", m.UID)
	fix := []string{"export XDG_RUNTIME_DIR=" + usual}
	if !m.exists(usual) {
		fix = []string{m.say("# without a session of systemd or elogind this is as it should be")}
		if m.systemd() {
			fix = []string{"sudo loginctl enable-linger " + m.User, "export XDG_RUNTIME_DIR=" + usual}
		}
	}
	if dir == "" {
		return finding{Warn, []string{m.say("XDG_RUNTIME_DIR is not set; sockets go to %s", m.Dirs.Run)}, fix}
	}
	info, err := os.Stat(m.Root + dir)
	if err != nil {
		return finding{Warn, []string{err.Error()}, fix}
	}
	evidence := []string{m.say("%s: mode %v, want drwx------", dir, info.Mode())}
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return finding{Warn, evidence, fix}
	}
	return finding{OK, evidence, nil}
}

func (m *machine) linger(context.Context) finding {
	file := "/var/lib/systemd/linger/" + m.User
	switch {
	case !m.systemd():
		return finding{Skip, []string{m.say("/run/systemd/system: missing, so nobody ends your processes at logout")}, nil}
	case m.exists(file):
		return finding{OK, []string{m.say("%s: exists", file)}, nil}
	}
	return finding{Warn, []string{m.say("%s: missing", file)}, []string{"sudo loginctl enable-linger " + m.User}}
}
