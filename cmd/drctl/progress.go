package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// followToEnd writes one line per change to stderr and the result to stdout. On a terminal a last line says what runs and
// how far it is. What shown has is on the screen already; nil: nothing is.
func (a *app) followToEnd(ctx context.Context, op *operator.Operator, run operator.Run, shown *workflows.Status) error {
	live := startLive(a.stderr, shown)
	result, err := op.Follow(ctx, run, shown, func(e operator.Event) { live.above(e, func() { a.tell(e) }) })
	live.end()
	return a.ended(ctx, run, result, err)
}

// ended shows how a run that was followed has ended.
func (a *app) ended(ctx context.Context, run operator.Run, result workflows.Result, err error) error {
	if ctx.Err() != nil {
		fmt.Fprintf(a.stderr, "drctl: no longer following; the run goes on (`drctl watch %s`)\n", run.Pair)
		return exitError{code: codeFailed}
	}
	if err != nil {
		return err
	}
	if err := a.print(result, func(w io.Writer) { resultTable(w, result) }); err != nil {
		return err
	}
	if result.Outcome == runbook.NoChange {
		return exitError{codeNoChange, errors.New("ended without a change: " + result.Report.Error)}
	}
	if result.Report.Error != "" { // by people or a deadline, behind a change that stays
		return exitError{codeFailed, errors.New("ended before it was done: " + result.Report.Why())}
	}
	return nil
}

// tell writes one event as a line.
func (a *app) tell(e operator.Event) {
	at := e.At.Format(time.TimeOnly)
	switch {
	case e.Step != nil:
		took := ""
		if e.Step.State != runbook.StateRunning && e.Step.State != runbook.StateWaiting {
			took = millis(e.Step.Millis)
		}
		fmt.Fprintf(a.stderr, "%s  %-32s %-8s %8s  %s\n", at, e.Step.Name, e.Step.State, took, e.Step.Detail)
	case e.ETA != nil:
		fmt.Fprintf(a.stderr, "%s  time: %s\n", at, e.ETA.Text())
	case e.Waiting != nil:
		fmt.Fprintf(a.stderr, "%s  waiting for %s\n", at, waitingLine(*e.Waiting))
	default:
		fmt.Fprintf(a.stderr, "%s  %s (the run goes on)\n", at, e.Problem)
	}
}

func waitingLine(w workflows.Waiting) string {
	s := w.For
	if w.Question != "" {
		s += fmt.Sprintf(" (question %q)", w.Question)
	}
	s += ": " + w.Text
	if w.Need > 0 {
		s += fmt.Sprintf(" (%d of %d", w.Have, w.Need)
		if len(w.Roles) > 0 {
			s += " from " + joined(w.Roles)
		}
		s += ")"
	}
	if len(w.Overrides) > 0 {
		s += "; overrides to name: " + joined(w.Overrides)
	}
	if len(w.Topics) > 0 {
		s += "; topics to decide: " + joined(w.Topics)
	}
	if !w.Deadline.IsZero() {
		s += "; until " + stamp(w.Deadline)
	}
	switch {
	case len(w.EscalatedTo) > 0:
		s += "; escalated to " + joined(w.EscalatedTo)
	case !w.Escalates.IsZero():
		s += "; goes to more people at " + stamp(w.Escalates)
	}
	if len(w.Commands) > 0 {
		s += "; answer with: " + joined(w.Commands)
	}
	return s
}

func millis(ms int64) string {
	if ms <= 0 {
		return ""
	}
	return (time.Duration(ms) * time.Millisecond).String()
}

func (a *app) printRun(run operator.Run) error {
	return a.print(run, func(w io.Writer) {
		pairs(w, "pair", run.Pair, "operation", describe(run), "workflow", run.ID, "run", run.RunID)
	})
}

