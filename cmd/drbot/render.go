package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// How many rows people read; the report has all.
const (
	stepRows  = 30
	topicRows = 12
)

// runView is a run as a thread's first message shows it: edited in place, the same status always gives the same message.
func runView(p *planned, st workflows.Status, end string) message {
	title := fmt.Sprintf("%s of %s: %s", st.Operation, st.Pair, cmp.Or(st.Outcome, st.Phase))
	if st.DryRun {
		title = "dry run of " + title
	}
	blocks := []slack.Block{header(title), small(safe(fmt.Sprintf("%s, asked for by %s, epoch %d, plan %.12s", st.OpID, st.Requester, st.Epoch, st.PlanHash), 300))}
	if end != "" {
		blocks = append(blocks, section(safe(end, maxSection)))
	}
	if w := st.Waiting; w != nil && st.Phase != workflows.PhaseEnded {
		blocks = append(blocks, section(asked(p, st, *w)))
	}
	if len(st.Steps) > 0 {
		blocks = append(blocks, table(stepLines(st.Steps), "steps"))
	}
	if len(st.Teams) > 0 {
		blocks = append(blocks, table(clientTeams(st.Teams), "teams"))
	}
	if st.ETA != nil && st.Phase != workflows.PhaseEnded {
		blocks = append(blocks, small("time: "+safe(etaText(*st.ETA), 600)))
	}
	if said := saidLines(st); said != "" {
		blocks = append(blocks, small(said))
	}
	if len(st.Findings) > 0 {
		blocks = append(blocks, small(safe(findings(st.Findings, 6), maxSection-100)))
	}
	if buttons := buttonsOf(st); len(buttons) > 0 && end == "" {
		blocks = append(blocks, slack.NewActionBlock("answers", buttons...))
		if teams := teamButtons(st); len(teams) > 0 {
			blocks = append(blocks, slack.NewActionBlock("teams", teams...))
			if more := len(waitingTeams(st)) - len(teams); more > 0 {
				blocks = append(blocks, small(safe(fmt.Sprintf("… and %d teams more that nobody looks after: drctl acknowledge %s --team TEAM", more, st.Pair), 300)))
			}
		}
	}
	return message{text: safe(title, maxHeader), blocks: blocks}
}

// etaText is the estimate without what moves every second: it would be an edit each.
func etaText(e runbook.ETA) string {
	e.Segments = slices.Clone(e.Segments)
	for i := range e.Segments {
		if !e.Segments[i].Over {
			e.Segments[i].Spent = 0
		}
	}
	if e.Running == "" {
		return e.Text()
	}
	text := e.Expect()
	if !e.Done.IsZero() {
		text = "clients moved about " + clock(e.Done.Truncate(10*time.Second)) + "; " + text
	}
	return text
}

// asked is what the run wants of people.
func asked(p *planned, st workflows.Status, w workflows.Waiting) string {
	text := "*Waits for " + safe(w.For, 60)
	if w.Need > 0 {
		text += fmt.Sprintf(", %d of %d given", w.Have, w.Need)
	}
	text += "*: " + safe(w.Text, 1800)
	if w.For == workflows.WaitApproval {
		text += "\nMay approve: " + p.mention(p.approvers(st, w))
	}
	if len(w.EscalatedTo) > 0 {
		text += "\nEscalated to: " + p.mention(w.EscalatedTo)
	}
	if !w.Deadline.IsZero() {
		text += "\nUntil " + date(w.Deadline)
	}
	if len(w.Overrides) > 0 {
		text += "\nAn approval takes upon itself: " + safe(strings.Join(w.Overrides, ", "), 300)
	}
	return text
}

// approvers are who may approve what the run asks now.
func (p *planned) approvers(st workflows.Status, w workflows.Waiting) []string {
	but := st.Requester
	if p.Approvals[st.Operation].SelfApproval {
		but = ""
	}
	return p.able(w.Roles, but)
}

var marks = map[string]string{
	runbook.StateRunning: ">", runbook.StateDone: "+", runbook.StateFailed: "!", runbook.StateSkipped: "~", runbook.StateUndone: "<", runbook.StateWaiting: "?",
}

