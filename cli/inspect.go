package cli

import (
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/image/store"
)

func (a *app) inspectVerb() *urfave.Command {
	return &urfave.Command{
		Name: "inspect", Usage: "Print all there is to know about images, as JSON", ArgsUsage: "NAME|ID...", Category: groupContainers,
		Description: examples("minipod inspect alpine", "minipod inspect -f '{{.Config.Cmd}}' alpine"),
		Flags: []urfave.Flag{
			inspectFormatFlag(),
			&urfave.StringFlag{Name: "type", Usage: "look for this `KIND` only: image"},
		},
		Action: func(c *urfave.Context) error {
			if err := checkArgs(c, 1, -1); err != nil {
				return err
			}
			if kind := c.String("type"); kind != "" && kind != "image" {
				return usageError(c, fmt.Sprintf("unknown type %q: use image", kind))
			}
			images, err := store.Open(a.dirs)
			if err != nil {
				return err
			}
			return inspectEach(a, c, func(name string) (any, error) { return a.inspectImage(images, name) })
		},
	}
}
