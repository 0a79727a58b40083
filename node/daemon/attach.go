package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/network"
	"codeberg.org/minipod/minipod/node"
	"codeberg.org/minipod/minipod/state"
)

// attached is who has a place in the network.
type attached struct {
	node.Attached
	address netip.Addr
	names   []string // by which everybody knows it
	pidfd   *os.File // of the sandbox
	ns      *os.File // its network namespace
	there   bool     // it is all set up; before that its address and ID are only taken

	released bool // it is, or is being

	publish context.CancelFunc // ends its published ports
	closed  chan struct{}      // closed when they are free
}

// attach gives a sandbox its place. Whoever asks again for the same sandbox gets the same answer.
func (d *daemon) attach(wanted node.Attachment) (*node.Lease, error) {
	if !isID(wanted.ID) {
		return nil, fmt.Errorf("%q is no id", wanted.ID)
	}
	a := &attached{Attached: node.Attached{Attachment: wanted, Veth: vethOf(wanted)}}
	if err := a.open(); err != nil {
		return nil, err
	}
	lease, err := d.reserve(a)
	if err != nil || lease != nil {
		a.close()
		return lease, err
	}
	if err := d.plug(a); err != nil {
		return nil, errors.Join(err, d.release(a))
	}
	go d.watch(a)
	return &a.Lease, nil
}

func isID(id string) bool {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-."
	return id != "" && len(id) <= 128 && id[0] != '.' && strings.Trim(id, letters) == ""
}

// vethOf names the bridge's end: by the process, which no other attachment has at the same time.
func vethOf(a node.Attachment) string { return "veth" + strconv.Itoa(a.PID) }

func (a *attached) place() network.Place { return network.Place{Veth: a.Veth, Address: a.address} }

// open opens the sandbox's network namespace. That its process lives afterwards proves that it was its.
func (a *attached) open() (err error) {
	if a.pidfd, err = linux.OpenStarted(a.PID, a.Birth); err != nil {
		return err
	}
	if a.ns, err = os.Open("/proc/" + strconv.Itoa(a.PID) + "/ns/net"); err == nil && linux.Ended(a.pidfd) {
		err = fmt.Errorf("process %d has ended: %w", a.PID, syscall.ESRCH)
	}
	if err != nil {
		a.close()
	}
	return err
}

func (a *attached) close() {
	for _, f := range []*os.File{a.pidfd, a.ns} {
		if f != nil {
			f.Close()
		}
	}
}

// reserve takes a's ID and an address for it, or returns the lease that the sandbox has already.
func (d *daemon) reserve(a *attached) (*node.Lease, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if before := d.attached[a.ID]; before != nil {
		if before.there && before.PID == a.PID && before.Birth == a.Birth {
			return &before.Lease, nil
		}
		if !linux.Ended(before.pidfd) {
			return nil, fmt.Errorf("%s is attached to the network already, by process %d", a.Name, before.PID)
		}
		delete(d.attached, a.ID) // its watcher releases the rest
		d.releasing++
	}
	address, err := d.pool.Take()
	if err != nil {
		return nil, err
	}
	a.address = address
	a.Lease = node.Lease{
		IP: address.String(), Prefix: d.subnet.Bits(), Gateway: network.Gateway(d.subnet).String(), MAC: network.MAC(address).String(), MTU: network.MTU,
		DNS: d.nameservers(), Search: search(a.Namespace),
	}
	a.names = namesOf(&a.Attachment, address)
	d.attached[a.ID] = a
	return nil, nil
}

// plug makes a's devices, publishes its ports and writes the lease down.
func (d *daemon) plug(a *attached) error {
	if err := d.openPorts(a); err != nil {
		return err
	}
	err := network.In(d.ns, func() error {
		err := network.Plug(d.bridge, a.Veth, a.ns, network.MAC(a.address))
		if errors.Is(err, syscall.EEXIST) { // of a process that had the number before, and left its namespace to others
			if err = network.Unplug(a.Veth); err == nil {
				err = network.Plug(d.bridge, a.Veth, a.ns, network.MAC(a.address))
			}
		}
		if err == nil && d.guarded {
			err = network.Admit(a.place())
		}
		if err != nil {
			return err
		}
		if err := linux.JoinNetwork(a.ns); err != nil {
			return err
		}
		return network.Configure(a.address, d.subnet)
	})
	if err != nil {
		return err
	}
	if err := d.write(a); err != nil {
		return err
	}
	d.mu.Lock()
	a.there = true
	d.mu.Unlock()
	return nil
}

