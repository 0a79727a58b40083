package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/config"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/network"
	"codeberg.org/minipod/minipod/network/port"
	"codeberg.org/minipod/minipod/node"
	"codeberg.org/minipod/minipod/state"
)

// linger is for how long a node stays that nobody needs: to start one takes longer than to have it wait.
const linger = 10 * time.Second

// A daemon is the node.
type daemon struct {
	dirs    state.Dirs
	config  *config.Config
	anchor  node.Anchor
	self    node.Self
	version string
	started time.Time
	ctx     context.Context // of all that it does until it ends

	users, ns *os.File // U, and the network's namespace
	subnet    netip.Prefix
	bridge    int
	guarded   bool   // nobody speaks in another's name; set before anybody is served
	uplink    string // what leads out
	listener  *linux.Socket
	room      *port.Room      // of all published ports
	gone      chan netip.Addr // tells a way out that is ours whose connections are to end; others take nothing out of it

	logging sync.Mutex
	logged  int // bytes

	mu        sync.Mutex // of what follows
	pool      *network.Pool
	attached  map[string]*attached // by ID; one that is being attached has no lease yet
	notices   []node.Notice
	callers   int
	releasing int         // of those who were attached
	released  sync.Cond   // says that it is one less
	idle      *time.Timer // runs while nobody needs us
	leaving   bool
}

// Main is the node's life, which Open of package node has started. version is minipod's.
func Main(version string) (status int) {
	birth, control, lock, err := take()
	if err != nil {
		return hint.ExitRuntime
	}
	d := &daemon{
		dirs: birth.Dirs, anchor: birth.Anchor, version: version, started: time.Now(), ctx: context.Background(), attached: map[string]*attached{},
		gone: make(chan netip.Addr, maxGone),
	}
	d.released.L = &d.mu
	if err := d.start(); err != nil {
		_ = node.Send(control, node.Failed(err))
		return hint.ExitRuntime
	}
	if err := errors.Join(node.Send(control, node.Reply{}), lock.Unlock(), control.Close()); err != nil {
		d.log(err) // whoever started us is gone: others will come
	}
	d.serve()
	select {} // leave ends us
}

// take takes over what we were born with.
func take() (birth node.Birth, control *linux.Socket, lock *state.Lock, err error) {
	syscall.CloseOnExec(node.BirthFD)
	if control, err = linux.AsSocket(os.NewFile(node.BirthFD, "birth")); err != nil {
		return birth, nil, nil, err
	}
	lock = state.Inherited(node.LockFD, "the node's lock")
	_, err = node.Receive(control, &birth)
	return birth, control, lock, err
}

// start makes the network, or takes over the one that there is, and listens.
func (d *daemon) start() (err error) {
	d.self = node.Self{PID: os.Getpid(), Anchor: d.anchor}
	if d.self.Birth, err = linux.StartTime(d.self.PID); err != nil {
		return err
	}
	if d.room, err = roomForPorts(); err != nil {
		return err
	}
	if d.config, err = config.Load(d.dirs); err != nil {
		return err
	}
	if d.users, err = d.anchor.Open("user"); err != nil {
		return err
	}
	if d.ns, err = d.anchor.Open("net"); err != nil {
		return err
	}
	if err := d.chooseSubnet(); err != nil {
		return err
	}
	err = network.In(d.ns, func() (err error) {
		d.bridge, err = network.Make(d.subnet)
		return err
	})
	if err != nil {
		return err
	}
	d.pool = network.NewPool(d.subnet)
	if err := d.adopt(); err != nil {
		return err
	}
	adopted := slices.Collect(maps.Values(d.attached))
	d.guard(adopted)
	for _, a := range adopted { // not before: who ends is not to be let in again
		go d.watch(a)
	}
	if err := d.serveOutside(); err != nil {
		return err
	}
	if err := d.watchAnchor(); err != nil {
		return err
	}
	if err := d.listen(); err != nil {
		return err
	}
	go d.obey()
	d.mu.Lock()
	d.settle()
	d.mu.Unlock()
	return nil
}

// made is what was decided when the network was made.
type made struct {
	Anchor node.Anchor
	Subnet netip.Prefix
}

func (d *daemon) path(names ...string) string {
	return filepath.Join(append([]string{node.Folder(d.dirs)}, names...)...)
}

