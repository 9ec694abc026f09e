package runbook

import (
	"fmt"
	"strings"
)

// Markdown renders the report for people: the outcome first, then the numbers,
// then what happened, then the evidence.
func (r Report) Markdown() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	title := r.Operation
	if r.Turned != nil {
		title += " turned into a failover"
	}
	if r.Drill != "" {
		title = fmt.Sprintf("Drill (%s): %s", r.Drill, title)
	}
	line("# %s of pair %s: %s%s\n", title, r.Pair, r.Outcome, because(r.open()))
	if r.Error != "" {
		line("**%s**\n", cell(r.Error))
	}
	if r.Undone != "" {
		line("- %s", cell(r.Undone))
	}
	line("- operation `%s`, requested by %s%s", r.OpID, r.Requester, because(r.Reason))
	line("- %s to %s", stamp(r.Started), stamp(r.Ended))
	if t := r.Turned; t != nil {
		line("- turned into a failover by %s at %s%s", t.By, stamp(t.At), because(cell(t.Reason)))
	}
	line("- active %s, epoch %d → %d", strings.Join(r.Active, ", "), r.EpochBefore, r.EpochAfter)
	line("- plan `%s`%s", r.PlanHash, map[bool]string{true: " (**plan changed since start**)"}[r.PlanChanged])
	if r.Build != nil {
		line("- kept by Drawbridge %s", cell(r.Build.Text()))
	}
	for _, g := range r.BreakGlass {
		line("- **BREAK-GLASS** by %s at %s%s", g.By, stamp(g.At), because(cell(g.Reason)))
		for _, o := range g.Overrides {
			line("  - override `%s`: %s", cell(o), OverrideMeaning(o))
		}
	}
	if len(r.Overrides) > 0 {
		line("- overrides taken: %s", strings.Join(r.Overrides, ", "))
	}
	r.numbers(line)
	for _, e := range r.Escalations {
		line("- %s", cell(e.Text()))
	}
	for _, t := range r.Told {
		line("- %s", cell(t.Text()))
	}
	for _, p := range r.Pauses {
		line("- paused by %s for %.1f s before step %s, %s%s", p.By, float64(p.Millis)/1000, cell(p.Before), cell(p.EndedBy), because(cell(p.Reason)))
	}
	if r.ETA != nil && r.DryRun {
		line("\nTime: %s", cell(r.ETA.Expect()))
	}
	if len(r.Planned) > 0 {
		line("\n## What would be done\n\n```\n%s```", Render(r.Planned))
	}
	if len(r.Steps) > 0 {
		line("\n## Steps\n\n%s", Table(r.Steps))
	}
	r.evidence(line)
	return b.String()
}

// open says what a run that ended as partly done has left to do.
func (r Report) open() string {
	if r.Outcome != Partly {
		return ""
	}
	var left []string
	for _, s := range r.Steps {
		if s.State == StateSkipped || s.State == StateFailed {
			left = append(left, s.Name+" "+s.State)
		}
	}
	for _, d := range r.DebtsOpen {
		left = append(left, "owed: "+d.Kind+" at "+d.Site)
	}
	return strings.Join(left, ", ")
}

func (r Report) numbers(line func(string, ...any)) {
	if r.RPOEstimate != nil || r.RPOExact != nil || r.RPOTime != nil || len(r.RTO) > 0 || r.Move != nil {
		line("\n## Numbers\n")
	}
	if len(r.RTO) > 0 {
		line("RTO %.1f s%s\n", float64(r.RTOMillis)/1000, Against(r.RTOMillis, r.RTOSeconds))
		line("| segment | seconds | expected |\n|---|---|---|")
		for _, s := range r.RTO {
			line("| %s | %.1f | %s |", s.Name, float64(s.Millis)/1000, r.ETA.expected(s.Name))
		}
		line("")
	}
	if m := r.Move; m != nil {
		line("Forecast: %s", cell(m.Text()))
	}
	if p := r.Proof; p != nil {
		line("Zero loss: %d partitions of the old active site end where the new one stopped mirroring them; %d group offsets moved, exact %t", p.Partitions, p.Offsets, p.OffsetsExact)
	}
	if p := r.Drilled; p != nil {
		line("Drilled: %d records in %d partitions of `%s`, alike at %s, at %s after the failover and after the rebuild; the group's offsets too\n", p.Source.Records(), len(p.Source.Partitions), p.Topic, p.Source.Site, p.FailedOver.Site)
	}
	if r.RPOEstimate != nil {
		line("RPO estimate: %d records", *r.RPOEstimate)
	}
	if r.RPOExact != nil {
		line("RPO exact: %d records%s", *r.RPOExact, because(r.amended()))
		for _, t := range sorted(r.RPOByTopic) {
			line("- %s: %d", t, r.RPOByTopic[t])
		}
	}
	if r.RPOTime != nil {
		line("RPO in time: %s", r.RPOTime.Text())
	}
	r.copied(line)
	if f := r.Forecast; f != nil && len(f.Topics) > 0 {
		whole := *f
		f := f.Top(markdownRows)
		line("\n### Forecast: %d records at risk, blind for %.1f s\n\n%s.\n", f.AtRisk, f.BlindSeconds, cell(whole.Text()))
		line("| topic | known | since then, about | lag s | read again at most |\n|---|---|---|---|---|")
		for _, t := range f.Topics {
			line("| %s | %d | %d | %.1f | %d |", cell(t.Topic), t.Known, t.Blind, t.LagSeconds, t.Redeliver)
		}
		groups(line, f.Groups)
		if f.InTopics+f.InGroups > 0 {
			line("\nThe worst of %d topics and %d groups on topics; the JSON report has all.", len(whole.Topics), len(whole.Groups))
		}
	}
	groups(line, r.RecoveryForecast)
}

