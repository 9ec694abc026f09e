package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// What a channel of Slack that many teams share is written: one message for many of
// them, since Slack takes one a second there, and all of it in one thread of the run.

// mostTelling is how many notifications are under way at a time: Temporal takes 2,000
// activities of a run, and 4 MiB of new ones at once.
const mostTelling = 100

// onItsWay is said of a message until it is known what came of it.
const onItsWay = "on its way"

// tellEach tells teams, each by its own channels, but those of one crowded channel of
// Slack together there.
func (s *story) tellEach(ctx workflow.Context, site runbook.Site, notes []teamNote) {
	var rounds []round
	for _, n := range notes {
		t := s.plan.Teams[n.i]
		n.in.Team, n.in.Notify = t.Name, s.plan.Channels(t)
		if t.Slack != nil && n.in.Page {
			n.in.Mention = t.Slack.Mention
		}
		slack := n.in.Notify.Slack
		if slack == nil || !s.teams.crowded[slack.Channel] {
			s.tellTeam(ctx, n.i, n.in)
			continue
		}
		r := slices.IndexFunc(rounds, func(r round) bool {
			return r.slack.Channel == slack.Channel && r.kind == n.in.Kind && r.over == n.over
		})
		if r < 0 {
			r, rounds = len(rounds), append(rounds, round{slack: *slack, kind: n.in.Kind, over: n.over})
		}
		rounds[r].notes = append(rounds[r].notes, n)
	}
	for _, r := range rounds {
		s.tellRound(ctx, site, r)
	}
}

// round is what teams of one channel are told at a time.
type round struct {
	slack runbook.Slack
	kind  string
	over  bool
	notes []teamNote
}

// tellTeam sends a team's own message.
func (s *story) tellTeam(ctx workflow.Context, i int, in NotifyInput) {
	s.send(ctx, in, s.teams.turns[i], func(t runbook.Told) {
		s.status.Teams[i].Told = append(s.status.Teams[i].Told, t)
		s.show(ctx)
	})
}

// tellRound sends what is not Slack's to each team, and Slack's for all of them.
func (s *story) tellRound(ctx workflow.Context, site runbook.Site, r round) {
	thread := "teams in " + r.slack.Channel
	if len(r.notes) == 1 {
		n := r.notes[0]
		n.in.Thread = thread
		s.tellTeam(ctx, n.i, n.in)
		return
	}
	if s.status.DryRun {
		return
	}
	told := map[int]int{} // team → its place in what it was told
	var lines []runbook.CrowdLine
	for _, n := range r.notes {
		t := s.plan.Teams[n.i]
		t.Groups = n.in.Groups
		line := runbook.CrowdLineOf(n.i, t, s.teams.ways)
		if n.in.Page {
			told[n.i] = s.expectTold(ctx, n)
		} else {
			line.Mention = nil
		}
		lines = append(lines, line)
		n.in.Notify.Slack, n.in.Mention = nil, nil
		s.send(ctx, n.in, s.teams.turns[n.i], func(t runbook.Told) {
			have := &s.status.Teams[n.i].Told[told[n.i]]
			have.PagerDuty, have.Webhook, have.Email = t.PagerDuty, t.Webhook, t.Email
			s.show(ctx)
		})
	}
	crowds, left := runbook.Crowds(s.plan.Pair, lines)
	keep := func(teams []int, what string) {
		for _, i := range teams {
			if at, paged := told[i]; paged {
				s.status.Teams[i].Told[at].Slack = what
			}
		}
	}
	keep(left, fmt.Sprintf("named in no message: channel %s is shared by too many teams, give them others", r.slack.Channel))
	s.tellCrowds(ctx, r.slack.Channel, crowds, keep, func(c runbook.Crowd) NotifyInput {
		return NotifyInput{
			Call: s.call("notify " + r.kind), Notify: runbook.Notify{Slack: &r.slack}, Kind: r.kind, Title: runbook.CrowdTitle(len(c.Teams), r.kind == NotifyMoved, r.kind == NotifyEscalated, site, s.path, s.report.Drill, s.plan.Pair),
			Text: runbook.CrowdText(s.plan, c, site, s.path, s.rec.Epoch, r.over, r.kind == NotifyMoved), Page: r.notes[0].in.Page, Mention: c.Mention, Site: site.Name, Thread: thread,
		}
	})
}

// expectTold makes the row of a page whose channels answer one by one.
func (s *story) expectTold(ctx workflow.Context, n teamNote) int {
	to := n.in.Notify
	said := func(has bool, not string) string {
		if has {
			return onItsWay
		}
		return not
	}
	t := runbook.Told{
		At: workflow.Now(ctx), Kind: n.in.Kind, Title: n.in.Title, Mention: n.in.Mention,
		Slack: onItsWay, PagerDuty: said(to.PagerDuty != nil, runbook.NotConfigured), Webhook: said(to.Webhook != nil, ""), Email: said(to.SMTP != nil, ""),
	}
	l := &s.status.Teams[n.i]
	l.Told = append(l.Told, t)
	return len(l.Told) - 1
}

// tellCrowds writes messages into a crowded channel, one after the other and behind what
// it was written before. Where one was not taken the rest is not tried: a Slack that
// hangs costs the run's end one wait for each round.
func (s *story) tellCrowds(ctx workflow.Context, channel string, crowds []runbook.Crowd, keep func([]int, string), message func(runbook.Crowd) NotifyInput) {
	if s.teams.rooms[channel] == nil {
		s.teams.rooms[channel] = workflow.NewMutex(ctx)
	}
	turn := s.teams.rooms[channel]
	free, _ := workflow.NewDisconnectedContext(ctx)
	s.telling++
	kept := s.keeping(true)
	workflow.Go(free, func(ctx workflow.Context) {
		defer func() { s.telling-- }()
		defer kept()
		if turn.Lock(ctx) == nil {
			defer turn.Unlock()
		}
		problem := ""
		for _, c := range crowds {
			if problem != "" {
				keep(c.Teams, "not tried: the message before it was not taken: "+problem)
				continue
			}
			in := message(c)
			done := s.teller(ctx)
			got, err := run(with(ctx, kindPaper, fmt.Sprintf("notify: %s, %d teams", in.Kind, len(c.Teams))), steps.Notify, in)
			done()
			if err != nil {
				got.Slack = said(err)
			}
			if keep(c.Teams, got.Slack); got.Slack != "sent" {
				problem = got.Slack
				workflow.GetLogger(ctx).Warn("notification was not sent", "kind", in.Kind, "channel", channel, "error", problem)
			}
		}
		s.show(ctx)
	})
}
