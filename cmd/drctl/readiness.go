package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func (a *app) readinessCommand() *cobra.Command {
	var planFile string
	var last bool
	var within time.Duration
	cmd := &cobra.Command{
		Use: "readiness PAIR", Short: "what would fail today: a look at everything that a failover needs; changes nothing", Args: exactly(1),
		Long: "readiness has a worker look at record, rights, credentials, mirrors, lag, group offsets, link, guards, topics, transactions,\n" +
			"workloads in Kubernetes, drills and people, and says what a failover or a planned move would stumble over, with what to do\n" +
			"about each. It takes no lock and changes nothing. drctl setup makes a Schedule that looks every readiness.every_seconds of the\n" +
			"plan; --last shows what that found last.\n\n" +
			"Code 7 says that the pair is not ready.",
		Example: "  drctl readiness orders\n  drctl readiness orders --last -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := ownPlan(planFile, args[0])
			if err != nil {
				return err
			}
			hash := ""
			if p != nil {
				hash = p.hash
			}
			return a.readiness(cmd.Context(), args[0], hash, last, within)
		},
	}
	cmd.Flags().StringVar(&planFile, "plan", "", "your copy of the pair's plan; its hash is sent and must be the worker's (default: DRCTL_PLAN)")
	cmd.Flags().BoolVar(&last, "last", false, "what the Schedule found last, without a new look")
	cmd.Flags().DurationVar(&within, "within", 5*time.Minute, "how long to wait for the look")
	a.temporalFlags(cmd)
	return cmd
}

func (a *app) readiness(ctx context.Context, pair, hash string, last bool, within time.Duration) error {
	op, err := a.operator(ctx)
	if err != nil {
		return err
	}
	defer op.Close()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var r runbook.Readiness
	if last {
		r, err = op.LastReadiness(ctx, pair)
	} else {
		r, err = op.Readiness(ctx, pair, hash, "drctl")
	}
	if err != nil {
		return err
	}
	if err := a.print(r, func(w io.Writer) { readinessTable(w, r, time.Now()) }); err != nil {
		return err
	}
	if !r.Ready {
		return exitError{code: codeUnready}
	}
	return nil
}

func readinessTable(w io.Writer, r runbook.Readiness, now time.Time) {
	verdict := "ready"
	if !r.Ready {
		verdict = "NOT READY"
	}
	until := stamp(r.Expires)
	if now.After(r.Expires) {
		until += " (expired: it says nothing any more)"
	}
	pairs(w, "pair", r.Pair, "verdict", fmt.Sprintf("%s, score %d of 100", verdict, r.Score), "looked at", stamp(r.At), "good until", until, "proposal", r.Proposal)
	lines := [][]string{{"CHECK", "STATE", "DETAIL"}}
	for _, c := range r.Checks {
		lines = append(lines, []string{c.Name, c.State, c.Detail})
	}
	fmt.Fprintln(w)
	rows(w, lines)
	for _, c := range r.Checks {
		if c.Cure != "" && c.State != runbook.CheckOK {
			fmt.Fprintf(w, "\n%s: %s\n  do: %s\n", c.Name, c.Detail, c.Cure)
		}
	}
}
