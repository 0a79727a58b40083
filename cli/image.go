package cli

import urfave "github.com/urfave/cli/v2"

func (a *app) imageVerbs() []*urfave.Command { return nil }
func (a *app) imageNames() []string          { return nil }
func (a *app) counts() (int, int, error)     { return 0, 0, nil }
func (a *app) inspectVerb() *urfave.Command  { return &urfave.Command{Name: "inspect"} }
func (a *app) doctorVerb() *urfave.Command   { return &urfave.Command{Name: "doctor"} }
