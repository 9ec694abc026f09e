package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// clientTeams is what a run knows of its teams, and of how groups move.
type clientTeams struct {
	turns   []workflow.Mutex // one for each team, once they are told
	ways    runbook.Ways
	of      map[string]string // group → team
	moved   map[string]bool   // groups, on Kafka's evidence
	crowded map[string]bool   // channels of Slack that many teams share
	rooms   map[string]workflow.Mutex
	// patience ends when the run waits for clients no longer.
	patience workflow.Context
}

// meetTeams begins the table of teams. What it returns ends the waits for their
// acknowledgements: the run waits for clients no longer.
func (s *story) meetTeams(ctx workflow.Context) (enough func()) {
	s.teams = clientTeams{
		ways: runbook.WaysOf(s.plan.Groups), of: s.plan.TeamsByGroup(), moved: map[string]bool{},
		crowded: runbook.Crowded(s.plan), rooms: map[string]workflow.Mutex{},
	}
	s.teams.patience, enough = workflow.WithCancel(ctx)
	s.status.Teams = runbook.TeamLines(s.plan)
	for range s.plan.Teams {
		s.teams.turns = append(s.teams.turns, workflow.NewMutex(ctx))
	}
	return enough
}

// teamNote is what one of the plan's teams is told. over: nobody can acknowledge any more.
type teamNote struct {
	i    int
	in   NotifyInput
	over bool
}

// tellTeams tells those teams that a wave of groups is the first of, or brings by
// hand to the site, and tells them again if nobody acknowledges in the plan's time.
func (s *story) tellTeams(ctx workflow.Context, site runbook.Site, wave []runbook.Group) {
	turn := runbook.WaysOf(wave)
	var notes []teamNote
	late := map[int64][]int{} // by the seconds after which they are told again
	for i, t := range s.plan.Teams {
		t.Groups = runbook.TeamsTurn(t, turn)
		first := s.status.Teams[i].Since.IsZero()
		if len(t.Groups) == 0 || !first && s.teams.ways.Mild(t, "") {
			continue
		}
		notes = append(notes, s.calling(ctx, i, site, t, false))
		if first && t.EscalateSeconds > 0 {
			late[t.EscalateSeconds] = append(late[t.EscalateSeconds], i)
		}
	}
	s.tellEach(ctx, site, notes)
	for _, seconds := range workflow.DeterministicKeys(late) {
		workflow.Go(s.teams.patience, func(ctx workflow.Context) {
			if workflow.Sleep(ctx, runbook.Seconds(seconds)) == nil {
				s.tellEach(ctx, site, s.escalating(ctx, late[seconds], site, false))
			}
		})
	}
}

// calling tells a team what to do with groups of its.
func (s *story) calling(ctx workflow.Context, i int, site runbook.Site, t runbook.Team, over bool) teamNote {
	if s.status.Teams[i].Since.IsZero() {
		s.status.Teams[i].Since = workflow.Now(ctx)
	}
	title, text := runbook.TeamMessage(s.plan, s.teams.ways, t, site, s.path, s.report.Drill, s.rec.Epoch, over)
	in := NotifyInput{Kind: NotifyMove, Title: title, Text: text, Groups: t.Groups, Page: true, Site: site.Name, Mild: s.teams.ways.Mild(t, s.path)}
	return teamNote{i, in, over}
}

// countTeams keeps what Kafka shows of each team's groups. Those whose clients have
// all moved hear so.
func (s *story) countTeams(ctx workflow.Context, site runbook.Site) {
	var notes []teamNote
	for i := range s.status.Teams {
		l := &s.status.Teams[i]
		before := l.AllMoved()
		if l.Count(s.teams.moved); l.AllMoved() && !before {
			title := fmt.Sprintf("team %s: all %d groups have moved to %s", l.Team, len(l.Groups), site.Name)
			notes = append(notes, teamNote{i: i, in: NotifyInput{Kind: NotifyMoved, Title: title, Text: "on the evidence of both clusters", Groups: l.Groups, Site: site.Name}})
		}
	}
	s.tellEach(ctx, site, notes)
	s.show(ctx)
}

// settleTeams tells again those teams whom nobody looks after, and those whose wave
// never came: the end of a run keeps no client waiting.
func (s *story) settleTeams(ctx workflow.Context, site runbook.Site) {
	var notes []teamNote
	for i, t := range s.plan.Teams {
		switch {
		case s.status.Teams[i].Since.IsZero():
			notes = append(notes, s.calling(ctx, i, site, t, true))
		case t.EscalateSeconds > 0:
			notes = append(notes, s.escalating(ctx, []int{i}, site, true)...)
		}
	}
	s.tellEach(ctx, site, notes)
}

// escalating tells teams again, and their escalation services with them: of the groups
// that have had their turn.
func (s *story) escalating(ctx workflow.Context, teams []int, site runbook.Site, over bool) []teamNote {
	waits := make(map[string]bool, len(s.rec.Waits))
	for _, g := range s.rec.Waits {
		waits[g] = true
	}
	var notes []teamNote
	for _, i := range teams {
		l := &s.status.Teams[i]
		if !l.Escalates() {
			continue
		}
		l.EscalatedAt = workflow.Now(ctx)
		t := s.plan.Teams[i]
		t.Groups = slices.DeleteFunc(slices.Clone(t.Groups), func(g string) bool { return waits[g] })
		title, text := runbook.TeamMessage(s.plan, s.teams.ways, t, site, s.path, s.report.Drill, s.rec.Epoch, over)
		in := NotifyInput{Kind: NotifyEscalated, Title: "nobody has acknowledged: " + title, Text: text, Groups: t.Groups, Page: true, Wide: true, Site: site.Name}
		notes = append(notes, teamNote{i, in, over})
	}
	return notes
}

// acknowledgeFor quiets a team's page.
func (s *story) acknowledgeFor(ctx workflow.Context, by runbook.Signed) string {
	i := slices.IndexFunc(s.status.Teams, func(l runbook.TeamLine) bool { return l.Team == by.Team })
	l := &s.status.Teams[i] // judged by now: it was told
	l.AcknowledgedBy, l.Via, l.AcknowledgedAt = by.By, by.Via, by.At
	in := NotifyInput{Kind: NotifyAcknowledged, Title: fmt.Sprintf("team %s: %s looks after it", l.Team, by.By), Text: by.Reason, Groups: l.Groups}
	s.tellEach(ctx, runbook.Site{}, []teamNote{{i: i, in: in}})
	return fmt.Sprintf("acknowledged: %s looks after it for team %s", by.By, l.Team)
}