// markdownRows of a forecast are for people; the JSON report has all.
const markdownRows = 50

func groups(line func(string, ...any), list []GroupForecast) {
	if len(list) == 0 {
		return
	}
	line("\n| group | topic | read again at least | at most | skipped | note |\n|---|---|---|---|---|---|")
	for _, g := range list {
		line("| %s | %s | %d | %d | %d | %s |", cell(g.Group), cell(g.Topic), g.Again, g.Redelivered, g.Skipped, cell(g.Problem))
	}
}

func (r Report) evidence(line func(string, ...any)) {
	if len(r.Fences) > 0 {
		line("\n## Fences\n")
		for _, f := range r.Fences {
			line("- %s: **%s**%s, %d entries", f.Site, f.Level, because(cell(f.Reason)), f.Evidence.Entries)
		}
	}
	if len(r.Pipelines) > 0 {
		line("\n## Pipelines\n\n| group | topic | partition | committed | placed | read again |\n|---|---|---|---|---|---|")
		for _, p := range r.Pipelines {
			line("| %s | %s | %d | %d | %d%s | %d |", cell(p.Group), cell(p.Topic), p.Partition, p.Synced, p.At, because(cell(p.Skipped)), p.Repeats)
		}
	}
	if len(r.Teams) > 0 {
		line("\n## Teams\n\n%s", TeamTable(r.Teams))
	}
	if len(r.Clients)+r.ClientsMoved > 0 {
		line("\n## Clients\n\n| group | on the old site | on the new site | moved |\n|---|---|---|---|")
		for _, c := range r.Clients {
			line("| %s | %d | %d | %t |", cell(c.Group), c.MembersOld, c.MembersNew, c.Moved)
		}
		for _, g := range r.ClientsLeft {
			line("| %s | | | false |", cell(g))
		}
		if r.ClientsMoved > 0 {
			line("\n%d groups more have moved.", r.ClientsMoved)
		}
	}
	r.wasAway(line)
	if len(r.Ledger) > 0 {
		line("\n## Lagged data\n")
		for _, l := range r.Ledger {
			line("- %s: %s%s", cell(LedgerText(l)), l.Decision, because(cell(strings.TrimSpace(l.DecidedBy+" "+l.Reason))))
		}
		if r.Export != "" {
			line("\nArchived in topic `%s`.", r.Export)
		}
	}
	if len(r.EndedTxns) > 0 {
		line("\n## Transactions that were ended\n")
		for _, t := range r.EndedTxns {
			line("- %s on %s/%d from offset %d", cell(t.TransactionalID), cell(t.Topic), t.Partition, t.StartOffset)
		}
	}
	if len(r.Approvals) > 0 {
		line("\n## Signed commands\n")
		for _, a := range r.Approvals {
			line("- %s: %s %s%s%s", stamp(a.At), cell(a.By), a.Decided(), because(cell(a.Reason)), map[bool]string{true: " overriding " + strings.Join(a.Overrides, ", ")}[len(a.Overrides) > 0])
		}
	}
	if len(r.Findings) > 0 {
		line("\n## Findings\n")
		for _, f := range r.Findings {
			line("- %s", cell(f))
		}
	}
	line("\n## Debts\n")
	if len(r.DebtsOpen) == 0 {
		line("None open.")
	}
	for _, d := range r.DebtsOpen {
		line("- open: %s owed to %s since %s%s; `drctl recover %s --debts-only` pays it", d.Kind, d.Site, stamp(d.Since), because(cell(d.Reason)), r.Pair)
	}
	for _, d := range r.DebtsPaid {
		line("- paid: %s owed to %s since %s", d.Kind, d.Site, stamp(d.Since))
	}
}

// Table renders the step table; the Temporal UI shows it too.
func Table(steps []StepLine) string {
	var b strings.Builder
	b.WriteString("| step | state | seconds | detail |\n|---|---|---|---|\n")
	for _, s := range steps {
		secs := "-"
		if !s.Ended.IsZero() {
			secs = fmt.Sprintf("%.1f", float64(s.Millis)/1000)
		}
		b.WriteString("| " + strings.Join([]string{cell(s.Name), s.State, secs, cell(s.Detail)}, " | ") + " |\n")
	}
	return b.String()
}

// cell keeps text from breaking out of a table or line: topic and group names
// and error texts are other people's.
func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "\r", " ").Replace(s)
}
