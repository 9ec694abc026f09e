package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// pairDebts is what a pair owes, as the workflow that sees to it says, or else as the record of truth does.
type pairDebts struct {
	workflows.DebtStatus
	// Seen: a workflow sees to them now.
	Seen bool `json:"seen_to"`
	// Temporal says why no workflow was asked, or what it did not answer.
	Temporal string `json:"temporal_error,omitempty"`
}

func (a *app) debtsCommand() *cobra.Command {
	var planFile string
	var start bool
	cmd := &cobra.Command{
		Use: "debts PAIR", Short: "what the pair still owes since it moved without one of its sites, how old that is and what pays it", Args: exactly(1),
		Long: "debts asks the workflow that sees to the pair's debts; it is started by the operation that leaves some, looks from time\n" +
			"to time (debts.every_seconds of the plan) whether the lost site is back, and has what is owed paid then. Where no such\n" +
			"workflow runs, or Temporal does not answer, --plan shows what the record of truth says. --start starts it, or has it look at once.",
		Example: "  drctl debts orders\n  drctl debts orders --start",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := ownPlan(planFile, args[0])
			if err != nil {
				return err
			}
			return a.debts(cmd.Context(), args[0], p, start)
		},
	}
	cmd.Flags().StringVar(&planFile, "plan", "", "the pair's plan: says where its Consuls are (default: DRCTL_PLAN)")
	cmd.Flags().BoolVar(&start, "start", false, "start the workflow that sees to them, or have it look at once")
	a.temporalFlags(cmd)
	return cmd
}

func (a *app) debts(ctx context.Context, pair string, p *hashed, start bool) error {
	op, err := a.operator(ctx)
	if err == nil {
		defer op.Close()
		if start {
			if err := op.WakeDebt(ctx, pair, "drctl"); err != nil {
				return err
			}
			return a.print(map[string]string{"workflow": workflows.DebtID(pair)}, func(w io.Writer) {
				fmt.Fprintf(w, "%s sees to the debts of pair %s; drctl debts %s shows them\n", workflows.DebtID(pair), pair, pair)
			})
		}
	}
	var out pairDebts
	if err == nil {
		out.DebtStatus, out.Seen, err = op.Debts(ctx, pair)
	}
	if err != nil && (start || p == nil) {
		return err
	}
	if err != nil {
		out.Temporal = err.Error()
	}
	if p != nil && (!out.Seen || out.begins()) {
		out.Owed, out.Waits = recordedDebts(readCopies(ctx, p), out.DebtStatus, pair)
	}
	if out.begins() {
		out.Waits = "the first look, which is under way"
	}
	out.Pair = pair
	if perr := a.print(out, func(w io.Writer) { debtsTable(w, out, time.Now()) }); perr != nil {
		return perr
	}
	if errors.Is(err, operator.ErrNoRun) {
		return nil // the record was shown instead
	}
	return err
}

// begins: the workflow was started a moment ago, as an operation's end does, and has not looked yet. That it knows of no
// debt says nothing.
func (d pairDebts) begins() bool { return d.Seen && d.Looked.IsZero() }

// recordedDebts are those that the record of truth knows of; whether a site answers is not asked from here. Lagged data
// stands in the ledger: that of a failover before last is over if the workflow that ended then says so.
func recordedDebts(copies []recordCopy, last workflows.DebtStatus, pair string) ([]runbook.Owed, string) {
	var seen []runbook.RecordCopy
	for _, c := range copies {
		seen = append(seen, runbook.RecordCopy{Site: c.Site, Reachable: c.err == nil || c.Record != nil, Record: c.Record, Problem: c.Error})
	}
	v := runbook.JudgeDebts(runbook.DebtFacts{Pair: pair, Truth: runbook.ReadTruth(seen, nil, "")})
	v.Owed = slices.DeleteFunc(v.Owed, func(o runbook.Owed) bool {
		return o.Kind == runbook.DebtLagged && len(last.Owed) == 0 && last.Looked.After(o.Since)
	})
	for i := range v.Owed {
		v.Owed[i].Waits = "not asked"
	}
	switch known := slices.ContainsFunc(seen, func(c runbook.RecordCopy) bool { return c.Record != nil }); {
	case len(v.Owed) == 0 && known:
		return nil, ""
	case len(v.Owed) == 0:
		return nil, v.Waits // no Consul shows a record: what is owed is not known
	}
	return v.Owed, "somebody who sees to it: drctl debts " + pair + " --start"
}

func debtsTable(w io.Writer, d pairDebts, now time.Time) {
	next := ""
	if d.Seen {
		next = stamp(d.Next)
	}
	if !d.Looked.IsZero() {
		pairs(w, "pair", d.Pair, "looked at", stamp(d.Looked), "next look", next, "waits for", d.Waits, "last try", d.Last, "problem", d.Problem)
	} else {
		pairs(w, "pair", d.Pair, "waits for", d.Waits, "temporal", d.Temporal)
	}
	switch {
	case len(d.Owed) > 0:
		fmt.Fprintln(w)
		rows(w, runbook.DebtTable(d.Owed, now))
	case d.Problem == "" && d.Waits == "":
		fmt.Fprintln(w, "nothing is owed")
	}
}
