package activities

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// AttestOutage asks the worker's own eyes, the other site's engine and the plan's
// probes, at the same time and each within its own bound.
func (a *Activities) AttestOutage(ctx context.Context, in workflows.AttestOutageInput) (workflows.AttestOutageResult, error) {
	engine := make(chan runbook.Vantage, 1)
	go func() {
		v := runbook.Vantage{From: "engine " + in.Other.Name}
		p, _, err := a.progress(ctx, in.Other, in.Link)
		if err != nil {
			v.Detail = err.Error()
		} else {
			v.Known, v.Reachable, v.LastContact = true, p.SourceReachable, p.LastContact
		}
		engine <- v
	}()
	probes := make([]runbook.Vantage, len(in.Probes))
	var asked sync.WaitGroup
	for i, p := range in.Probes {
		asked.Go(func() { probes[i] = a.probe(ctx, p) })
	}
	own := runbook.Vantage{From: "worker", Known: true}
	k, err := a.kafka(in.Site)
	if err == nil {
		err = k.reach(ctx)
	}
	if own.Reachable = err == nil; own.Reachable {
		own.LastContact = time.Now().UTC()
	} else {
		own.Detail = err.Error()
		// A worker that cannot log in has not seen an outage.
		own.Known = retryable(err)
	}
	asked.Wait()
	return workflows.AttestOutageResult{Vantages: append([]runbook.Vantage{own, <-engine}, probes...)}, ctx.Err()
}

// MeasureRisk reads progress and offset sync. Now is this worker's clock: the
// engine's API tells no time of its own.
func (a *Activities) MeasureRisk(ctx context.Context, in workflows.MeasureRiskInput) (workflows.MeasureRiskResult, error) {
	defer a.beat(ctx)()
	risk, err := a.risk(ctx, in)
	return workflows.MeasureRiskResult{Risk: risk.Condense(runbook.RowLimit)}, settle(err)
}

// risk is the whole of it, however large the link.
func (a *Activities) risk(ctx context.Context, in workflows.MeasureRiskInput) (runbook.Risk, error) {
	p, by, err := a.progress(ctx, in.Site, in.Link)
	if err != nil {
		return runbook.Risk{}, err
	}
	now := time.Now().UTC()
	e, err := a.engine(in.Site)
	if err != nil {
		return runbook.Risk{}, err
	}
	groups, err := e.Groups(ctx, in.Link.Name)
	if err != nil {
		return runbook.Risk{}, fmt.Errorf("offset sync of link %s: %w", in.Link.Name, err)
	}
	risk := runbook.Risk{
		Link: in.Link.Name, Now: now, SourceReachable: p.SourceReachable, LastContact: p.LastContact,
		GroupsSyncedAt: groups.LastRun, Groups: groupRisks(groups.Groups, by, nil),
	}
	slices.SortFunc(p.Mirrors, func(a, b api.MirrorProgress) int { return compare(a.Topic, b.Topic) })
	for _, m := range p.Mirrors {
		if m.Reversed { // it ended in a planned move; its source follows it now
			continue
		}
		for _, part := range m.Partitions {
			stalled := part.Stalled
			if stalled == "" {
				stalled = m.Reason
			}
			risk.Partitions = append(risk.Partitions, runbook.PartitionRisk{
				Topic: m.Topic, Partition: part.Partition, Status: m.Status, LagRecords: part.LagRecords,
				LagSeconds: part.LagSeconds, RecordsPerSecond: part.RecordsPerSecond, SourceSeen: part.SourceHighWatermark >= 0,
				SourcePosition: part.SourcePosition, SourceStop: part.SourceStop, DestStop: part.DestStop, Stalled: stalled, Guard: m.Guard,
			})
		}
	}
	return risk, nil
}
