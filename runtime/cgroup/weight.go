package cgroup

import (
	"fmt"
	"strconv"

	"codeberg.org/minipod/minipod/internal/dbus"
)

// write writes a value. A weight is a share among brothers, and the container's only one is the supervisor: what competes with other containers
// is the group above both, which gets it, too. Where that is a scope, its files are systemd's, who writes them anew at the next daemon-reload: it
// must hear of the weight.
func (g *Group) write(w Write) error {
	err := write(g.Path, w.File, w.Value)
	property, value, ok := unitWeight(w)
	switch {
	case err != nil || !ok:
		return err
	case g.Unit == "":
		return write(g.base, w.File, w.Value)
	}
	return setUnitProperty(userManagers(), g.Unit, property, value)
}

// unitWeight is systemd's word for a weight, on its scale (man systemd.resource-control). It turns 1 to 10000 into BFQ's 1 to 1000, and we
// turn that back: both have 100 where nobody says. What is no number is one device's weight, or no weight.
func unitWeight(w Write) (property string, value uint64, ok bool) {
	value, err := strconv.ParseUint(w.Value, 10, 64)
	switch {
	case err != nil:
		return "", 0, false
	case w.File == "cpu.weight":
		return "CPUWeight", value, true
	case w.File == "io.weight":
		return "IOWeight", value, true
	case w.File == "io.bfq.weight" && value > 100:
		return "IOWeight", 100 + (value-100)*(10000-100)/(1000-100), true
	}
	return "IOWeight", value, w.File == "io.bfq.weight"
}

// setUnitProperty sets one property of a unit of the user's, of type t, until the unit ends.
func setUnitProperty(addresses []string, unit, property string, value uint64) error {
	err := withManager(addresses, func(c *dbus.Conn, _ bool) error {
		var e dbus.Encoder
		e.String(unit)
		e.Bool(true) // runtime: not for the next unit of this name
		e.Array(8, func() {
			e.Struct()
			e.String(property)
			e.Signature("t")
			e.Uint64(value)
		})
		_, err := c.Call(managerName, managerPath, managerType, "SetUnitProperties", "sba(sv)", e.Bytes())
		return err
	})
	if err != nil {
		return fmt.Errorf("tell systemd the %s of %s: %w", property, unit, err)
	}
	return nil
}
