package dns

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of resolv.conf(5), as in glibc.
const (
	maxServers  = 3
	maxTimeout  = 30
	maxAttempts = 5
	maxResolv   = 64 << 10 // bytes of the file that are read
)

// A Config is what a resolv.conf says.
type Config struct {
	Servers  []netip.AddrPort
	Search   []string
	Timeout  time.Duration // of one try at one server
	Attempts int           // rounds through the servers
}

// ParseResolv reads a resolv.conf(5): what it does not understand it skips, as glibc does. Without a server it names none.
func ParseResolv(r io.Reader) (Config, error) {
	c := Config{Timeout: 5 * time.Second, Attempts: 2}
	lines := bufio.NewScanner(io.LimitReader(r, maxResolv))
	lines.Buffer(nil, maxResolv+1)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		line, _, _ = strings.Cut(line, ";")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			if ip, err := netip.ParseAddr(words[1]); err == nil && len(c.Servers) < maxServers {
				c.Servers = append(c.Servers, netip.AddrPortFrom(ip.Unmap(), 53))
			}
		case "domain", "search": // the last one counts
			c.Search = words[1:]
		case "options":
			for _, option := range words[1:] {
				c.option(option)
			}
		}
	}
	return c, lines.Err()
}

func (c *Config) option(option string) {
	name, text, _ := strings.Cut(option, ":")
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return
	}
	switch name {
	case "timeout":
		c.Timeout = time.Duration(min(n, maxTimeout)) * time.Second
	case "attempts":
		c.Attempts = min(n, maxAttempts)
	}
}

// A Resolv is the host's resolv.conf, read again whenever it changed: a laptop changes networks.
type Resolv struct {
	files []string

	mu   sync.Mutex
	last Config
	seen []fs.FileInfo // nil for a file that is not there
}

// HostResolv returns the host's configuration. Where systemd-resolved's stub is all that it names, the servers that the stub
// would ask are better: the stub makes up answers that are right on the host alone (its name is 127.0.0.2 there).
func HostResolv() *Resolv {
	return &Resolv{files: []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}}
}

// Config returns the configuration of now. A file that can't be read counts as an empty one; without any server it is the
// one on this host, as resolv.conf(5) says.
func (r *Resolv) Config() Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	var now []fs.FileInfo
	for _, name := range r.files {
		info, err := os.Stat(name)
		if err != nil {
			info = nil
		}
		now = append(now, info)
	}
	if !slices.EqualFunc(now, r.seen, same) {
		r.last, r.seen = r.read(), now
	}
	return r.last
}

func same(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func (r *Resolv) read() Config {
	var config Config
	for _, name := range r.files {
		c, err := readResolv(name)
		if err != nil {
			continue
		}
		if config.Servers == nil || c.Servers != nil && stubs(config.Servers) {
			config = c
		}
		if !stubs(config.Servers) {
			break
		}
	}
	if len(config.Servers) == 0 {
		config = Config{Servers: []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53)}, Timeout: 5 * time.Second, Attempts: 2}
	}
	return config
}

func readResolv(name string) (c Config, err error) {
	f, err := os.Open(name)
	if err != nil {
		return Config{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return ParseResolv(f)
}

// stubs says whether the servers are systemd-resolved's own addresses, or none.
func stubs(servers []netip.AddrPort) bool {
	for _, s := range servers {
		if a := s.Addr().String(); a != "127.0.0.53" && a != "127.0.0.54" {
			return false
		}
	}
	return true
}
