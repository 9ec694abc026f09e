package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/demo/check"
	"github.com/drawbridge-dr/drawbridge/test/demo/clients"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// reportFile is what machines read of a run.
const reportFile = "out/demo.json"

// stand reads a topic as it stands in a cluster.
func stand(ctx context.Context, site *harness.Site, topic string) ([]check.Stored, error) {
	ctx, cancel := within(ctx, 2*time.Minute)
	defer cancel()
	partitions, err := site.Read(ctx, topic)
	if err != nil {
		return nil, err
	}
	var out []check.Stored
	for _, p := range slices.Sorted(maps.Keys(partitions)) {
		for _, r := range partitions[p] {
			name, attempt, recovered := clients.Numbered(r)
			out = append(out, check.Stored{Partition: p, Offset: r.Offset, Record: check.Name(name), Attempt: attempt, Recovered: recovered})
		}
	}
	return out, nil
}

// evidence gathers all that is judged: clients' journals, clusters, reports.
// What cannot be had is a fault, and the rest is judged without it.
func (s *story) evidence(ctx context.Context) (check.Evidence, error) {
	sys := s.sys
	e := check.Evidence{
		Kafka: s.kafka(), HomeSite: sys.Home.Name, StandbySite: sys.Standby.Name, Tutorial: tutorialTopic, Want: check.Tutorial(),
		RTO:          time.Duration(s.failover.Report.RTOMillis) * time.Millisecond,
		Fence:        check.Fence{Failover: levelOf(s.failover, sys.Home.Name), Returned: levelOf(s.recovery, sys.Home.Name), Home: levelOf(s.failback, sys.Standby.Name)},
		FailbackDone: s.failback.Outcome == runbook.Done, Planned: s.planned(),
	}
	e.ApprovedBy = runbook.Who(s.failover.Report.Approvals, runbook.Approve)
	e.AcknowledgedBy = acknowledged(s.failover.Report.Approvals)
	e.Chat = s.chat.evidence(s.failover.Report.Teams)
	var errs []error
	e.Versions.Kafka = sys.Home.Kafka.Version()
	version := func(into *string, ask func(context.Context) (string, error)) {
		v, err := ask(ctx)
		errs = append(errs, err)
		*into = v
	}
	version(&e.Versions.Temporal, sys.Temporal.Version)
	version(&e.Versions.Consul, sys.Home.Consul.Version)
	record, err := sys.Record(ctx, sys.Home)
	if err == nil {
		e.Active, e.Epoch = record.Active[0], record.Epoch
	}
	errs = append(errs, err)
	for _, a := range []*app{s.tutorial, s.clicks} {
		t, err := s.topic(ctx, a)
		errs = append(errs, err)
		e.Topics = append(e.Topics, t)
	}
	return e, errors.Join(errs...)
}

func (s *story) topic(ctx context.Context, a *app) (check.Topic, error) {
	t := check.Topic{Name: a.topic, Primary: s.primary[a.topic], Stops: map[int32]int64{}}
	var errs []error
	var err error
	t.Log, err = clients.ReadJournal[check.Attempt](a.journal("producer"))
	errs = append(errs, err)
	t.Reads, err = clients.ReadJournal[check.Read](a.journal("consumer"))
	errs = append(errs, err)
	t.Standby, err = stand(ctx, s.sys.Standby, a.topic)
	errs = append(errs, err)
	t.Home, err = stand(ctx, s.sys.Home, a.topic)
	errs = append(errs, err)
	for _, p := range s.failover.Report.Stops {
		if p.Topic == a.topic && p.SourceStop != nil {
			t.Stops[p.Partition] = *p.SourceStop
		}
	}
	if cast := s.dry.Report.Forecast; cast != nil {
		t.FailoverForecast = forecastOf(cast.Groups, a)
	}
	if cast := s.failover.Report.Forecast; cast != nil {
		for _, f := range cast.Topics {
			if f.Topic == a.topic {
				t.RPOEstimate = f.AtRisk
			}
		}
	}
	t.RecoveryForecast = forecastOf(s.recovery.Report.RecoveryForecast, a)
	t.RPOExact = s.recovery.Report.RPOByTopic[a.topic]
	for _, l := range s.recovery.Report.Ledger {
		if l.Topic == a.topic {
			t.LaggedFound += l.Records
		}
	}
	return t, errors.Join(errs...)
}

func forecastOf(groups []runbook.GroupForecast, a *app) int64 {
	var n int64
	for _, g := range groups {
		if g.Topic == a.topic && g.Group == a.group {
			n += g.Redelivered
		}
	}
	return n
}

// levelOf is the level of the last fence on a site in a run's report.
func levelOf(r workflows.Result, site string) string {
	level := ""
	for _, f := range r.Report.Fences {
		if f.Site == site {
			level = f.Level
		}
	}
	return level
}

func writeReport(file string, r check.Report) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := os.WriteFile(file, append(raw, '\n'), 0o644); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
