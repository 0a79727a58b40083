package cli

import (
	urfave "github.com/urfave/cli/v2"
)

// containerVerbs are run and what looks at containers.
func (a *app) containerVerbs() []*urfave.Command { return nil }

// volumeUsers answers which containers mount a volume.
func (a *app) volumeUsers() (func(name string) []string, error) {
	return func(string) []string { return nil }, nil
}
