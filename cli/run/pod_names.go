package run

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"codeberg.org/minipod/minipod/pod"
	"codeberg.org/minipod/minipod/rootfs"
)

// names are the files by which the pod's containers find others: the kubelet's (pkg/kubelet/kubelet_pods.go, network/dns/dns.go).
func (b *podSandbox) names(p *pod.Pod) ([]rootfs.File, error) {
	hosts, err := b.hosts(p)
	if err != nil {
		return nil, err
	}
	resolver, err := b.resolver(p)
	if err != nil {
		return nil, err
	}
	return []rootfs.File{
		{Target: "/etc/hosts", Content: hosts},
		{Target: "/etc/hostname", Content: b.hostname + "\n"},
		{Target: "/etc/resolv.conf", Content: resolver},
	}, nil
}

func (b *podSandbox) hosts(p *pod.Pod) (string, error) {
	var text strings.Builder
	if p.Spec.HostNetwork {
		data, err := os.ReadFile("/etc/hosts")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("copy the host's names: %w", err)
		}
		text.WriteString("# Kubernetes-managed hosts file (host network).\n" + string(data))
	} else {
		text.WriteString("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" +
			"fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n")
		ip := b.ip
		short, _, _ := strings.Cut(b.hostname, ".")
		switch {
		case p.Spec.Subdomain != "":
			fmt.Fprintf(&text, "%s\t%s.%s.%s.svc.%s\t%s\n", ip, short, p.Spec.Subdomain, p.Metadata.Namespace, clusterDomain, short)
		default:
			fmt.Fprintf(&text, "%s\t%s\n", ip, b.hostname)
		}
	}
	if len(p.Spec.HostAliases) > 0 {
		text.WriteString("\n# Entries added by HostAliases.\n")
	}
	for _, a := range p.Spec.HostAliases {
		fmt.Fprintf(&text, "%s\t%s\n", a.IP, strings.Join(a.Hostnames, "\t"))
	}
	return text.String(), nil
}

const clusterDomain = "cluster.local"

// resolvers is what a resolv.conf says.
type resolvers struct {
	servers, searches, options []string
}

// resolver is the pod's resolv.conf: that of its dnsPolicy, with what its dnsConfig adds.
func (b *podSandbox) resolver(p *pod.Pod) (string, error) {
	var r resolvers
	inside := b.lease != nil && len(b.lease.DNS) > 0 && (!p.Spec.HostNetwork || p.Spec.DNSPolicy == "ClusterFirstWithHostNet")
	switch {
	case p.Spec.DNSPolicy == "None":
	case inside && p.Spec.DNSPolicy != "Default":
		r = resolvers{slices.Clone(b.lease.DNS), slices.Clone(b.lease.Search), []string{"ndots:5"}}
	default:
		data, err := os.ReadFile("/etc/resolv.conf")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("copy the host's resolvers: %w", err)
		}
		if p.Spec.DNSConfig == nil && !inside {
			return string(data), nil
		}
		r = parseResolvers(data)
		if inside && slices.ContainsFunc(r.servers, isLoopback) { // the host's own, which the pod's network does not reach
			r.servers = slices.Clone(b.lease.DNS)
		}
	}
	if c := p.Spec.DNSConfig; c != nil {
		r.servers = unique(append(r.servers, c.Nameservers...))
		r.searches = unique(append(r.searches, c.Searches...))
		for _, o := range c.Options {
			r.setOption(o)
		}
	}
	return r.String(), nil
}

func isLoopback(address string) bool { return strings.HasPrefix(address, "127.") || address == "::1" }

func (r *resolvers) setOption(o pod.DNSOption) {
	r.options = slices.DeleteFunc(r.options, func(old string) bool { name, _, _ := strings.Cut(old, ":"); return name == o.Name })
	text := o.Name
	if o.Value != nil {
		text += ":" + *o.Value
	}
	r.options = append(r.options, text)
}

func unique(list []string) (once []string) {
	for _, s := range list {
		if !slices.Contains(once, s) {
			once = append(once, s)
		}
	}
	return once
}

func parseResolvers(data []byte) (r resolvers) {
	for line := range bytes.Lines(data) {
		words := strings.Fields(string(line))
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			r.servers = append(r.servers, words[1])
		case "search", "domain":
			r.searches = words[1:]
		case "options":
			r.options = append(r.options, words[1:]...)
		}
	}
	return r
}

func (r *resolvers) String() string {
	text := ""
	if len(r.searches) > 0 {
		text += "search " + strings.Join(r.searches, " ") + "\n"
	}
	for _, s := range r.servers {
		text += "nameserver " + s + "\n"
	}
	if len(r.options) > 0 {
		text += "options " + strings.Join(r.options, " ") + "\n"
	}
	return text
}
