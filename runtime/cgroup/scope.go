package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/internal/dbus"
)

// systemd's user manager on its bus: man org.freedesktop.systemd1.
const (
	managerName = "org.freedesktop.systemd1"
	managerPath = "/org/freedesktop/systemd1"
	managerType = "org.freedesktop.systemd1.Manager"
)

// systemdPatience is how long we let systemd take. It answers within milliseconds, and within seconds on a machine that boots.
const systemdPatience = 30 * time.Second

// userManagers returns where the user's manager may be met. The last, a socket of its own, is there without a bus, too:
// `systemctl --user` uses it.
func userManagers() (list []string) {
	if address := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); address != "" {
		list = append(list, address)
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" { // su and sudo -u don't set it
		dir = "/run/user/" + strconv.Itoa(os.Geteuid())
	}
	return append(list, "unix:path="+filepath.Join(dir, "bus"), filepath.Join(dir, "systemd/private"))
}

// withManager calls f with a connection to the first manager that can be reached and that f gets an answer from.
func withManager(addresses []string, f func(c *dbus.Conn, bus bool) error) error {
	err := ErrNoBus
	for _, address := range addresses {
		deadline := time.Now().Add(systemdPatience)
		bus := !filepath.IsAbs(address)
		dial := dbus.DialPeer
		if bus {
			dial = dbus.DialBus
		}
		c, dialErr := dial(address, deadline)
		if dialErr != nil {
			err = fmt.Errorf("%w (%w)", ErrNoBus, dialErr)
			continue
		}
		err = f(c, bus)
		c.Close()
		if !nobodyThere(err) {
			return err
		}
		err = fmt.Errorf("%w (%w)", ErrNoBus, err)
	}
	return err
}

// nobodyThere tells whether a bus answered that nobody on it is called systemd, nor could be started.
func nobodyThere(err error) bool {
	var refused *dbus.Error
	return errors.As(err, &refused) &&
		(refused.Name == "org.freedesktop.DBus.Error.ServiceUnknown" || strings.HasPrefix(refused.Name, "org.freedesktop.DBus.Error.Spawn."))
}

// startScope has the user manager move the supervisor into a new scope, and returns when it is there.
func (o *Options) startScope(unit string) error {
	return withManager(o.Buses, func(c *dbus.Conn, bus bool) error {
		if bus {
			if err := c.Match("type='signal',interface='" + managerType + "',path='" + managerPath + "'"); err != nil {
				return err
			}
			if _, err := c.Call(managerName, managerPath, managerType, "Subscribe", "", nil); err != nil {
				return err
			}
		}
		err := o.tryScope(c, unit)
		var refused *dbus.Error
		if !errors.As(err, &refused) || refused.Name != "org.freedesktop.systemd1.UnitExists" {
			return err
		}
		// The scope of an earlier start, whose last process has just ended. It goes by itself, and is announced.
		if waitErr := awaitRemoval(c, unit); waitErr != nil {
			return fmt.Errorf("%w; wait for its end: %w", err, waitErr)
		}
		return o.tryScope(c, unit)
	})
}

func (o *Options) tryScope(c *dbus.Conn, unit string) error {
	reply, err := c.Call(managerName, managerPath, managerType, "StartTransientUnit", "ssa(sv)a(sa(sv))", o.scope(unit))
	if err != nil {
		return err
	}
	values := reply.Values("o")
	job := values.String()
	if err := values.Err(); err != nil {
		return err
	}
	for {
		signal, err := c.NextSignal()
		if err != nil {
			return fmt.Errorf("wait until systemd has started %s: %w", unit, err)
		}
		if signal.Interface != managerType || signal.Member != "JobRemoved" {
			continue
		}
		values := signal.Values("uoss")
		_, path, _, result := values.Uint32(), values.String(), values.String(), values.String()
		switch {
		case values.Err() != nil:
			return values.Err()
		case path != job:
		case result != "done":
			return fmt.Errorf("systemd could not start %s: the job's result is %s", unit, result)
		default:
			return nil
		}
	}
}

// scope is the body of StartTransientUnit(name, mode, properties, auxiliary units).
func (o *Options) scope(unit string) []byte {
	var e dbus.Encoder
	e.String(unit)
	e.String("fail") // where a job for the unit is queued
	property := func(name, signature string) {
		e.Struct()
		e.String(name)
		e.Signature(signature)
	}
	e.Array(8, func() {
		property("Description", "s")
		e.String(o.Description)
		property("Delegate", "b") // with every controller that the manager has itself
		e.Bool(true)
		property("PIDs", "au")
		e.Array(4, func() {
			for _, pid := range append([]int{o.PID}, o.others...) {
				e.Uint32(uint32(pid))
			}
		})
		property("CollectMode", "s") // or a scope that failed would keep its name
		e.String("inactive-or-failed")
		if o.Parent != "" {
			property("Slice", "s")
			e.String(o.Parent)
		}
	})
	e.Array(8, func() {})
	return e.Bytes()
}

// awaitRemoval waits for the signal that a unit is gone, for a few seconds at most: one with processes stays.
func awaitRemoval(c *dbus.Conn, unit string) error {
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	var name dbus.Encoder
	name.String(unit)
	_, _ = c.Call(managerName, managerPath, managerType, "ResetFailedUnit", "s", name.Bytes()) // most did not fail
	_, err := c.Call(managerName, managerPath, managerType, "GetUnit", "s", name.Bytes())
	var refused *dbus.Error
	if errors.As(err, &refused) { // NoSuchUnit: it went while we asked
		return nil
	}
	for err == nil {
		var signal *dbus.Message
		if signal, err = c.NextSignal(); err != nil || signal.Member != "UnitRemoved" {
			continue
		}
		if values := signal.Values("so"); values.String() == unit {
			return nil
		}
	}
	return err
}

// Scope has the user's systemd move processes of ours into a scope of their own, so that they do not end with the service, or the session, that
// started them. ErrNoBus says that there is no systemd to ask.
func Scope(unit, description string, pid int, others ...int) error {
	o := &Options{Description: description, PID: pid, others: others, Buses: userManagers()}
	return o.startScope(unit)
}

// JoinScope has the user's systemd move a process of ours into a scope that Scope made.
func JoinScope(unit string, pid int) error { return attachByManager(userManagers(), unit, "", pid) }

// attachByManager has the user manager move a process of ours into the group below, "/…", of a unit that was delegated to us.
func attachByManager(addresses []string, unit, below string, pid int) error {
	return withManager(addresses, func(c *dbus.Conn, _ bool) error {
		var e dbus.Encoder
		e.String(unit)
		e.String(below)
		e.Array(4, func() { e.Uint32(uint32(pid)) })
		_, err := c.Call(managerName, managerPath, managerType, "AttachProcessesToUnit", "ssau", e.Bytes())
		return err
	})
}
