package workflows

import (
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// moveClients tells teams, and those who move by hand, and waits, bounded, for Kafka's
// evidence, wave by wave.
func (s *story) moveClients(ctx workflow.Context, old, site runbook.Site) error {
	enough := s.meetTeams(ctx)
	defer enough()
	err := s.clientWaves(ctx, old, site)
	s.mark(ctx, "clients")
	s.settleTeams(ctx, site)
	return err
}

// moveWave moves the groups of one wave. Clients that have not moved are a finding,
// not a failure, unless more wait for this wave than may go on without it.
func (s *story) moveWave(ctx workflow.Context, name string, old, site runbook.Site, groups []runbook.Group, more bool) error {
	since, before := workflow.Now(ctx), s.report
	s.tellTeams(ctx, site, groups)
	s.tellByHand(ctx, site, groups)
	// Behind those who are told: workloads may have to be waited for.
	if err := s.moveWorkloads(ctx, old, site, groups); err != nil {
		return err
	}
	within := runbook.Seconds(s.plan.Limits.ClientsSeconds)
	return s.do(ctx, name, func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindWait(within), "clients on "+site.Name), steps.AwaitClientsMoved, AwaitClientsMovedInput{
			Call: s.call(name), Old: old, New: site, Groups: runbook.NamesOf(groups), Topics: s.topics, Since: since, Within: within,
		})
		if err != nil {
			return "", err
		}
		moves := runbook.Moves{Rows: got.Groups, Moved: got.Moved, Left: got.Left}
		moves.Note(s.teams.moved, groups)
		s.report.Clients = append(slices.Clone(before.Clients), moves.Rows...)
		s.report.ClientsMoved, s.report.ClientsLeft = before.ClientsMoved+moves.Moved, append(slices.Clone(before.ClientsLeft), moves.Left...)
		s.countTeams(ctx, site)
		if v := runbook.HaltClients(moves, s.plan.Limits.HaltPercent); more && !v.OK {
			return "", refuse(ErrHalted, "%s", v.Text())
		}
		s.findUnmoved(moves, old, site)
		moved := "all groups have moved"
		if !got.Complete {
			moved = "not all groups have moved"
		}
		return fmt.Sprintf("%s; %d of %d topics were written to meanwhile", moved, got.Producing, got.Topics), nil
	})
}

// clientWaves moves the plan's groups. Those of the first wave went with the flip;
// each later one is let go in the record of truth when the wave before it was seen at
// the new site. A wave that too many groups of have not moved waits for a person, and
// so do the groups behind it, which stand still meanwhile.
func (s *story) clientWaves(ctx workflow.Context, old, site runbook.Site) error {
	waves := runbook.ClientWaves(s.plan.Groups)
	if len(waves) < 2 {
		return s.moveWave(ctx, "move clients", old, site, s.plan.Groups, false)
	}
	for i, groups := range waves {
		name := "move clients"
		if i > 0 {
			name = fmt.Sprintf("move client wave %d", i+1)
			if err := s.letMove(ctx, i+1, groups); err != nil {
				return err
			}
		}
		if err := s.moveWave(ctx, name, old, site, groups, i+1 < len(waves)); err != nil {
			return err
		}
	}
	return nil
}

// letMove gives a wave its turn. It cannot be skipped: its groups stand still until
// it is written, or the run is over.
func (s *story) letMove(ctx workflow.Context, wave int, groups []runbook.Group) error {
	name := fmt.Sprintf("release client wave %d", wave)
	return s.must(ctx, name, func(ctx workflow.Context) (string, error) {
		return fmt.Sprintf("%d groups may start", len(groups)), s.settle(ctx, WriteWave, name, runbook.Released(s.rec, groups, s.by(ctx)))
	})
}

const (
	// byHandAlone is how many groups that belong to no team and move by hand have a page
	// each: Slack takes one message a second in a channel, a notification waits eight,
	// and others are told there too.
	byHandAlone = 4
	// byHandShown of more are named in their one page.
	byHandShown = 20
)

// tellByHand tells the pair's people of the groups that move by hand and are no team's.
func (s *story) tellByHand(ctx workflow.Context, site runbook.Site, groups []runbook.Group) {
	var names []string
	for _, g := range groups {
		if g.Move == runbook.MovePage && s.teams.of[g.Name] == "" {
			names = append(names, g.Name)
		}
	}
	since := fmt.Sprintf("pair %s is active at %s since epoch %d; ", s.status.Pair, site.Name, s.rec.Epoch)
	bootstrap := ": bootstrap " + strings.Join(site.Kafka.Bootstrap, ",")
	if len(names) > byHandAlone {
		shown := strings.Join(names[:min(byHandShown, len(names))], ", ")
		if more := len(names) - byHandShown; more > 0 {
			shown += fmt.Sprintf(" and %d more", more)
		}
		s.notify(ctx, NotifyMove, fmt.Sprintf("move group %s and %d more to %s", names[0], len(names)-1, site.Name), since+shown+" move by hand (the plan's groups of no team)"+bootstrap, true)
		return
	}
	for _, name := range names {
		s.notify(ctx, NotifyMove, fmt.Sprintf("move group %s to %s", name, site.Name), since+"group "+name+" moves by hand"+bootstrap, true)
	}
}

// foundUnmoved groups of a wave have a finding each; the report's clients have all.
const foundUnmoved = 50

func (s *story) findUnmoved(m runbook.Moves, old, site runbook.Site) {
	n := len(m.Left)
	for _, g := range m.Rows {
		if g.Moved {
			continue
		}
		if n++; n-len(m.Left) > foundUnmoved {
			continue
		}
		team := ""
		if name := s.teams.of[g.Group]; name != "" {
			team = " of team " + name
		}
		s.find("group %s%s has not moved: %d members on %s, %d on %s", g.Group, team, g.MembersOld, old.Name, g.MembersNew, site.Name)
	}
	if n > foundUnmoved {
		s.find("and %d groups more have not moved to %s: the report's clients name them", n-foundUnmoved, site.Name)
	}
}