// chooseSubnet decides on the subnet once for a network: pods have addresses of it.
func (d *daemon) chooseSubnet() error {
	file := d.path("network.json")
	var m made
	if err := state.ReadJSON(file, &m); err == nil && m.Anchor == d.anchor && m.Subnet.IsValid() {
		d.subnet = m.Subnet
		return nil
	}
	f, err := os.Open("/proc/self/net/route")
	if err != nil {
		return fmt.Errorf("read the host's routes: %w", err)
	}
	defer f.Close()
	routes, err := network.Routes(f)
	if err != nil {
		return err
	}
	subnet, warning, err := network.Choose(d.config.Network.Subnet, routes)
	if err != nil {
		return err
	}
	if warning != nil {
		d.notice(warning)
	}
	d.subnet = subnet
	return state.WriteJSON(file, made{d.anchor, subnet})
}

// notice is for whoever comes next.
func (d *daemon) notice(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notices = append(d.notices, node.Notice{Text: err.Error(), Hint: hint.Of(err)})
}

// untold returns the notices that nobody was told yet, by this node or one before it.
func (d *daemon) untold() []node.Notice {
	d.mu.Lock()
	defer d.mu.Unlock()
	file := d.path("told.json")
	var told []node.Notice
	_ = state.ReadJSON(file, &told) // what can't be read is told again
	var fresh []node.Notice
	for _, n := range d.notices {
		known := false
		for _, before := range told {
			known = known || before == n
		}
		if !known {
			fresh = append(fresh, n)
		}
	}
	if len(fresh) > 0 {
		if err := state.WriteJSON(file, append(told, fresh...)); err != nil {
			d.log(err)
		}
	}
	return fresh
}

// watchAnchor ends us with the network.
func (d *daemon) watchAnchor() error {
	pidfd, err := linux.OpenStarted(d.anchor.PID, d.anchor.Birth)
	if err != nil {
		return fmt.Errorf("watch the network's owner: %w", err)
	}
	go func() {
		if err := linux.AwaitProcess(pidfd); err != nil {
			d.log(err)
			return
		}
		d.mu.Lock() // for ever: nobody is told that a place in this network was theirs
		if !d.leaving {
			d.log(errors.New("the network's owner was killed, and the pods' network went with it"))
		}
		os.Exit(hint.ExitRuntime)
	}()
	return nil
}

// obey ends us at SIGTERM, and the network with us where nobody needs it.
func (d *daemon) obey() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	<-signals
	d.awaitReleases(patience)
	d.leave()
	os.Exit(0)
}

// patience is for how long a node that is to end waits: a cable that is being removed just now is no reason to leave the network behind.
const patience = 2 * time.Second

// awaitReleases waits until nothing is being released, and no longer than that.
func (d *daemon) awaitReleases(longest time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	late := false
	timer := time.AfterFunc(longest, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		late = true
		d.released.Broadcast()
	})
	defer timer.Stop()
	for d.releasing > 0 && !late {
		d.released.Wait()
	}
}

// settle notes whether anybody needs us, for who has the lock.
func (d *daemon) settle() {
	if d.callers+d.releasing > 0 || len(d.attached) > 0 {
		if d.idle != nil {
			d.idle.Stop()
			d.idle = nil
		}
		return
	}
	if d.idle == nil {
		d.idle = time.AfterFunc(linger, d.leave)
	}
}

// leave ends the network and us, if nobody needs it. Who comes meanwhile waits for the lock, and then finds nobody.
func (d *daemon) leave() {
	lock, err := state.TryLock(d.path("lock"))
	d.mu.Lock()
	d.idle = nil
	gone := errors.Is(err, fs.ErrNotExist) // the whole data folder was removed: nobody can come
	if err != nil && !gone {               // somebody is about to
		d.settle()
		d.mu.Unlock()
		return
	}
	if d.callers+d.releasing > 0 || len(d.attached) > 0 {
		d.settle()
		d.mu.Unlock()
		if lock != nil {
			_ = lock.Unlock()
		}
		return
	}
	d.leaving = true // and d.mu stays locked: there is nothing left to do
	d.listener.Close()
	_ = os.Remove(d.path(node.SocketName))
	for _, name := range []string{"network.json", "anchor.json"} {
		if err := os.Remove(d.path(name)); err != nil && !gone {
			d.log(err)
		}
	}
	if err := linux.KillProcess(d.anchor.PID, d.anchor.Birth, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		d.log(err)
	}
	os.Exit(0)
}

// log writes to our log file, which is our stderr. It begins anew where it has grown long: what fills it may be a stranger, who calls a
// port again and again that nobody answers.
func (d *daemon) log(err error) {
	d.logging.Lock()
	defer d.logging.Unlock()
	if d.logged > node.MaxLogBytes {
		d.logged = 0
		_ = os.Stderr.Truncate(0)
	}
	n, _ := fmt.Fprintf(os.Stderr, "%s [%d] %v\n", time.Now().UTC().Format(time.RFC3339), os.Getpid(), err)
	d.logged += n
}