// watch waits for the sandbox's end.
func (d *daemon) watch(a *attached) {
	if err := linux.AwaitProcess(a.pidfd); err != nil { // it was detached, and closed
		return
	}
	if err := d.release(a); err != nil {
		d.log(fmt.Errorf("release %s's place in the network: %w", a.Name, err))
	}
}

// detach takes back the place of the sandbox with that ID.
func (d *daemon) detach(id string) error {
	d.mu.Lock()
	a := d.attached[id]
	d.mu.Unlock()
	if a == nil {
		return nil
	}
	return d.release(a)
}

// release gives everything back that a has. It may be called again.
func (d *daemon) release(a *attached) (err error) {
	d.closePorts(a)
	d.mu.Lock()
	released := a.released
	a.released, a.there = true, false
	if d.attached[a.ID] == a {
		delete(d.attached, a.ID)
		if err = os.Remove(d.leaseFile(a.ID)); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		d.releasing++
	}
	d.mu.Unlock()
	if released {
		return err
	}
	// Its namespace may live on, with others in it; and its address must not be in two places. This may take a tenth of a second: the
	// kernel waits until no processor can have a packet in the device.
	err = errors.Join(err, network.In(d.ns, func() error {
		err := network.Unplug(a.Veth)
		if d.guarded {
			err = errors.Join(err, network.Expel(a.place()))
		}
		return err
	}))
	a.close()
	select {
	case d.gone <- a.address:
	default:
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.releasing--
	d.released.Broadcast()
	d.pool.Give(a.address)
	d.settle()
	return err
}

// maxGone is more than can be released before the way out hears of it.
const maxGone = 1024

func (d *daemon) leaseFile(id string) string { return d.path("leases", id+".json") }

// write writes a's lease down, for the next node. It need not reach the disk: after a power cut there is no network.
func (d *daemon) write(a *attached) error {
	data, err := json.Marshal(a.Attached)
	if err != nil {
		return fmt.Errorf("encode a lease: %w", err)
	}
	temp := d.path("leases", ".tmp-"+a.ID)
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		return fmt.Errorf("write a lease down: %w", err)
	}
	return os.Rename(temp, d.leaseFile(a.ID))
}

// adopt takes over the leases that a node before us gave. Those of sandboxes that have ended since are given back.
func (d *daemon) adopt() error {
	if err := state.Make(d.path("leases")); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	entries, err := os.ReadDir(d.path("leases"))
	if err != nil {
		return err
	}
	var ports []string
	err = network.In(d.ns, func() (err error) {
		ports, err = network.Ports(d.bridge)
		return err
	})
	if err != nil {
		return err
	}
	at := map[string]bool{} // the bridge
	for _, veth := range ports {
		at[veth] = true
	}
	for _, e := range entries {
		file := filepath.Join(d.path("leases"), e.Name())
		a := &attached{}
		if state.ReadJSON(file, &a.Attached) != nil || !at[a.Veth] || d.takeOver(a) != nil {
			if err := os.Remove(file); err != nil {
				return err
			}
			continue
		}
		delete(at, a.Veth)
	}
	return network.In(d.ns, func() error { // what is left is nobody's: the node died while it was being made, or its owner did since
		var errs error
		for veth := range at {
			errs = errors.Join(errs, network.Unplug(veth))
		}
		return errs
	})
}

// guard keeps pods from speaking in others' names; those that were adopted go on without a gap.
func (d *daemon) guard(adopted []*attached) {
	places := make([]network.Place, 0, len(adopted))
	for _, a := range adopted {
		places = append(places, a.place())
	}
	err := network.In(d.ns, func() error { return network.Guard(places) })
	if err != nil {
		d.notice(hint.Wrap(fmt.Errorf("a container that may make raw packets (CAP_NET_RAW) can pretend to be another: %w", err), hint.Of(err)))
		return
	}
	d.guarded = true
}

// takeOver is attach for a sandbox that has its place.
func (d *daemon) takeOver(a *attached) error {
	address, err := netip.ParseAddr(a.Lease.IP)
	if err != nil {
		return err
	}
	if err := a.open(); err != nil {
		return err
	}
	a.address, a.there = address, true
	a.names = namesOf(&a.Attachment, address)
	d.pool.Claim(address)
	d.attached[a.ID] = a
	if err := d.openPorts(a); err != nil { // somebody else has taken one meanwhile: the pod is there all the same
		d.log(err)
	}
	return nil
}
