package uplink

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
)

// RemoveRules removes what RedirectRules or MasqueradeRules made. It is no error that there is nothing, nor that the kernel has no nftables.
// Call it on a thread that is in that namespace, with CAP_NET_ADMIN there.
func RemoveRules() (err error) {
	c, err := nftables.New(nftables.AsLasting()) // see install
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	defer func() { err = errors.Join(err, c.CloseLasting()) }()
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return nil // there are no tables in a kernel that does not know them
	}
	for _, table := range tables {
		if table.Name == Table {
			c.DelTable(table)
			if err := c.Flush(); err != nil {
				return fmt.Errorf("remove rules from nftables: %w", err)
			}
		}
	}
	return nil
}
