package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

func (a *app) linkCommand() *cobra.Command {
	cmd := group("link", "cluster links of one engine")
	var e engineFlags
	e.add(cmd)
	cmd.AddCommand(a.linkList(&e), a.linkCreate(&e), a.linkDescribe(&e), a.linkDelete(&e), a.linkConfigs(&e), a.linkAlter(&e), a.linkDrift(&e), a.linkACLs(&e))
	return cmd
}

func (a *app) linkList(e *engineFlags) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list links", Args: exactly(0),
		RunE: e.with(func(ctx context.Context, c *api.Client, _ []string) error {
			links, err := c.Links(ctx)
			if err != nil {
				return err
			}
			return a.print(notNil(links), func(w io.Writer) {
				lines := [][]string{{"LINK", "SOURCE", "STATE", "MIRRORS", "ERROR"}}
				for _, l := range links {
					lines = append(lines, []string{l.LinkName, deref(l.SourceClusterID), l.LinkState, strconv.Itoa(len(l.TopicNames)), linkError(l)})
				}
				rows(w, lines)
			})
		}),
	}
}

func (a *app) linkCreate(e *engineFlags) *cobra.Command {
	var source string
	var validateOnly, noValidate bool
	var configs configFlags
	cmd := &cobra.Command{
		Use: "create LINK", Short: "create a link; the source is dialled first and a link that cannot work is refused", Args: exactly(1),
		RunE: e.with(func(ctx context.Context, c *api.Client, args []string) error {
			values, err := configs.read()
			if err != nil {
				return err
			}
			if err := c.CreateLink(ctx, args[0], api.CreateLink{SourceClusterID: source, Configs: values}, validateOnly, !noValidate); err != nil {
				return fmt.Errorf("create link %s: %w", args[0], err)
			}
			if validateOnly {
				return a.done("valid, nothing was made", "link", args[0])
			}
			return a.done("created", "link", args[0])
		}),
	}
	cmd.Flags().StringVar(&source, "source-cluster-id", "", "id of the source cluster, as its brokers tell it")
	cmd.Flags().BoolVar(&validateOnly, "validate-only", false, "check everything, make nothing")
	cmd.Flags().BoolVar(&noValidate, "no-validate", false, "do not dial the source first")
	exclusive(cmd, "validate-only", "no-validate")
	configs.add(cmd, "config")
	return cmd
}

func (a *app) linkDescribe(e *engineFlags) *cobra.Command {
	return &cobra.Command{
		Use: "describe LINK", Short: "show a link with its background tasks", Args: exactly(1),
		RunE: e.with(func(ctx context.Context, c *api.Client, args []string) error {
			l, err := c.Link(ctx, args[0], true)
			if err != nil {
				return fmt.Errorf("link %s: %w", args[0], err)
			}
			return a.print(l, func(w io.Writer) {
				pairs(w, "link", l.LinkName, "id", l.ClusterLinkID, "source", deref(l.SourceClusterID), "destination", deref(l.DestinationClusterID),
					"remote", deref(l.RemoteClusterID), "state", l.LinkState, "error", linkError(l), "mirrors", joined(l.TopicNames))
				if len(l.Tasks) == 0 {
					return
				}
				lines := [][]string{{"TASK", "STATE", "ERROR"}}
				for _, t := range l.Tasks {
					if len(t.Errors) == 0 {
						lines = append(lines, []string{t.TaskName, t.State, ""})
					}
					for _, te := range t.Errors {
						lines = append(lines, []string{t.TaskName, t.State, te.ErrorCode + ": " + te.ErrorMessage})
					}
				}
				fmt.Fprintln(w)
				rows(w, lines)
			})
		}),
	}
}

func (a *app) linkDelete(e *engineFlags) *cobra.Command {
	var force, validateOnly bool
	var yes sure
	cmd := &cobra.Command{
		Use: "delete LINK", Short: "delete a link; refused while it has mirrors or an undecided ledger", Args: exactly(1),
		RunE: e.with(func(ctx context.Context, c *api.Client, args []string) error {
			if force && !validateOnly {
				question := "This stops the mirrors of link " + args[0] + " and gives up the offsets at which they stopped."
				if err := a.confirmed(ctx, yes, question, args[0]); err != nil {
					return err
				}
			}
			if err := c.DeleteLink(ctx, args[0], force, validateOnly); err != nil {
				return fmt.Errorf("delete link %s: %w", args[0], err)
			}
			if validateOnly {
				return a.done("may be deleted, nothing was done", "link", args[0])
			}
			return a.done("deleted", "link", args[0])
		}),
	}
	cmd.Flags().BoolVar(&force, "force", false, "also with mirrors or an undecided ledger")
	yes.add(cmd, "link")
	cmd.Flags().BoolVar(&validateOnly, "validate-only", false, "check only")
	return cmd
}

