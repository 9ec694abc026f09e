package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/slack-go/slack"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// sentence begins with a capital.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// facts is what a dry run found, for whoever is about to decide. Its size does not grow with the topics.
func facts(p *planned, r runbook.Report) []slack.Block {
	var blocks []slack.Block
	if f := r.Forecast; f != nil {
		again := fmt.Sprintf("Groups read again at least %d and at most %d", f.Again, f.AtMost)
		if len(f.Unseen) > 0 {
			again = sentence(f.AgainText())
		}
		blocks = append(blocks, section(safe(fmt.Sprintf(
			"About %d records at risk in %d topics: at least %d up to the last contact, about %d in %.1f s since. %s.",
			f.AtRisk, max(f.InTopics, len(f.Topics)), f.Known, f.Blind, f.BlindSeconds, again), 600)))
		if rows := topicLines(p, *f); len(rows) > 0 {
			blocks = append(blocks, table(rows, "topics"))
		}
		if rows := teamLines(p, *f); len(rows) > 0 {
			blocks = append(blocks, table(rows, "teams"))
		}
	}
	if m := r.Move; m != nil {
		blocks = append(blocks, section(safe(m.Text(), 1500)))
	}
	if r.ETA != nil {
		blocks = append(blocks, small("Time: "+safe(r.ETA.Expect(), 800)))
	}
	if f := r.Forecast; f != nil {
		last := "Last exercised: no kept report of a failover, move or drill."
		if !f.Exercised.IsZero() {
			last = fmt.Sprintf("Last exercised: %.1f days ago by a %s.", f.ExerciseDays, f.Exercise)
		}
		blocks = append(blocks, small(safe(last, 200)))
	}
	if n := len(r.CopyByTopic); n > 0 || r.CopyRecords > 0 {
		blocks = append(blocks, small(fmt.Sprintf("To copy: %d records, %d bytes.", r.CopyRecords, r.CopyBytes)))
	}
	if len(r.Planned) > 0 {
		blocks = append(blocks, small(fmt.Sprintf("%d steps would follow.", len(r.Planned))))
	}
	if len(r.Findings) > 0 {
		blocks = append(blocks, small(safe(findings(r.Findings, 8), 2600)))
	}
	return blocks
}

// topicLines are the topics that lose most, with who owns them.
func topicLines(p *planned, f runbook.Forecast) []string {
	top, owned := f.Top(topicRows), p.ownership()
	var rows []string
	for _, t := range top.Topics {
		if t.AtRisk == 0 && t.Redeliver == 0 && t.Unseen == 0 {
			continue
		}
		row := fmt.Sprintf("%-32s %9d at risk, %9d again", clip(t.Topic, 32), t.AtRisk, t.Redeliver)
		if o := owned.of(t.Topic); o != "" {
			row += "  " + clip(o, 24)
		}
		rows = append(rows, row)
	}
	if rows == nil {
		return nil
	}
	if all := max(f.InTopics, len(f.Topics)); all > len(rows) {
		rows = append(rows, fmt.Sprintf("and %d topics more", all-len(rows)))
	}
	return rows
}

// teamLines sum by the plan's owners.
func teamLines(p *planned, f runbook.Forecast) []string {
	if len(p.Owners) == 0 {
		return nil
	}
	type team struct {
		name                 string
		topics, risk, repeat int64
	}
	by, owned := map[string]*team{}, p.ownership()
	var all []*team
	for _, t := range f.Topics {
		name := cmp.Or(owned.of(t.Topic), "(no owner)")
		if by[name] == nil {
			by[name] = &team{name: name}
			all = append(all, by[name])
		}
		o := by[name]
		o.topics, o.risk, o.repeat = o.topics+1, o.risk+t.AtRisk, o.repeat+t.Redeliver
	}
	slices.SortStableFunc(all, func(a, b *team) int { return cmp.Or(cmp.Compare(b.risk, a.risk), cmp.Compare(b.repeat, a.repeat)) })
	var rows []string
	for i, o := range all {
		if i == topicRows {
			rows = append(rows, fmt.Sprintf("and %d teams more", len(all)-topicRows))
			break
		}
		rows = append(rows, fmt.Sprintf("%-32s %9d at risk, %9d again, %d topics", clip(o.name, 32), o.risk, o.repeat, o.topics))
	}
	return rows
}

// asFacts is what an open run has found, as a report would say it.
func asFacts(st workflows.Status) runbook.Report {
	return runbook.Report{Forecast: st.Forecast, Move: st.Move, ETA: st.ETA}
}

// dialog is a modal without inputs.
func dialog(title string, blocks ...slack.Block) slack.ModalViewRequest {
	return slack.ModalViewRequest{
		Type: slack.VTModal, Title: plain(clip(title, 24)), Close: plain("Close"), CallbackID: "none", Blocks: slack.Blocks{BlockSet: blocks},
	}
}

// input of a text; its block id is its name.
func reasonInput(optional bool) slack.Block {
	e := slack.NewPlainTextInputBlockElement(plain("kept in the report"), "reason")
	e.MaxLength, e.Multiline = 500, true
	b := slack.NewInputBlock("reason", plain("Why"), nil, e)
	b.Optional = optional
	return b
}

func choice(id, label string, options ...string) slack.Block {
	var all []*slack.OptionBlockObject
	for _, o := range options {
		value, text, _ := strings.Cut(o, "=")
		all = append(all, slack.NewOptionBlockObject(value, plain(clip(cmp.Or(text, value), 75)), nil))
	}
	return slack.NewInputBlock(id, plain(clip(label, maxLabel)), nil, slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, plain("choose"), id, all...))
}
