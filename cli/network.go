package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/config"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/network"
	"codeberg.org/minipod/minipod/node"
)

// networkVerbs are those of `minipod network`. Networks are not made by hand: there is the pods', the host's and none.
func (a *app) networkVerbs() []*urfave.Command {
	return []*urfave.Command{
		{
			Name: "ls", Aliases: []string{"list"}, Usage: "List networks",
			Description: examples("minipod network ls", "minipod network ls -o json"),
			Flags:       append(outputFlags(), quietFlag("print ids only"), &urfave.BoolFlag{Name: "no-trunc", Usage: "do not shorten ids"}),
			Action:      a.networkList,
		},
		{
			Name: "inspect", Usage: "Print all there is to know about networks, as JSON", ArgsUsage: "[NETWORK...]",
			Description: "Without a name: of the pods' network, with its bridge, who is attached to it, and the ports that are published.\n\n" +
				examples("minipod network inspect", "minipod network inspect -f '{{range .Containers}}{{.Name}} {{.IPv4Address}}{{\"\\n\"}}{{end}}'"),
			Flags:  []urfave.Flag{inspectFormatFlag()},
			Action: a.networkInspect,
		},
	}
}

// networkRow has docker's names for the columns of `network ls`.
type networkRow struct {
	ID, Name, Driver, Scope, IPv6, Internal, CreatedAt, Labels string
}

// networkRecord is docker's `network inspect`, and what we know beside.
type networkRecord struct {
	Name       string
	Id         string
	Created    time.Time
	Scope      string
	Driver     string
	EnableIPv4 bool
	EnableIPv6 bool
	IPAM       ipam
	Internal   bool
	Attachable bool
	Ingress    bool
	Containers map[string]networkContainer
	Options    map[string]string
	Labels     map[string]string
	Node       *nodeRecord `json:",omitempty"`
}

type ipam struct {
	Driver  string
	Options map[string]string
	Config  []ipamConfig
}

type ipamConfig struct{ Subnet, Gateway string }

type networkContainer struct {
	Name        string
	EndpointID  string
	MacAddress  string
	IPv4Address string
	IPv6Address string
	Namespace   string      `json:",omitempty"` // of a pod
	Veth        string      // the bridge's end
	Pid         int         // of the sandbox
	Ports       []node.Port // published
}

// nodeRecord is the process that looks after the network.
type nodeRecord struct {
	Pid     int
	Anchor  int
	Version string
	Uplink  string
	Guarded bool          // no pod speaks in another's name
	Notices []node.Notice `json:",omitempty"`
}

// networks are all there are.
func (a *app) networks() ([]networkRecord, error) {
	pods, err := a.podNetwork()
	if err != nil {
		return nil, err
	}
	list := []networkRecord{pods, {Name: "host", Driver: "host"}, {Name: "none", Driver: "null"}}
	for i := range list {
		n := &list[i]
		sum := sha256.Sum256([]byte(a.dirs.Data + "\x00" + n.Name)) // nobody made them, so nobody gave them one
		n.Id, n.Scope, n.EnableIPv4 = hex.EncodeToString(sum[:]), "local", n.Name != "none"
		if n.Containers == nil {
			n.Containers, n.IPAM = map[string]networkContainer{}, ipam{Driver: "default", Config: []ipamConfig{}}
		}
		if n.Options == nil {
			n.Options = map[string]string{}
		}
		n.Labels = map[string]string{}
	}
	return list, nil
}

// podNetwork is the pods' network as it is. Where no node runs, as it would be.
func (a *app) podNetwork() (networkRecord, error) {
	record := networkRecord{
		Name: flags.PodNetwork, Driver: "bridge", Containers: map[string]networkContainer{},
		IPAM: ipam{Driver: "default", Config: []ipamConfig{}},
		Options: map[string]string{
			"com.docker.network.bridge.name": network.Bridge, "com.docker.network.driver.mtu": strconv.Itoa(network.MTU),
		},
	}
	n, err := node.Connect(a.dirs)
	if errors.Is(err, node.ErrNone) {
		c, err := config.Load(a.dirs)
		if err != nil {
			return record, err
		}
		if c.Network.Subnet != "" {
			record.IPAM.Config = []ipamConfig{{Subnet: c.Network.Subnet}}
		}
		return record, nil
	}
	if err != nil {
		return record, err
	}
	defer n.Close()
	s, err := n.Inspect()
	if err != nil {
		return record, err
	}
	record.Created = s.Started
	record.IPAM.Config = []ipamConfig{{s.Subnet, s.Gateway}}
	record.Node = &nodeRecord{Pid: s.PID, Anchor: s.Anchor, Version: s.Version, Uplink: s.Uplink, Guarded: s.Guarded, Notices: s.Notices}
	for _, at := range s.Attachments {
		ports := at.Lease.Ports
		if ports == nil {
			ports = []node.Port{}
		}
		record.Containers[at.ID] = networkContainer{
			Name: at.Name, EndpointID: at.Veth, MacAddress: at.Lease.MAC, IPv4Address: fmt.Sprintf("%s/%d", at.Lease.IP, at.Lease.Prefix),
			Namespace: at.Namespace, Veth: at.Veth, Pid: at.PID, Ports: ports,
		}
	}
	return record, nil
}

func (a *app) networkList(c *urfave.Context) error {
	if err := checkArgs(c, 0, 0); err != nil {
		return err
	}
	records, err := a.networks()
	if err != nil {
		return err
	}
	l := listing[networkRow]{
		header: networkRow{"NETWORK ID", "NAME", "DRIVER", "SCOPE", "IPV6", "INTERNAL", "CREATED AT", "LABELS"},
		table:  `{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}`,
		wide:   `{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}\t{{.IPv6}}\t{{.CreatedAt}}`,
		name:   func(r networkRow) string { return r.ID },
	}
	for _, n := range records {
		id, created := n.Id, ""
		if !c.Bool("no-trunc") {
			id = id[:12]
		}
		if !n.Created.IsZero() {
			created = n.Created.Local().Format("2006-01-02 15:04:05 -0700 MST")
		}
		l.rows = append(l.rows, networkRow{ID: id, Name: n.Name, Driver: n.Driver, Scope: n.Scope, IPv6: "false", Internal: "false", CreatedAt: created})
	}
	l.records = records
	return l.print(a.out, c)
}

func (a *app) networkInspect(c *urfave.Context) error {
	records, err := a.networks()
	if err != nil {
		return err
	}
	if c.NArg() == 0 {
		return printInspect(a.out, records[:1], c.String("format"))
	}
	return inspectEach(a, c, func(name string) (networkRecord, error) {
		for _, n := range records {
			if n.Name == name || n.Id == name || len(name) >= 12 && n.Id[:12] == name || name == "bridge" && n.Name == flags.PodNetwork {
				return n, nil
			}
		}
		return networkRecord{}, hint.Wrap(fmt.Errorf("network %s not found", name), "list them: minipod network ls")
	})
}
