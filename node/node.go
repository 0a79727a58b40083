package node

import (
	"time"

	"codeberg.org/minipod/minipod/state"
)

// An Attachment is a pod, or a container by itself, that wants its place in the network.
type Attachment struct {
	ID        string // of the sandbox container
	Name      string // of the pod, or the container
	Namespace string // of the pod; "" for a container by itself
	Hostname  string
	Subdomain string   `json:",omitempty"`
	Aliases   []string `json:",omitempty"` // more names in DNS
	PID       int      // of the sandbox, whose network namespace it is
	Birth     uint64   // its start time
	Ports     []Port   `json:",omitempty"`
}

// A Port is one that is published.
type Port struct {
	HostIP        string `json:",omitempty"` // "": all addresses
	HostPort      uint16 `json:",omitempty"` // 0: any free one, returned in Lease.Ports
	ContainerPort uint16
	Protocol      string // tcp or udp
}

// A Lease is a place in the network, for as long as the sandbox lives.
type Lease struct {
	IP      string
	Prefix  int // the length of the network's prefix
	Gateway string
	MAC     string
	MTU     int
	DNS     []string `json:",omitempty"`
	Search  []string `json:",omitempty"`
	Ports   []Port   `json:",omitempty"`

	by Self // who gave it
	in state.Dirs
}

// A Self is a node, as it names itself: a process, and the owner of its network.
type Self struct {
	PID    int
	Birth  uint64
	Anchor Anchor
}

// A Probe is a question to a pod, asked from inside of its network namespace.
type Probe struct {
	ID      string // of the sandbox container; "": asked from the host's network
	Host    string // "": the pod's address
	Port    uint16
	HTTP    *HTTPGet `json:",omitempty"`
	GRPC    *string  `json:",omitempty"` // the service's name, "" for the server as a whole. Neither of them: whether a connection is taken
	Timeout time.Duration
}

// An HTTPGet is a request whose status answers a probe: from 200 to 399 is a yes.
type HTTPGet struct {
	Scheme  string // http or https, whose certificate counts for nothing
	Path    string
	Headers [][2]string `json:",omitempty"`
}

// A Result answers a probe. That the probe could not be asked is no error: it has failed.
type Result struct {
	OK      bool
	Message string // as Kubernetes words it in its events
}

// A State is the network as it is.
type State struct {
	PID         int    // of the node
	Anchor      int    // the PID of what owns the network
	Version     string // of minipod
	Started     time.Time
	Subnet      string
	Gateway     string
	MTU         int
	Bridge      string
	Uplink      string   // gvisor, pasta, redirect or none
	Guarded     bool     // no pod speaks in another's name
	Notices     []Notice `json:",omitempty"`
	Attachments []Attached
}

// Attached is who is there.
type Attached struct {
	Attachment
	Lease Lease
	Veth  string // the bridge's end
}

// A Notice is something that a person should know, once.
type Notice struct {
	Text string
	Hint string `json:",omitempty"`
}
