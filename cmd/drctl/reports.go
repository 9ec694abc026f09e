package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func (a *app) reportsCommand() *cobra.Command {
	var most int
	cmd := &cobra.Command{
		Use: "reports PAIR [RUN]", Short: "list the ended runs of a pair with what they took and lost, or print the report of one", Args: usageArgs(cobra.RangeArgs(1, 2)),
		Long: "reports lists what Temporal still keeps, the newest first. The worker keeps every report as JSON and Markdown in the plan's\n" +
			"folder of reports, for longer. RUN is a run id of the list, or an operation id as the record of truth and fences name it.",
		Example: "  drctl reports orders\n  drctl reports orders 01a2048c-85de-74b3-9fd6-4a707659e0bd > failover.md\n  drctl reports orders -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if most < 1 || most > 1000 {
				return usagef("--most %d: write a number from 1 to 1000", most)
			}
			ctx := cmd.Context()
			op, err := a.operator(ctx)
			if err != nil {
				return err
			}
			defer op.Close()
			if len(args) == 2 {
				r, err := op.Report(ctx, args[0], args[1])
				if err != nil {
					return err
				}
				return a.print(r, func(w io.Writer) { _, _ = io.WriteString(w, r.Markdown()) }) // a broken pipe shows at exit
			}
			lines, err := op.Reports(ctx, args[0], most)
			if err != nil {
				return err
			}
			return a.print(lines, func(w io.Writer) { reportsTable(w, lines) })
		},
	}
	cmd.Flags().IntVar(&most, "most", 20, "how many runs")
	a.temporalFlags(cmd)
	return cmd
}

func reportsTable(w io.Writer, lines []operator.ReportLine) {
	if len(lines) == 0 {
		fmt.Fprintln(w, "Temporal keeps no ended run of this pair.")
		return
	}
	table := [][]string{{"ENDED", "OPERATION", "OUTCOME", "BY", "TOOK", "RTO", "RECORDS LOST", "RUN"}}
	for _, l := range lines {
		name, outcome, rto := l.Operation, l.Outcome, ""
		if l.DryRun {
			name = "dry run of " + name
		}
		if l.Drill != "" {
			name += " (" + l.Drill + " drill)"
		}
		if outcome == "" {
			outcome = l.State
		}
		if l.RTOMillis > 0 && !l.DryRun { // of a dry run it would be its own time
			rto = fmt.Sprintf("%.1f s", float64(l.RTOMillis)/1000)
		}
		lost := ""
		switch {
		case l.RPOExact != nil:
			lost = strconv.FormatInt(*l.RPOExact, 10)
		case l.RPOEstimate != nil && (l.DryRun || l.Drill == runbook.DrillTabletop):
			lost = fmt.Sprintf("would be about %d", *l.RPOEstimate)
		case l.RPOEstimate != nil:
			lost = fmt.Sprintf("about %d", *l.RPOEstimate)
		}
		table = append(table, []string{stamp(l.Ended), name, outcome, l.Requester, l.Ended.Sub(l.Started).Round(time.Second).String(), rto, lost, l.RunID})
	}
	rows(w, table)
	for _, l := range lines {
		if l.Error != "" {
			fmt.Fprintf(w, "\n%s %s: %s\n", l.Operation, l.RunID, l.Error)
		}
	}
}