func (a *app) linkConfigs(e *engineFlags) *cobra.Command {
	return &cobra.Command{
		Use: "configs LINK [NAME]", Short: "show a link's configs; sensitive ones have no value", Args: usageArgs(cobra.RangeArgs(1, 2)),
		RunE: e.with(func(ctx context.Context, c *api.Client, args []string) error {
			var configs []api.LinkConfig
			var err error
			if len(args) == 2 {
				configs = make([]api.LinkConfig, 1)
				configs[0], err = c.LinkConfig(ctx, args[0], args[1])
			} else {
				configs, err = c.LinkConfigs(ctx, args[0])
			}
			if err != nil {
				return fmt.Errorf("configs of link %s: %w", args[0], err)
			}
			return a.print(notNil(configs), func(w io.Writer) {
				lines := [][]string{{"NAME", "VALUE", "SET", "READ ONLY"}}
				for _, c := range configs {
					value := deref(c.Value)
					if c.IsSensitive {
						value = "(not shown)"
					}
					lines = append(lines, []string{c.Name, value, yesNo(!c.IsDefault), yesNo(c.IsReadOnly)})
				}
				rows(w, lines)
			})
		}),
	}
}

func (a *app) linkAlter(e *engineFlags) *cobra.Command {
	var configs configFlags
	var reset []string
	var validateOnly bool
	cmd := &cobra.Command{
		Use: "alter LINK", Short: "change a link's configs, all or none", Args: exactly(1),
		RunE: e.with(func(ctx context.Context, c *api.Client, args []string) error {
			values, err := configs.read()
			if err != nil {
				return err
			}
			var changes []api.AlterConfig
			for _, v := range values {
				changes = append(changes, api.AlterConfig{Name: v.Name, Value: v.Value, Operation: "SET"})
			}
			for _, name := range reset {
				changes = append(changes, api.AlterConfig{Name: name, Operation: "DELETE"})
			}
			if len(changes) == 0 {
				return usagef("nothing to change: give --set NAME=VALUE, --config-file or --reset NAME")
			}
			if err := c.AlterLinkConfigs(ctx, args[0], changes, validateOnly); err != nil {
				return fmt.Errorf("alter link %s: %w", args[0], err)
			}
			if validateOnly {
				return a.done("valid, nothing was changed", "link", args[0])
			}
			return a.done("altered", "link", args[0])
		}),
	}
	configs.add(cmd, "set")
	cmd.Flags().StringSliceVar(&reset, "reset", nil, "configs to put back to their default")
	cmd.Flags().BoolVar(&validateOnly, "validate-only", false, "check only")
	return cmd
}

func (a *app) linkDrift(e *engineFlags) *cobra.Command {
	return &cobra.Command{
		Use: "drift LINK", Short: "show in what mirror topics differ from their sources, as a rule by the clusters' defaults", Args: exactly(1),
		RunE: e.with(func(ctx context.Context, c *api.Client, args []string) error {
			d, err := c.Drift(ctx, args[0])
			if err != nil {
				return fmt.Errorf("drift of link %s: %w", args[0], err)
			}
			return a.print(d, func(w io.Writer) {
				switch {
				case d.ComputedAt.IsZero():
					fmt.Fprintln(w, "the link's topic configs were not compared yet")
					return
				case len(d.Entries) == 0:
					fmt.Fprintf(w, "no drift, as of %s\n", stamp(d.ComputedAt))
					return
				}
				lines := [][]string{{"CONFIG", "SOURCE", "MIRROR", "HARMFUL", "TOPICS"}}
				for _, d := range d.Entries {
					lines = append(lines, []string{d.Config, driftValue(d.Source), driftValue(d.Destination), yesNo(d.Harmful), joined(d.Topics)})
				}
				rows(w, lines)
				for _, d := range d.Entries {
					fmt.Fprintf(w, "\n%s: %s.\n  cure: %s\n", d.Config, d.Meaning, d.Cure)
				}
			})
		}),
	}
}

func driftValue(v api.DriftValue) string { return fmt.Sprintf("%s (%s)", v.Value, v.From) }

// done tells that a command without an answer of its own has worked.
func (a *app) done(outcome, kind, name string) error {
	return a.print(map[string]string{kind: name, "outcome": outcome}, func(w io.Writer) { fmt.Fprintf(w, "%s %s: %s\n", kind, name, outcome) })
}

func linkError(l api.Link) string {
	if l.LinkError == "" || l.LinkError == api.LinkErrorNone {
		return ""
	}
	if text := deref(l.LinkErrorMessage); text != "" {
		return l.LinkError + ": " + text
	}
	return l.LinkError
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// notNil makes an empty list [] in JSON, not null.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
