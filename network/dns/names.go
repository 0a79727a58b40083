package dns

import (
	"net/netip"
	"strings"
)

// Zone is the domain of the cluster, as Kubernetes calls it where nobody chose another.
const Zone = "cluster.local"

// Names returns the names of a pod, as Lookup is asked for them, but for the bare name, which depends on who asks:
//
//	web.default                                      name.namespace
//	web.default.svc.cluster.local                    the same, in full: what the search path of a pod makes of "web"
//	web-0.nginx.default.svc.cluster.local            hostname.subdomain, for a pod that has them, and without the end
//	10-88-0-7.default.pod.cluster.local              its addresses, with dashes
func Names(name, namespace, hostname, subdomain string, addrs ...netip.Addr) []string {
	short := []string{name + "." + namespace}
	if subdomain != "" {
		if hostname == "" {
			hostname = name
		}
		short = append(short, hostname+"."+subdomain+"."+namespace)
	}
	var names []string
	for _, s := range short {
		names = append(names, s, s+".svc."+Zone)
	}
	for _, a := range addrs {
		names = append(names, strings.NewReplacer(".", "-", ":", "-").Replace(a.String())+"."+namespace+".pod."+Zone)
	}
	for i := range names {
		names[i] = strings.ToLower(names[i])
	}
	return names
}

// Search returns the search path of a pod in namespace, for its resolv.conf (with ndots:5, as the kubelet writes it).
func Search(namespace string) []string {
	return []string{namespace + ".svc." + Zone, "svc." + Zone, Zone}
}

// below says whether name is zone or in it. Both are lower case, without the final dot.
func below(name, zone string) bool {
	return name == zone || strings.HasSuffix(name, "."+zone)
}

// reverse returns the address that name, lower case and without the final dot, asks for the name of.
func reverse(name string) (netip.Addr, bool) {
	if labels, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		parts := strings.Split(labels, ".")
		if len(parts) != 4 {
			return netip.Addr{}, false
		}
		addr, err := netip.ParseAddr(parts[3] + "." + parts[2] + "." + parts[1] + "." + parts[0])
		return addr, err == nil
	}
	labels, ok := strings.CutSuffix(name, ".ip6.arpa")
	if !ok || len(labels) != 63 {
		return netip.Addr{}, false
	}
	var addr [16]byte // the last label is its first half byte
	for i := range 32 {
		at := 62 - 2*i
		if at > 0 && labels[at-1] != '.' {
			return netip.Addr{}, false
		}
		digit := strings.IndexByte("0123456789abcdef", labels[at])
		if digit < 0 {
			return netip.Addr{}, false
		}
		addr[i/2] = addr[i/2]<<4 | byte(digit)
	}
	return netip.AddrFrom16(addr), true
}
