package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/state"
)

// Name is the file's name in state.Dirs.Config.
const Name = "config.json"

// DockerHub is the registry of names that name none.
const DockerHub = "docker.io"

// A Config is the decoded file with the defaults filled in. It is read-only after Load.
type Config struct {
	Unqualified string              `json:"unqualified"` // the registry of names such as "alpine"
	Registries  map[string]Registry `json:"registries"`  // by host[:port]
	Pull        Pull                `json:"pull"`
	Storage     Storage             `json:"storage"`
	Network     Network             `json:"network"`

	file string // where it was read from, or would be
}

// A Registry is how to reach one registry.
type Registry struct {
	// Mirrors are tried in order before the registry itself: host[:port][/prefix], with http:// in front for plain
	// HTTP. The prefix goes before the repository, as pull-through caches want it.
	Mirrors []string `json:"mirrors"`
	// Insecure allows unverified TLS and, where the host speaks no TLS, plain HTTP. Loopback is always so.
	Insecure bool `json:"insecure"`
}

// Pull tunes image.Pull.
type Pull struct {
	Downloads int `json:"downloads"` // layers at a time
}

// Storage is how images and containers are kept.
type Storage struct {
	Driver       string `json:"driver"`       // auto, overlay, fuse-overlayfs or copy
	MaxLayerSize Size   `json:"maxLayerSize"` // of one unpacked layer
}

// Network is the pods' network.
type Network struct {
	Default string `json:"default"` // what a container has that asks for nothing: pod, none or host
	Uplink  string `json:"uplink"`  // what leads out: auto, gvisor (/dev/net/tun), pasta, redirect (TCP alone) or none
	Subnet  string `json:"subnet"`  // their addresses; "": 10.88.0.0/16, or another where the host has that one
}

// Drivers are the values of Storage.Driver.
func Drivers() []string { return []string{"auto", "overlay", "fuse-overlayfs", "copy"} }

// Default returns what an empty file means.
func Default() *Config {
	return &Config{
		Unqualified: DockerHub,
		Registries:  map[string]Registry{},
		Pull:        Pull{Downloads: 3},
		Storage:     Storage{Driver: "auto", MaxLayerSize: 32 << 30},
		Network:     Network{Default: "pod", Uplink: "auto"},
	}
}

// Load reads the user's file. No file gives the defaults; a bad one is an error with a hint.
func Load(d state.Dirs) (*Config, error) {
	name := filepath.Join(d.Config, Name)
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		c := Default()
		c.file = name
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return Parse(name, data)
}

// Parse decodes data; name is for messages.
func Parse(name string, data []byte) (*Config, error) {
	c := Default()
	err := decode(data, c)
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("read the configuration %s: %w", name, err),
			"correct that line of "+name+"; an empty object, {}, is a valid configuration")
	}
	c.file = name
	return c, nil
}

// File names the file that c was read from, or that would be read if it existed, so that a message can tell the
// user what to edit.
func (c *Config) File() string {
	if c.file == "" {
		return "~/.config/minipod/" + Name
	}
	return c.file
}

// Registry returns the settings for host, as in a reference ("docker.io", "registry.lan:5000").
func (c *Config) Registry(host string) Registry { return c.Registries[host] }

// Qualify puts the configured registry in front of a name that names none; other names come back as they are.
func (c *Config) Qualify(name string) string {
	if c.Unqualified == DockerHub || c.Unqualified == "" {
		return name // what every parser of references does by itself, "library/" included
	}
	if first, _, found := strings.Cut(name, "/"); found && (strings.ContainsAny(first, ".:") || first == "localhost") {
		return name
	}
	return c.Unqualified + "/" + name
}

func (c *Config) check() error {
	if c.Unqualified != "" && !isHost(c.Unqualified) {
		return fmt.Errorf("unqualified: %q is no host[:port]", c.Unqualified)
	}
	for host, r := range c.Registries {
		if !isHost(host) {
			return fmt.Errorf("registries.%s: the key must be a host[:port], as in an image's name", host)
		}
		for i, m := range r.Mirrors {
			bare := strings.TrimPrefix(strings.TrimPrefix(m, "https://"), "http://")
			first, _, _ := strings.Cut(bare, "/")
			if !isHost(first) {
				return fmt.Errorf("registries.%s.mirrors[%d]: %q is no [http://]host[:port][/prefix]", host, i, m)
			}
		}
	}
	if n := c.Pull.Downloads; n < 1 || n > 32 {
		return fmt.Errorf("pull.downloads: %d is not between 1 and 32", n)
	}
	if c.Storage.MaxLayerSize < 1 {
		return fmt.Errorf("storage.maxLayerSize: %d is not positive", c.Storage.MaxLayerSize)
	}
	if d := c.Network.Default; d != "pod" && d != "none" && d != "host" {
		return fmt.Errorf("network.default: %q is none of pod, none, host", d)
	}
	if u := c.Network.Uplink; !slices.Contains([]string{"auto", "gvisor", "pasta", "redirect", "none"}, u) {
		return fmt.Errorf("network.uplink: %q is none of auto, gvisor, pasta, redirect, none", u)
	}
	if s := c.Network.Subnet; s != "" && !isSubnet(s) {
		return fmt.Errorf("network.subnet: %q is no IPv4 subnet such as 10.88.0.0/16", s)
	}
	for _, d := range Drivers() {
		if c.Storage.Driver == d {
			return nil
		}
	}
	return fmt.Errorf("storage.driver: %q is none of %s", c.Storage.Driver, strings.Join(Drivers(), ", "))
}

// isSubnet tells a subnet by its form. The node, which may import what knows more, reads it.
func isSubnet(s string) bool {
	address, bits, found := strings.Cut(s, "/")
	return found && strings.Count(address, ".") == 3 && bits != "" && strings.Trim(address, "0123456789.") == "" && strings.Trim(bits, "0123456789") == ""
}

func isHost(s string) bool {
	return s != "" && !strings.ContainsAny(s, "/ \t\n@?#\\")
}
