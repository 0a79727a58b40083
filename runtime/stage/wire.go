package stage

import (
	"codeberg.org/minipod/minipod/internal/wire"
)

// What the two ends of a stage pass each other, field by field. TestEveryField holds them to the types.

func (p *Plan) fields(c *wire.Codec) {
	c.String(&p.Name)
	c.String(&p.Hostname)
	c.Bool(&p.Loopback)
	c.Strings(&p.Sysctls)
	p.Rootfs.Fields(c)
	p.Process.fields(c)
	c.Bool(&p.Reaper)
	c.Bool(&p.Pause)
	wire.Int(c, &p.PIDNamespace)
	c.Strings(&p.Without)
	c.Bool(&p.HostPIDs)
	c.Bool(&p.Bounded)
	c.Bool(&p.Terminal)
	c.Bool(&p.Explain)
	c.Bool(&p.Step)
}

func (p *Process) fields(c *wire.Codec) {
	c.Strings(&p.Args)
	c.Strings(&p.Env)
	c.String(&p.Cwd)
	c.String(&p.User)
	c.Strings(&p.Groups)
	c.String(&p.ImageGroups)
	wire.Int(c, &p.Umask)
	wire.List(c, &p.Rlimits, func(c *wire.Codec, r *Rlimit) {
		c.String(&r.Name)
		wire.Int(c, &r.Resource)
		wire.Int(c, &r.Soft)
		wire.Int(c, &r.Hard)
	})
	wire.Optional(c, &p.OOMScoreAdj, wire.Int)
	wire.Int(c, &p.Bounding)
	wire.Int(c, &p.Capabilities)
	c.Bool(&p.NoNewPrivileges)
	c.Bytes(&p.Seccomp)
	for _, ranges := range []*[]IDRange{&p.IDs, &p.GIDs} {
		wire.List(c, ranges, func(c *wire.Codec, r *IDRange) {
			wire.Int(c, &r.First)
			wire.Int(c, &r.Count)
		})
	}
	c.Bool(&p.Setgroups)
}

func (m *message) fields(c *wire.Codec) {
	c.String(&m.Kind)
	wire.Optional(c, &m.Event, func(c *wire.Codec, e *Event) {
		c.String(&e.Step)
		c.String(&e.Why)
		c.String(&e.Who)
		wire.List(c, &e.Calls, func(c *wire.Codec, r *CallResult) {
			c.String(&r.Call)
			c.String(&r.Result)
		})
		c.String(&e.Error)
		c.Bool(&e.Before)
		wire.Int(c, &e.Micros)
		wire.Int(c, &e.Errno)
	})
	wire.Optional(c, &m.Fail, func(c *wire.Codec, f *Failure) { f.fields(c) })
}

func (f *Failure) fields(c *wire.Codec) {
	c.String(&f.Step)
	c.String(&f.Text)
	c.String(&f.Hint)
	wire.Int(c, &f.Exit)
	wire.Int(c, &f.Errno)
}

func (e *entry) fields(c *wire.Codec) {
	e.Process.fields(c)
	c.Bool(&e.Terminal)
	wire.Int(c, &e.Namespaces)
	wire.Int(c, &e.PIDs)
	wire.Int(c, &e.Cgroup)
}

func (e *entered) fields(c *wire.Codec) {
	wire.Optional(c, &e.Fail, func(c *wire.Codec, f *Failure) { f.fields(c) })
	wire.Int(c, &e.Forked)
	wire.Int(c, &e.PID)
}