// stepLines are the last steps, the one under way last.
func stepLines(steps []runbook.StepLine) []string {
	var out []string
	if left := len(steps) - stepRows; left > 0 {
		out, steps = append(out, fmt.Sprintf("  %d steps before", left)), steps[left:]
	}
	for _, s := range steps {
		took := ""
		if s.State != runbook.StateRunning && s.State != runbook.StateWaiting {
			took = fmt.Sprintf("%.1fs", float64(s.Millis)/1000)
		}
		line := fmt.Sprintf("%s %-30s %7s %-7s", cmp.Or(marks[s.State], " "), clip(s.Name, 30), took, s.State)
		if s.Detail != "" {
			line += " " + clip(strings.Join(strings.Fields(s.Detail), " "), 40)
		}
		out = append(out, strings.TrimRight(line, " "))
	}
	return out
}

// saidLines are who said what, and who was paged.
func saidLines(st workflows.Status) string {
	var out []string
	if n := len(st.Told); n > 0 {
		last := st.Told[n-1]
		out = append(out, fmt.Sprintf("paged %d times, last at %s: %s (PagerDuty: %s)", n, date(last.At), safe(last.Title, 150), safe(clip(last.PagerDuty, 100), 120)))
	}
	for _, a := range tail(st.Approvals, 8) {
		out = append(out, saidText(a))
	}
	return strings.Join(out, "\n")
}

func saidText(a runbook.Signed) string {
	text := safe(past(a.Decision), 40)
	if a.Team != "" {
		text += " for team " + safe(a.Team, 60)
	}
	text += fmt.Sprintf(" by *%s*", safe(a.By, 60))
	if a.Via != "" {
		text += " here"
	}
	if len(a.Overrides) > 0 {
		text += ", overriding " + safe(strings.Join(a.Overrides, ", "), 200)
	}
	if a.Reason != "" {
		text += ": " + safe(a.Reason, 200)
	}
	return text
}

var pasts = map[string]string{
	runbook.Approve: "approved", runbook.Deny: "denied", runbook.Abort: "aborted", runbook.Pause: "paused", runbook.Resume: "resumed", runbook.Retry: "retry said",
	runbook.Skip: "skipped", runbook.Decide: "decided", runbook.Acknowledge: "acknowledged", runbook.IntoFailover: "made a failover", runbook.BreakGlass: "glass broken",
}

func past(decision string) string { return cmp.Or(pasts[decision], decision) }

func findings(all []string, most int) string {
	text := ""
	for i, f := range all {
		if i == most {
			text += fmt.Sprintf("… and %d findings more, in the report\n", len(all)-most)
			break
		}
		text += "! " + clip(f, 300) + "\n"
	}
	return strings.TrimRight(text, "\n")
}

func tail[T any](all []T, n int) []T { return all[max(0, len(all)-n):] }

// press is what a button carries: what is answered, and to which question of which run.
type press struct {
	Pair     string `json:"p"`
	OpID     string `json:"o"`
	Question string `json:"q,omitempty"`
	Decision string `json:"d"`
	Team     string `json:"t,omitempty"`
}

// offered are the answers that have a button, in its order.
var offered = []struct {
	decision, label string
	style           slack.Style
}{
	{runbook.Approve, "Approve", slack.StylePrimary},
	{runbook.Deny, "Deny", slack.StyleDanger},
	{runbook.Decide, "Decide", slack.StylePrimary},
	{runbook.Retry, "Retry the step", slack.StylePrimary},
	{runbook.Skip, "Skip the step", slack.StyleDefault},
	{runbook.Resume, "Resume", slack.StylePrimary},
	{runbook.Acknowledge, "I look after it", slack.StyleDefault},
	{runbook.Pause, "Pause", slack.StyleDefault},
	{runbook.IntoFailover, "Make it a failover", slack.StyleDanger},
	{runbook.Abort, "Abort", slack.StyleDanger},
}

// may tells whether a run takes a decision now, as far as its status tells.
func may(st workflows.Status, decision string) bool {
	switch {
	case st.Phase == workflows.PhaseEnded:
		return false
	case decision == runbook.Acknowledge:
		return true
	case st.Waiting == nil:
		return decision == runbook.Abort && !st.PastPivot && st.Phase != workflows.PhaseUndoing
	}
	return slices.Contains(st.Waiting.Commands, decision)
}

