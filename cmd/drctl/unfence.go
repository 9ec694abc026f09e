package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func (a *app) unfenceCommand() *cobra.Command {
	s := start{app: a}
	var list bool
	var tokens tokenFlags
	cmd := &cobra.Command{
		Use: "unfence PAIR", Short: "lift fences whose run is lost (terminated, or its Temporal is gone)", Args: exactly(1),
		Long: "unfence reads the fence registers of both engines and lifts the entries of operations that are no longer open.\n" +
			"Producers can then write to that site again. What --list calls kept stands at a site that is not active, as after a failover,\n" +
			"and is left alone: drctl restore and drctl failback take it over. Only the override two-writers has it lifted too.\n" +
			"It is refused while any operation is open; where the lost one still holds the pair's lock the request must name the\n" +
			"override break-lock, and two-writers where clients would then write at two sites. It needs an approval. The worker does\n" +
			"it, entry by entry, and removes only what Drawbridge made. Workloads in Kubernetes that the lost run left at 0 at the\n" +
			"active site are started behind it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.unfence(cmd.Context(), args[0], list, tokens)
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.planFile, "plan", "", "the pair's plan: says where its engines are (default: DRCTL_PLAN)")
	f.StringVar(&s.keyFile, "key", "", keyUsage)
	f.BoolVar(&s.unsigned, "unsigned", false, "start without a signature")
	f.StringVar(&s.reason, "reason", "", "why, for the report")
	f.StringSliceVar(&s.overrides, "override", nil, "an override that the start itself must name: break-lock, two-writers; needs a signature and a --reason")
	f.BoolVar(&s.detach, "detach", false, "return when it has started; the default follows it to its end")
	f.Int64Var(&s.epoch, "epoch", -1, "the record's epoch that you go by (default: read from the plan's Consuls)")
	s.yes.add(cmd, "pair")
	f.BoolVar(&list, "list", false, "only list the fences")
	tokens.add(cmd)
	a.temporalFlags(cmd)
	return cmd
}

func (s *start) unfence(ctx context.Context, pair string, list bool, tokens tokenFlags) error {
	p, err := s.ownPlan(pair)
	if err != nil {
		return err
	}
	if len(s.overrides) > 0 && s.reason == "" && !s.unsigned {
		return usagef("--override needs a --reason: it is kept in the report")
	}
	if s.unsigned && len(s.overrides) > 0 {
		return usagef("--override counts only in a signed request: leave out --unsigned")
	}
	if p == nil {
		return usagef("name the pair's plan with --plan: it says where the engines with the fence registers are")
	}
	op, err := s.operator(ctx)
	if err != nil {
		return err
	}
	defer op.Close()
	st, err := op.Status(ctx, pair)
	if err != nil {
		return err
	}
	sites := readFences(ctx, p, tokens, st, true)
	keepFences(sites, readCopies(ctx, p))
	if list || s.output == asTable {
		if err := s.print(sites, func(w io.Writer) { fenceTable(w, sites) }); err != nil {
			return err
		}
	}
	if list {
		return nil
	}
	for _, site := range sites {
		if site.Error != "" {
			fmt.Fprintf(s.stderr, "drctl: engine of %s: %s: its fences are not known\n", site.Engine, site.Error)
		}
	}
	lost, at, kept := liftable(sites, s.overrides)
	switch {
	case st.Open():
		return &operator.BusyError{Pair: pair, ID: st.Run.ID, RunID: st.Run.RunID, Operation: st.Run.Operation, Requester: st.Run.Requester, Started: st.Run.Started}
	case len(lost) == 0 && len(kept) > 0:
		return refusedf("no fence of a lost run is known but what keeps clients out of %s, which is not active: it stands until drctl restore %s or drctl failback %s takes it over; "+
			"who wants clients to write there all the same names the override %s", joined(kept), pair, pair, runbook.OverrideWriters)
	case len(lost) == 0:
		return refusedf("no engine that answered knows a fence of a lost run")
	}
	if err := s.confirmed(ctx, s.yes, fmt.Sprintf("This lifts what %s fenced at %s: clients can write there again.", joined(lost), joined(at)), pair); err != nil {
		return err
	}
	r := operator.Request{Operation: runbook.OpUnfence, Pair: pair, PlanHash: p.hash, Reason: s.reason, Overrides: s.overrides}
	if err := s.sign(ctx, &r, p); err != nil {
		return err
	}
	run, err := op.Unfence(ctx, r, lost, at)
	if errors.Is(err, operator.ErrNoUnfence) {
		return fmt.Errorf("%w; nothing was changed. By hand: remove the ACL entries that `drctl unfence %s --list -o json` shows with existed_before false", err, pair)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(s.stderr, "drctl: started %s of pair %s: workflow %s, run %s\n", describe(run), run.Pair, run.ID, run.RunID)
	if s.detach {
		return s.printRun(run)
	}
	return s.followToEnd(ctx, op, run, nil)
}

// liftable are the operations whose fences a request with these overrides lifts, and where they stand; kept are the sites
// with a fence that it leaves.
func liftable(sites []siteFences, overrides []string) (lost, at, kept []string) {
	everywhere := slices.Contains(overrides, runbook.OverrideWriters)
	for _, site := range sites {
		for _, f := range site.Fences {
			switch {
			case f.Lost, f.Kept && everywhere:
				lost = append(lost, runbook.FencingOperation(f.OperationID))
				at = append(at, f.Site)
			case f.Kept:
				kept = append(kept, f.Site)
			}
		}
	}
	return once(lost), once(at), once(kept)
}

// once sorts names and leaves each in once.
func once(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

func fenceTable(w io.Writer, sites []siteFences) {
	lines := [][]string{{"SITE", "OPERATION", "STATE", "PERMISSION", "OPERATION", "RESOURCE", "PRINCIPAL", "MADE BY US"}}
	for _, site := range sites {
		for _, f := range site.Fences {
			state := "open"
			switch {
			case f.Lost && f.Unsure != "":
				state = "lost?"
			case f.Lost:
				state = "lost"
			case f.Kept:
				state = "kept"
			case f.HandedOver:
				state = "guard"
			}
			for _, e := range f.Entries {
				ours := "yes"
				if e.ExistedBefore {
					ours = "no"
				}
				lines = append(lines, []string{
					f.Site, f.OperationID, state, e.Permission, e.Operation,
					e.ResourceType + " " + e.PatternType + " " + e.ResourceName, e.Principal, ours,
				})
			}
		}
	}
	rows(w, lines)
}
