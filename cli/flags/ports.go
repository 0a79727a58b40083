package flags

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
)

// A Port is a published port, or with no host's port one that is exposed.
type Port struct {
	HostIP        string // "": all addresses
	HostPort      uint16 // 0: any free one
	ContainerPort uint16
	Protocol      string // tcp or udp
}

// mostPorts is how many one flag may publish by a range: each is a socket.
const mostPorts = 1000

// addPublish reads docker's -p: [IP:][HOST[-HOST]:]CONTAINER[-CONTAINER][/PROTOCOL].
func (r *Run) addPublish(value string) error {
	ports, err := ParsePublish(value)
	if err != nil {
		return hint.Wrap(fmt.Errorf("invalid port %q: %w", value, err), "write [IP:][HOST:]CONTAINER[/udp]: -p 8080:80, -p 127.0.0.1:5353:53/udp")
	}
	for _, p := range ports {
		if p.HostPort != 0 && slices.ContainsFunc(r.Publish, func(other Port) bool {
			return other.HostPort == p.HostPort && other.Protocol == p.Protocol && (other.HostIP == p.HostIP || other.HostIP == "" || p.HostIP == "")
		}) {
			return hint.Wrap(fmt.Errorf("host port %d/%s is published twice", p.HostPort, p.Protocol), "publish each host port once")
		}
		r.Publish = append(r.Publish, p)
	}
	return nil
}

// addExpose reads docker's --expose: PORT[-PORT][/PROTOCOL].
func (r *Run) addExpose(value string) error {
	ports, err := ParseExposed(value)
	if err != nil {
		return hint.Wrap(fmt.Errorf("invalid port %q: %w", value, err), "write PORT[/udp]: --expose 80")
	}
	r.Expose = append(r.Expose, ports...)
	return nil
}

// ParsePublish reads the value of a -p.
func ParsePublish(value string) ([]Port, error) {
	rest, protocol, err := cutProtocol(value)
	if err != nil {
		return nil, err
	}
	var ip, host string
	if at := strings.LastIndexByte(rest, ':'); at >= 0 {
		host, rest = rest[:at], rest[at+1:]
		if at := strings.LastIndexByte(host, ':'); at >= 0 && !strings.HasSuffix(host, "]") {
			ip, host = host[:at], host[at+1:]
		} else if isIPv4(host) || strings.HasPrefix(host, "[") { // an address, and any port of it
			ip, host = host, ""
		}
		if bare, open := strings.CutPrefix(ip, "["); open {
			var closed bool
			if ip, closed = strings.CutSuffix(bare, "]"); !closed {
				return nil, fmt.Errorf("%q has no ]", "["+bare)
			}
		}
		if ip != "" && !isIPv4(ip) && !isIPv6(ip) {
			return nil, fmt.Errorf("%q is no IP address", ip)
		}
	}
	first, last, err := portRange(rest)
	if err != nil {
		return nil, err
	}
	var hostFirst, hostLast int
	if host != "" {
		if hostFirst, hostLast, err = portRange(host); err != nil {
			return nil, err
		}
		if hostLast-hostFirst != last-first {
			return nil, errors.New("the ranges for the host and the container have different lengths")
		}
	}
	var list []Port
	for n := first; n <= last; n++ {
		p := Port{HostIP: ip, ContainerPort: uint16(n), Protocol: protocol}
		if host != "" {
			p.HostPort = uint16(hostFirst + n - first)
		}
		list = append(list, p)
	}
	return list, nil
}

// ParseExposed reads a port that an image or --expose names: PORT[-PORT][/PROTOCOL].
func ParseExposed(value string) ([]Port, error) {
	if strings.Contains(value, ":") {
		return nil, errors.New("an exposed port has no host's; -p publishes")
	}
	return ParsePublish(value)
}

func cutProtocol(value string) (rest, protocol string, err error) {
	rest, protocol, given := strings.Cut(value, "/")
	protocol = strings.ToLower(protocol)
	switch {
	case !given:
		protocol = "tcp"
	case protocol != "tcp" && protocol != "udp":
		return "", "", fmt.Errorf("protocol %q is neither tcp nor udp", protocol)
	}
	return rest, protocol, nil
}

func portRange(text string) (first, last int, err error) {
	from, to, isRange := strings.Cut(text, "-")
	if !isRange {
		to = from
	}
	for _, end := range []struct {
		text string
		n    *int
	}{{from, &first}, {to, &last}} {
		n, err := strconv.ParseUint(end.text, 10, 16)
		if err != nil || n == 0 {
			return 0, 0, fmt.Errorf("%q is no port from 1 to 65535", end.text)
		}
		*end.n = int(n)
	}
	switch {
	case last < first:
		return 0, 0, fmt.Errorf("the range %s ends before it begins", text)
	case last-first >= mostPorts:
		return 0, 0, fmt.Errorf("the range %s has more than %d ports", text, mostPorts)
	}
	return first, last, nil
}