func buttonsOf(st workflows.Status) []slack.BlockElement {
	var out []slack.BlockElement
	for _, o := range offered {
		if st.DryRun || !may(st, o.decision) {
			continue
		}
		p := press{Pair: st.Pair, OpID: st.OpID, Decision: o.decision}
		if w := st.Waiting; w != nil {
			p.Question = w.Question
		}
		raw, err := json.Marshal(p)
		if err != nil {
			continue // four texts: it cannot be
		}
		b := slack.NewButtonBlockElement("answer-"+o.decision, string(raw), plain(o.label))
		b.Style = o.style
		out = append(out, b)
	}
	return out
}

// clientTeams are how the teams stand whose clients move.
func clientTeams(teams []runbook.TeamLine) []string {
	var out []string
	for _, l := range teams {
		row := l.Row()
		out = append(out, clip(fmt.Sprintf("team %s: told %s; acknowledged %s; moved %s", row[0], row[2], row[3], row[4]), 400))
	}
	return out
}

// mostTeams have a button; for the rest there is drctl acknowledge --team.
const mostTeams = 25

// waitingTeams have been told, or will be, and nobody looks after them.
func waitingTeams(st workflows.Status) []runbook.TeamLine {
	return slices.DeleteFunc(slices.Clone(st.Teams), func(l runbook.TeamLine) bool { return l.AcknowledgedBy != "" })
}

// teamButtons acknowledge for teams that nobody looks after yet.
func teamButtons(st workflows.Status) []slack.BlockElement {
	var out []slack.BlockElement
	for _, l := range waitingTeams(st) {
		if len(out) == mostTeams {
			break
		}
		raw, err := json.Marshal(press{Pair: st.Pair, OpID: st.OpID, Decision: runbook.Acknowledge, Team: l.Team})
		if err == nil {
			out = append(out, slack.NewButtonBlockElement("answer-"+runbook.Acknowledge+"-"+l.Team, string(raw), plain(clip("Team "+l.Team+": we look after it", 75))))
		}
	}
	return out
}

// ---- what only the person who asked sees

func readinessView(r runbook.Readiness) message {
	title := fmt.Sprintf("readiness of %s: %d of 100", r.Pair, r.Score)
	verdict := "ready"
	if !r.Ready {
		verdict = "NOT ready"
	}
	blocks := []slack.Block{header(title), section(safe(fmt.Sprintf("%s at %s, good until %s", verdict, clock(r.At), clock(r.Expires)), 300))}
	if r.Proposal != "" {
		blocks = append(blocks, section("*"+safe(r.Proposal, 1000)+"*"))
	}
	var rows []string
	for _, c := range r.Checks {
		row := fmt.Sprintf("%-8s %s", c.State, c.Name)
		if c.State != runbook.CheckOK {
			row += ": " + clip(c.Detail, 200)
			if c.Cure != "" {
				row += "; " + clip(c.Cure, 200)
			}
		}
		rows = append(rows, row)
	}
	if len(rows) > 0 {
		blocks = append(blocks, table(rows, "checks"))
	}
	return message{text: title, blocks: blocks}
}

func reportsView(pair string, lines []operator.ReportLine) message {
	title := "ended runs of " + pair
	if len(lines) == 0 {
		return message{text: "Temporal keeps no ended run of pair " + pair + "."}
	}
	rows := []string{}
	for _, l := range lines {
		name := l.Operation
		if l.DryRun {
			name = "dry run of " + name
		}
		if l.Drill != "" {
			name += " (" + l.Drill + " drill)"
		}
		row := fmt.Sprintf("%s %-26s %-10s %s", l.Ended.UTC().Format("2006-01-02 15:04Z"), clip(name, 26), clip(cmp.Or(l.Outcome, l.State), 10), clip(l.Requester, 20))
		if l.RTOMillis > 0 {
			row += fmt.Sprintf(", RTO %.1f s", float64(l.RTOMillis)/1000)
		}
		switch {
		case l.RPOExact != nil:
			row += fmt.Sprintf(", lost %d", *l.RPOExact)
		case l.RPOEstimate != nil:
			row += fmt.Sprintf(", lost about %d", *l.RPOEstimate)
		}
		rows = append(rows, row)
	}
	return message{text: title, blocks: []slack.Block{header(title), table(rows, "runs"), small(safe("a whole report: drctl reports "+pair+" RUN", 200))}}
}
