package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

func (a *app) linkACLs(e *engineFlags) *cobra.Command {
	var filters string
	cmd := &cobra.Command{
		Use: "acls LINK", Short: "show what ACL sync would add and delete now, what it leaves alone, and why; changes nothing", Args: exactly(1),
		RunE: e.with(func(ctx context.Context, c *api.Client, args []string) error {
			acls, err := c.ACLs(ctx, args[0], filters)
			if err != nil {
				return fmt.Errorf("ACL sync of link %s: %w", args[0], err)
			}
			return a.print(acls, func(w io.Writer) {
				pairs(w, "link", acls.Link, "acl.sync.enable", yesNo(acls.Enabled), "in step", fmt.Sprint(acls.InStep), "made by the sync", fmt.Sprint(acls.Made),
					"allow.everyone.if.no.acl.found", yesNo(acls.AllowEveryone))
				lines := [][]string{{"PLAN", "PERMISSION", "OPERATION", "RESOURCE", "PRINCIPAL", "HOST", "AT", "WHY"}}
				for _, part := range []struct {
					what    string
					changes []api.ACLChange
				}{{"add", acls.ToAdd}, {"delete", acls.ToDelete}, {"protected", acls.Protected}, {"skipped", acls.Skipped}} {
					for _, x := range part.changes {
						lines = append(lines, []string{part.what, x.Permission, x.Operation, x.ResourceType + " " + x.PatternType + " " + x.ResourceName, x.Principal, x.Host, x.At, x.Reason})
					}
				}
				if len(lines) > 1 {
					fmt.Fprintln(w)
					rows(w, lines)
				}
			})
		}),
	}
	cmd.Flags().StringVar(&filters, "filters", "", "as if acl.filters were this JSON (default: the link's own)")
	return cmd
}
