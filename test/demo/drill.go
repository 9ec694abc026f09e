package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// theDrill plays each kind of drill while producers and consumers of both topics go
// on as fast as they can: the first two touch none of them, the third moves them
// there and back.
func (s *story) theDrill(flowing context.Context) []act {
	return []act{
		s.startFlowing(flowing),
		{"records flow at home and are read there", func(ctx context.Context) (string, error) { return s.flowsAt(ctx, s.sys.Home) }},
		{"drctl drill --kind tabletop", s.tabletop},
		{"drctl drill --kind canary: a topic of its own fails over, clients go on", s.canary},
		{"drctl drill --kind full: there and back, each move approved by a second person", s.fullDrill},
		{"records flow at home again; then they end, and all are read and mirrored", s.movedHome},
	}
}

func (s *story) tabletop(ctx context.Context) (string, error) {
	got, err := s.operate(ctx, "drill", "--kind", runbook.DrillTabletop)
	if err == nil && (got.Outcome != runbook.Done || got.Report.Forecast == nil || got.Report.Move == nil) {
		err = fmt.Errorf("outcome %q without a forecast", got.Outcome)
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d steps of a failover and a planned move; %s", len(got.Report.Planned), got.Report.Move.Text()), nil
}

// canary insists that no client, record or right of the pair is another afterwards.
func (s *story) canary(ctx context.Context) (string, error) {
	before, err := s.untouched(ctx)
	if err != nil {
		return "", err
	}
	got, err := s.operate(ctx, "drill", "--kind", runbook.DrillCanary)
	if err == nil && (got.Outcome != runbook.Done || got.Report.Drilled == nil) {
		err = fmt.Errorf("outcome %q, compared %+v", got.Outcome, got.Report.Drilled)
	}
	if err != nil {
		return "", err
	}
	after, err := s.untouched(ctx)
	if err != nil {
		return "", err
	}
	if !slices.Equal(before.things, after.things) {
		return "", fmt.Errorf("the drill touched the pair: before %q, after %q", before.things, after.things)
	}
	if after.acked <= before.acked {
		return "", errors.New("no record was acknowledged at home while it was played")
	}
	s.table.printf("      | %d records failed over, alike at both sites, and rebuilt; time to writable %.1f s\n", got.Report.Drilled.Source.Records(), float64(got.Report.RTOMillis)/1000)
	return fmt.Sprintf("%d records of clients were acknowledged at home meanwhile; the same members, rights and record of truth as before", after.acked-before.acked), nil
}

type untouched struct {
	acked  int
	things []string
}

// untouched lists what a canary drill must leave: the record of truth, the groups'
// members, the entries that deny, the topics.
func (s *story) untouched(ctx context.Context) (out untouched, err error) {
	ctx, cancel := within(ctx, time.Minute)
	defer cancel()
	record, err := s.sys.Record(ctx, s.sys.Home)
	if err != nil {
		return out, err
	}
	out.things = append(out.things, "record "+record.SHA256)
	for _, a := range []*app{s.tutorial, s.clicks} {
		n, err := a.acked(s.sys.Home.Name)
		if err != nil {
			return out, err
		}
		out.acked += n
	}
	for _, site := range []*harness.Site{s.sys.Home, s.sys.Standby} {
		things, err := stands(ctx, site)
		if err != nil {
			return out, err
		}
		out.things = append(out.things, things...)
	}
	return out, nil
}

func stands(ctx context.Context, site *harness.Site) (out []string, err error) {
	admin, err := site.Admin()
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range topics.Names() {
		out = append(out, site.Name+" topic "+t)
	}
	groups, err := admin.DescribeGroups(ctx, tutorialGroup, clicksGroup)
	if err != nil {
		return nil, err
	}
	for _, g := range groups.Sorted() {
		for _, m := range g.Members {
			out = append(out, site.Name+" member "+m.MemberID)
		}
	}
	deny, err := admin.DescribeACLs(ctx, kadm.NewACLs().AnyResource().Operations().ResourcePatternType(kadm.ACLPatternAny).Deny().DenyHosts())
	if err != nil {
		return nil, err
	}
	for _, r := range deny {
		for _, d := range r.Described {
			out = append(out, fmt.Sprintf("%s deny %s %s %s", site.Name, d.Principal, d.Operation, d.Name))
		}
	}
	slices.Sort(out)
	return out, nil
}

// fullDrill looks at the standby while everybody is there, before the way home is
// approved.
func (s *story) fullDrill(ctx context.Context) (string, error) {
	moves := 0
	got, err := s.operation(ctx, harness.Operation{
		Verb: "drill", Answers: runbook.OpSwitchover, Args: []string{"--kind", runbook.DrillFull, "--yes=" + s.sys.Pair()},
		Before: func(ctx context.Context, _ workflows.Waiting) error {
			if moves++; moves != 2 {
				return nil
			}
			flown, err := s.flowsAt(ctx, s.sys.Standby)
			if err == nil {
				_, err = s.lookAtHome(ctx)
			}
			s.table.printf("      | %s\n", flown)
			return err
		},
	})
	if err == nil && (got.Outcome != runbook.Done || got.Report.RPOExact == nil || *got.Report.RPOExact != 0) {
		err = fmt.Errorf("outcome %q, lost %v", got.Outcome, got.Report.RPOExact)
	}
	if err != nil {
		return "", err
	}
	for _, seg := range got.Report.RTO {
		s.table.printf("      | %-8s %6.1f s\n", seg.Name, float64(seg.Millis)/1000)
	}
	if err := s.movesOf(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("clients stood still for %.1f s and %.1f s; %s is active at epoch %d", float64(s.failover.Report.RTOMillis)/1000, float64(s.failback.Report.RTOMillis)/1000, joined(got.Active), got.Epoch), nil
}

// movesOf reads the reports of the two moves, as a person would find them.
func (s *story) movesOf(ctx context.Context) error {
	var lines []struct {
		RunID string `json:"run_id"`
		Drill string `json:"drill"`
		Op    string `json:"operation"`
	}
	if err := s.sys.Drctl.JSON(ctx, &lines, "reports", s.sys.Pair()); err != nil {
		return err
	}
	var moves []workflows.Result
	for _, l := range lines { // the newest first
		if l.Drill != runbook.DrillFull || l.Op != runbook.OpSwitchover {
			continue
		}
		var r runbook.Report
		if err := s.sys.Drctl.JSON(ctx, &r, "reports", s.sys.Pair(), l.RunID); err != nil {
			return err
		}
		moves = append(moves, workflows.Result{Outcome: r.Outcome, Report: r})
	}
	if len(moves) != 2 {
		return fmt.Errorf("drctl reports lists %d moves of the drill: %+v", len(moves), lines)
	}
	s.failback, s.failover = moves[0], moves[1]
	return nil
}
