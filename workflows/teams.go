package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// meetTeams begins the table of teams. What it returns ends the waits for their
// acknowledgements: the run waits for clients no longer.
func (s *story) meetTeams(ctx workflow.Context) (enough func()) {
	s.patience, enough = workflow.WithCancel(ctx)
	s.status.Teams = runbook.TeamLines(s.plan)
	for range s.plan.Teams {
		s.turns = append(s.turns, workflow.NewMutex(ctx))
	}
	return enough
}

// tellTeams tells those teams that a wave of groups is the first of, or brings by
// hand to the site, and tells them again if nobody acknowledges in the plan's time.
func (s *story) tellTeams(ctx workflow.Context, site runbook.Site, wave []runbook.Group) {
	for i, t := range s.plan.Teams {
		t.Groups = runbook.TeamsTurn(t, wave)
		first := s.status.Teams[i].Since.IsZero()
		if len(t.Groups) == 0 || !first && s.plan.Mild(t, "") {
			continue
		}
		s.callTeam(ctx, i, site, t, false)
		if first && t.EscalateSeconds > 0 {
			workflow.Go(s.patience, func(ctx workflow.Context) {
				if workflow.Sleep(ctx, runbook.Seconds(t.EscalateSeconds)) == nil {
					s.escalateTeam(ctx, i, site, false)
				}
			})
		}
	}
}

// callTeam tells a team what to do with groups of its; over: nobody can acknowledge any more.
func (s *story) callTeam(ctx workflow.Context, i int, site runbook.Site, t runbook.Team, over bool) {
	if s.status.Teams[i].Since.IsZero() {
		s.status.Teams[i].Since = workflow.Now(ctx)
	}
	title, text := runbook.TeamMessage(s.plan, t, site, s.path, s.report.Drill, s.rec.Epoch, over)
	s.tellTeam(ctx, i, NotifyInput{Kind: NotifyMove, Title: title, Text: text, Groups: t.Groups, Page: true, Site: site.Name, Mild: s.plan.Mild(t, s.path)})
}

// countTeams keeps what Kafka shows of each team's groups. Those whose clients have
// all moved hear so.
func (s *story) countTeams(ctx workflow.Context, site runbook.Site) {
	for i := range s.status.Teams {
		l := &s.status.Teams[i]
		before := l.AllMoved()
		if l.Count(s.report.Clients); l.AllMoved() && !before {
			title := fmt.Sprintf("team %s: all %d groups have moved to %s", l.Team, len(l.Groups), site.Name)
			s.tellTeam(ctx, i, NotifyInput{Kind: NotifyMoved, Title: title, Text: "on the evidence of both clusters", Groups: l.Groups, Site: site.Name})
		}
	}
	s.show(ctx)
}

// settleTeams tells again those teams whom nobody looks after, and those whose wave
// never came: the end of a run keeps no client waiting.
func (s *story) settleTeams(ctx workflow.Context, site runbook.Site) {
	for i, t := range s.plan.Teams {
		switch {
		case s.status.Teams[i].Since.IsZero():
			s.callTeam(ctx, i, site, t, true)
		case t.EscalateSeconds > 0:
			s.escalateTeam(ctx, i, site, true)
		}
	}
}

// escalateTeam tells a team again, and its escalation service with it: of the groups
// that have had their turn.
func (s *story) escalateTeam(ctx workflow.Context, i int, site runbook.Site, over bool) {
	l := &s.status.Teams[i]
	if !l.Escalates() {
		return
	}
	l.EscalatedAt = workflow.Now(ctx)
	t := s.plan.Teams[i]
	t.Groups = slices.DeleteFunc(slices.Clone(t.Groups), func(g string) bool { return slices.Contains(s.rec.Waits, g) })
	title, text := runbook.TeamMessage(s.plan, t, site, s.path, s.report.Drill, s.rec.Epoch, over)
	s.tellTeam(ctx, i, NotifyInput{Kind: NotifyEscalated, Title: "nobody has acknowledged: " + title, Text: text, Groups: t.Groups, Page: true, Wide: true, Site: site.Name})
}

func (s *story) tellTeam(ctx workflow.Context, i int, in NotifyInput) {
	t := s.plan.Teams[i]
	in.Team, in.Notify = t.Name, s.plan.Channels(t)
	if t.Slack != nil && in.Page {
		in.Mention = t.Slack.Mention
	}
	s.send(ctx, in, s.turns[i], func(t runbook.Told) {
		s.status.Teams[i].Told = append(s.status.Teams[i].Told, t)
		s.show(ctx)
	})
}

// acknowledgeFor quiets a team's page.
func (s *story) acknowledgeFor(ctx workflow.Context, by runbook.Signed) string {
	i := slices.IndexFunc(s.status.Teams, func(l runbook.TeamLine) bool { return l.Team == by.Team })
	l := &s.status.Teams[i] // judged by now: it was told
	l.AcknowledgedBy, l.Via, l.AcknowledgedAt = by.By, by.Via, by.At
	s.tellTeam(ctx, i, NotifyInput{Kind: NotifyAcknowledged, Title: fmt.Sprintf("team %s: %s looks after it", l.Team, by.By), Text: by.Reason, Groups: l.Groups})
	return fmt.Sprintf("acknowledged: %s looks after it for team %s", by.By, l.Team)
}
