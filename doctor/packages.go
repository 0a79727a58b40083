package doctor

import "strings"

// A pkg is one program's package by family of distributions.
type pkg struct{ debian, fedora, arch, alpine, suse string }

// Where the programs come from.
func uidmapPackage() pkg {
	return pkg{"uidmap", "shadow-utils", "shadow", "shadow-uidmap", "shadow"}
}

func fusePackage() pkg {
	return pkg{"fuse-overlayfs", "fuse-overlayfs", "fuse-overlayfs", "fuse-overlayfs", "fuse-overlayfs"}
}

// install returns the command that installs p here, by ID and ID_LIKE of /etc/os-release (man 5 os-release).
func (m *machine) install(p pkg) string {
	for _, family := range m.families() {
		switch family {
		case "debian", "ubuntu":
			return "sudo apt-get install -y " + p.debian
		case "fedora", "rhel", "centos":
			return "sudo dnf install -y " + p.fedora
		case "arch":
			return "sudo pacman -S --needed " + p.arch
		case "alpine":
			return "sudo apk add " + p.alpine
		case "suse", "opensuse":
			return "sudo zypper install " + p.suse
		}
	}
	return m.say("# install the package that Debian calls %s and Fedora %s", p.debian, p.fedora)
}

// families are the words of ID and ID_LIKE, the most specific first.
func (m *machine) families() []string {
	var id, like []string
	for line := range strings.Lines(m.read("/etc/os-release")) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		words := strings.Fields(strings.Trim(value, `"'`))
		switch key {
		case "ID":
			id = words
		case "ID_LIKE":
			like = words
		}
	}
	return append(id, like...)
}
