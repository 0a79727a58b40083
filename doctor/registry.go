package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/config"
)

// patience is how long a registry may take to answer at all.
const patience = 3 * time.Second

// registries asks the default registry and each that the configuration names, by its mirrors first, until one answers.
func (m *machine) registries(ctx context.Context) finding {
	f := finding{status: OK}
	hosts := append(slices.Sorted(maps.Keys(m.Config.Registries)), m.Config.Unqualified)
	slices.Sort(hosts)
	for _, host := range slices.Compact(hosts) {
		if !m.reachable(ctx, host, &f) {
			f.status = Warn
			f.fix = append(f.fix, m.mirror(host)...)
		}
	}
	return f
}

func (m *machine) reachable(ctx context.Context, host string, f *finding) bool {
	registry := m.Config.Registry(host)
	for _, place := range append(slices.Clone(registry.Mirrors), host) {
		for _, base := range addresses(place, registry.Insecure) {
			ctx, cancel := context.WithTimeout(ctx, patience)
			err := m.Ping(ctx, base, registry.Insecure)
			cancel()
			if err == nil {
				f.evidence = append(f.evidence, m.say("%s: answers", base))
				return true
			}
			f.evidence = append(f.evidence, base+": "+err.Error())
		}
	}
	return false
}

// addresses are the base URLs of a registry or mirror "[http://]host[:port][/prefix]", in the order to try.
func addresses(place string, insecure bool) []string {
	scheme, rest, found := strings.Cut(place, "://")
	if !found {
		scheme, rest = "https", place
	}
	host, _, _ := strings.Cut(rest, "/")
	if host == config.DockerHub {
		host = "registry-1.docker.io"
	}
	rest = host + "/v2/"
	if !found && (insecure || loopback(host)) {
		return []string{scheme + "://" + rest, "http://" + rest}
	}
	return []string{scheme + "://" + rest}
}

func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return host == "localhost" || net.ParseIP(strings.Trim(host, "[]")).IsLoopback()
}

// mirror tells how to have a registry's images from elsewhere.
func (m *machine) mirror(host string) []string {
	file := filepath.Join(m.Dirs.Config, config.Name)
	return []string{
		m.say("# a proxy is taken from the environment: export HTTPS_PROXY=http://HOST:PORT"),
		m.say("# or name a mirror in %s: %s", file, fmt.Sprintf(`{"registries": {"%s": {"mirrors": ["MIRROR-HOST"]}}}`, host)),
	}
}

// ping takes every HTTP answer for a yes: 401 is what a registry says to strangers (distribution-spec, "Endpoints").
func ping(ctx context.Context, base string, insecure bool) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: insecure}, // "insecure" of the configuration
		DisableKeepAlives: true,
	}}
	response, err := client.Do(request)
	var failed *url.Error
	if errors.As(err, &failed) {
		return failed.Err // without the URL, which stands in the evidence
	}
	if err != nil {
		return err
	}
	return response.Body.Close()
}