func resultTable(w io.Writer, r workflows.Result) {
	rep := r.Report
	number := func(n *int64) string {
		if n == nil {
			return ""
		}
		return strconv.FormatInt(*n, 10) + " records"
	}
	rto := millis(rep.RTOMillis) + runbook.Against(rep.RTOMillis, rep.RTOSeconds)
	if rep.DryRun {
		rto = "" // it would be the dry run's own time
	}
	pairs(w,
		"outcome", outcomeText(r.Outcome, rep.Error), "operation", rep.Operation+" "+r.OpID, "error", rep.Error, "undone", rep.Undone,
		"epoch", fmt.Sprintf("%d -> %d", rep.EpochBefore, r.Epoch), "active", joined(r.Active),
		"rto", rto, "rpo estimate", number(rep.RPOEstimate), "rpo exact", number(rep.RPOExact), "rpo in time", rpoTime(rep.RPOTime),
		"plan", planChanged(rep.PlanChanged), "report", r.ReportFile)
	moveLines(w, rep.Move, rep.Turned)
	drillLines(w, rep)
	if p := rep.Proof; p != nil {
		fmt.Fprintf(w, "zero loss: %d partitions of the old active site end where the new one stopped mirroring; %d group offsets, exact %t\n", p.Partitions, p.Offsets, p.OffsetsExact)
	}
	if rep.Forecast != nil {
		fmt.Fprintln(w)
		forecastTable(w, *rep.Forecast, rep.DryRun || rep.Operation == runbook.OpDrill)
	}
	if len(rep.Ledger) > 0 {
		fmt.Fprintln(w)
		ledgerTable(w, rep.Ledger)
	}
	if e := rep.ETA; e != nil && rep.DryRun {
		fmt.Fprintln(w, "\ntime:", e.Expect())
	}
	if len(rep.Planned) > 0 {
		lines := [][]string{{"WOULD DO", "TIME", "WHAT"}}
		for _, p := range rep.Planned {
			name := p.Name
			if p.Pivot {
				name += " (no undo from here on)"
			}
			lines = append(lines, []string{name, p.Time(), p.What})
		}
		fmt.Fprintln(w)
		rows(w, lines)
	}
	for _, f := range rep.Findings {
		fmt.Fprintln(w, "finding:", f)
	}
	for _, d := range rep.DebtsOpen {
		fmt.Fprintf(w, "debt open: %s at %s: %s\n", d.Kind, d.Site, d.Reason)
	}
	for _, d := range rep.DebtsPaid {
		fmt.Fprintf(w, "debt paid: %s at %s\n", d.Kind, d.Site)
	}
}

// outcomeText says what "partly" leaves to a person.
func outcomeText(outcome, problem string) string {
	switch {
	case outcome == runbook.Partly && problem != "":
		return outcome + ": ended before it was done, and something of it stays"
	case outcome == runbook.Partly:
		return outcome + ": done, with something skipped or still owed"
	}
	return outcome
}

// moveLines are the forecast of a planned move, and that it became a failover.
func moveLines(w io.Writer, m *runbook.MoveForecast, turned *runbook.Signed) {
	if m != nil {
		fmt.Fprintln(w, "planned:", m.Text())
	}
	if turned != nil {
		fmt.Fprintf(w, "turned into a failover by %s at %s: %s\n", turned.By, stamp(turned.At), turned.Reason)
	}
}

func rpoTime(r *runbook.RPOTime) string {
	if r == nil {
		return ""
	}
	return r.Text()
}

func planChanged(yes bool) string {
	if yes {
		return "changed since the start"
	}
	return ""
}

// forecastTable: ahead says that the failover has not been, so that it is no history yet.
func forecastTable(w io.Writer, f runbook.Forecast, ahead bool) {
	title := "the forecast was:"
	if ahead {
		title = "a failover now:"
	}
	fmt.Fprintln(w, title, f.Text())
	f = f.Top(forecastRows)
	lines := [][]string{{"TOPIC", "AT RISK", "KNOWN", "BLIND", "LAG S", "REDELIVERED"}}
	for _, t := range f.Topics {
		lines = append(lines, []string{
			t.Topic, strconv.FormatInt(t.AtRisk, 10), strconv.FormatInt(t.Known, 10), strconv.FormatInt(t.Blind, 10),
			strconv.FormatFloat(t.LagSeconds, 'f', 1, 64), strconv.FormatInt(t.Redeliver, 10),
		})
	}
	rows(w, lines)
	for _, g := range f.Groups {
		if g.Problem != "" {
			fmt.Fprintf(w, "group %s, topic %s: %s\n", g.Group, g.Topic, g.Problem)
		}
	}
	if f.InTopics > 0 {
		fmt.Fprintf(w, "the worst of %d topics; --output json and the report have more\n", f.InTopics)
	}
}

// forecastRows fit on a screen.
const forecastRows = 20

func ledgerTable(w io.Writer, ledger []runbook.LedgerLine) {
	lines := [][]string{{"TOPIC", "PARTITION", "LAGGED", "BYTES", "FROM", "TO", "SUPERSEDED", "UNRECOVERABLE", "DECISION", "APPENDED"}}
	for _, l := range ledger {
		partition, from, to := strconv.Itoa(int(l.Partition)), strconv.FormatInt(l.From, 10), strconv.FormatInt(l.To, 10)
		if l.Of > 0 {
			partition, from, to = fmt.Sprintf("(%d of them)", l.Of), "-", "-"
		}
		lines = append(lines, []string{
			l.Topic, partition, strconv.FormatInt(l.Records, 10), strconv.FormatInt(l.Bytes, 10), from, to,
			strconv.FormatInt(l.Superseded, 10), strconv.FormatInt(l.Unrecoverable, 10), l.Decision, strconv.FormatInt(l.Appended, 10),
		})
	}
	rows(w, lines)
	for _, note := range runbook.LedgerNotes(ledger) {
		fmt.Fprintln(w, note)
	}
}
