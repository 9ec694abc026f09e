package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func (a *app) drillCommand() *cobra.Command {
	var s start
	var kind string
	cmd := a.startCommand("drill", "play a drill now: tabletop (looks only), canary (a topic of its own fails over) or full (there and back)", &s,
		func(cmd *cobra.Command, pair string) error { return s.drill(cmd.Context(), pair, kind) })
	cmd.Long = "drill shows on a calm day what would go wrong on a bad night. A tabletop drill looks at all that a failover and a planned move look at\n" +
		"and says what they would do. A canary drill writes known records into a topic of its own, mirrors it by a link of its own, fails that\n" +
		"mirror over, compares records and offsets, rebuilds it and removes all of it: no topic, group or client of the pair is touched. A full\n" +
		"drill is a switchover to the standby and home again, each with the approvals of a switchover: clients do move.\n\n" +
		"A drill is refused while an operation holds the pair, a debt is open or the active site looks lost, a full one also while the pair is not\n" +
		"ready. The plan's drills are played by Schedules that drctl setup makes; a failed drill pauses its Schedule and makes the pair unready."
	cmd.Example = "  drctl drill orders --kind canary\n  drctl drill orders --kind full       # drctl approve orders, twice, by somebody else\n  drctl abort orders --reason \"the pair is needed\"   # while it can be undone"
	cmd.Flags().StringVar(&kind, "kind", runbook.DrillCanary, strings.Join(runbook.DrillKinds, ", "))
	s.yes.add(cmd, "pair")
	return cmd
}

func (s *start) drill(ctx context.Context, pair, kind string) error {
	if !slices.Contains(runbook.DrillKinds, kind) {
		return usagef("--kind %q: write %s", kind, strings.Join(runbook.DrillKinds, ", "))
	}
	question := ""
	if kind == runbook.DrillFull {
		question = "This stops all clients of pair " + pair + " twice, for as long as the plan's freeze_seconds at most, moves them to the standby site and home again."
	}
	return s.start(ctx, operator.Request{Operation: runbook.OpDrill, Pair: pair}, question,
		func(op *operator.Operator, r operator.Request) (operator.Run, error) { return op.Drill(ctx, r, kind) })
}

// drillLines are what a canary drill compared.
func drillLines(w io.Writer, r runbook.Report) {
	if p := r.Drilled; p != nil {
		fmt.Fprintf(w, "drilled: %d records in %d partitions alike at %s, at %s after the failover and after the rebuild; group offsets too\n",
			p.Source.Records(), len(p.Source.Partitions), p.Source.Site, p.FailedOver.Site)
	}
}
