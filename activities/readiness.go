package activities

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// taskInError is a task's state in the contract's words.
const taskInError = "IN_ERROR"

// InspectLink reads a link's state, tasks, drift and guards.
func (a *Activities) InspectLink(ctx context.Context, in workflows.InspectLinkInput) (workflows.InspectLinkResult, error) {
	out := workflows.InspectLinkResult{Link: runbook.LinkFacts{Guards: map[string]int{}}}
	e, err := a.engine(in.Site)
	if err != nil {
		return out, settle(err)
	}
	short, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	l, err := e.Link(short, in.Link.Name, true)
	if err != nil {
		return out, settle(fmt.Errorf("link %s at engine %s: %w", in.Link.Name, in.Site.Name, err))
	}
	out.Link.State = l.LinkState
	if l.LinkError != api.LinkErrorNone {
		out.Link.Error = l.LinkError
		if l.LinkErrorMessage != nil {
			out.Link.Error += ": " + *l.LinkErrorMessage
		}
	}
	for _, t := range l.Tasks {
		for _, fault := range t.Errors {
			text := fmt.Sprintf("%s: %s", t.TaskName, fault.ErrorMessage)
			if t.State == taskInError {
				out.Link.Faults = append(out.Link.Faults, text)
			} else {
				out.Link.Notes = append(out.Link.Notes, text)
			}
		}
	}
	drift, err := e.Drift(short, in.Link.Name)
	if err != nil {
		return out, settle(fmt.Errorf("drift of link %s: %w", in.Link.Name, err))
	}
	for _, d := range drift.Entries {
		if d.Harmful && !d.ByDesign {
			out.Link.Drift = append(out.Link.Drift, fmt.Sprintf("%s is %s there and %s here (%d topics): %s", d.Config, d.Source.Value, d.Destination.Value, len(d.Topics), d.Meaning))
		}
	}
	_, mirrors, err := a.progress(ctx, in.Site, in.Link)
	for _, m := range mirrors {
		if !over(m.Status) {
			out.Link.Guards[m.Guard]++
		}
	}
	return out, settle(err)
}

// exercises are operations by which a pair shows that it can move; of drills the
// canary, since a full one is made of switchovers.
var exercises = []string{runbook.OpFailover, runbook.OpSwitchover, runbook.OpFailback}

// PastRuns reads the kept reports of the pair.
func (a *Activities) PastRuns(ctx context.Context, in workflows.PastRunsInput) (workflows.PastRunsResult, error) {
	var out workflows.PastRunsResult
	files, err := filepath.Glob(filepath.Join(a.reports(in.Folder), "*.json"))
	if err != nil {
		return out, settle(err)
	}
	var runs []runbook.RunTimes
	for _, file := range files {
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		raw, err := os.ReadFile(file)
		var r struct { // not all of a report: one of a large link is megabytes
			Pair, Operation, Outcome, Drill, Error string

			OpID   string `json:"op_id"`
			Before int64  `json:"epoch_before"`
			After  int64  `json:"epoch_after"`
			DryRun bool   `json:"dry_run"`
			Ended  time.Time
			Turned *runbook.Signed `json:"turned_into_failover"`
			Steps  []runbook.StepLine
			RTO    []runbook.Segment
			Millis int64            `json:"rto_ms"`
			RPO    *runbook.RPOTime `json:"rpo_time"`
		}
		if err == nil {
			err = json.Unmarshal(raw, &r)
		}
		if err != nil { // another's file, or one that is being removed
			a.logger(in.Call).Debug("a report was not read", "file", file, "error", err)
			continue
		}
		if r.Pair != in.Call.Pair || r.DryRun {
			continue
		}
		whole := r.Outcome == runbook.Done || r.Outcome == runbook.Partly
		// One that ended early is "partly" too where something of it stays; only who made an epoch has moved.
		moved := whole && slices.Contains(exercises, r.Operation) && r.After > r.Before
		canary := whole && r.Operation == runbook.OpDrill && r.Drill == runbook.DrillCanary
		if (moved || canary) && r.Ended.After(out.Past.Exercised) {
			out.Past.Exercised, out.Past.Operation = r.Ended, r.Operation
		}
		if last := out.Past.Last; moved && (last == nil || r.Ended.After(last.Ended)) {
			out.Past.Last = &runbook.Measured{OpID: r.OpID, Operation: r.Operation, Ended: r.Ended, RTOMillis: r.Millis, RPO: r.RPO}
		}
		if r.Operation == runbook.OpDrill {
			out.Past.Drills = drilled(out.Past.Drills, r.Drill, r.Outcome, r.Error, r.Ended)
		} else if whole {
			runs = append(runs, runbook.Times(runbook.Report{OpID: r.OpID, Operation: r.Operation, Ended: r.Ended, Turned: r.Turned, Steps: r.Steps, RTO: r.RTO}))
		}
	}
	slices.SortFunc(runs, func(a, b runbook.RunTimes) int {
		return cmp.Or(b.Ended.Compare(a.Ended), cmp.Compare(a.OpID, b.OpID))
	})
	if in.Times > 0 {
		out.Past.Runs = runs[:min(in.Times, len(runs))]
	}
	return out, nil
}

// tellObjectives gives the last move's numbers beside what the plan promises. An RPO
// that is not counted yet is the most that it can be.
func tellObjectives(m client.MetricsHandler, r runbook.Readiness) {
	if r.Last == nil || r.Objectives == nil {
		return
	}
	m.Gauge("drawbridge_last_move_time_seconds").Update(float64(r.Last.Ended.Unix()))
	m.Gauge("drawbridge_rto_seconds").Update(float64(r.Last.RTOMillis) / 1000)
	m.Gauge("drawbridge_rto_objective_seconds").Update(float64(r.Objectives.RTOSeconds))
	m.Gauge("drawbridge_rpo_objective_seconds").Update(float64(r.Objectives.RPOSeconds))
	if rpo := r.Last.RPO; rpo != nil {
		seconds := rpo.AtMost
		if rpo.Exact != nil {
			seconds = *rpo.Exact
		}
		m.Gauge("drawbridge_rpo_seconds").Update(seconds)
	}
}

// SaveReadiness keeps the newest readiness of a pair in one file. The metrics are
// of the worker that happened to keep it: take the newest by its time.
func (a *Activities) SaveReadiness(ctx context.Context, in workflows.SaveReadinessInput) (workflows.SaveReadinessResult, error) {
	r := in.Readiness
	var out workflows.SaveReadinessResult
	if r.Pair == "" || r.Pair != filepath.Base(r.Pair) || strings.HasPrefix(r.Pair, ".") {
		return out, refuse(workflows.ErrRefused, "pair %q cannot name a file", r.Pair)
	}
	if activity.IsActivity(ctx) {
		m := activity.GetMetricsHandler(ctx).WithTags(map[string]string{"pair": r.Pair})
		ready := 0.0
		if r.Ready {
			ready = 1
		}
		m.Gauge("drawbridge_ready").Update(ready)
		m.Gauge("drawbridge_readiness_score").Update(float64(r.Score))
		m.Gauge("drawbridge_readiness_time_seconds").Update(float64(r.At.Unix()))
		m.Gauge("drawbridge_readiness_expires_seconds").Update(float64(r.Expires.Unix()))
		tellObjectives(m, r)
	}
	body, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return out, settle(err)
	}
	folder := filepath.Join(a.reports(in.Folder), "readiness")
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return out, settle(fmt.Errorf("reports folder: %w", err))
	}
	out.File = filepath.Join(folder, r.Pair+".json")
	return out, settle(renameio.WriteFile(out.File, append(body, '\n'), 0o640))
}
