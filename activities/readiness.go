package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
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

// exercises are operations by which a pair shows that it can move.
var exercises = []string{runbook.OpFailover, runbook.OpSwitchover, runbook.OpFailback}

// PastRuns reads the kept reports of the pair.
func (a *Activities) PastRuns(ctx context.Context, in workflows.PastRunsInput) (workflows.PastRunsResult, error) {
	var out workflows.PastRunsResult
	files, err := filepath.Glob(filepath.Join(a.reports(in.Folder), "*.json"))
	if err != nil {
		return out, settle(err)
	}
	for _, file := range files {
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		raw, err := os.ReadFile(file)
		var r struct {
			Pair, Operation, Outcome string
			DryRun                   bool `json:"dry_run"`
			Ended                    time.Time
		}
		if err == nil {
			err = json.Unmarshal(raw, &r)
		}
		if err != nil { // another's file, or one that is being removed
			a.logger(in.Call).Debug("a report was not read", "file", file, "error", err)
			continue
		}
		whole := r.Outcome == runbook.Done || r.Outcome == runbook.Partly
		if r.Pair == in.Call.Pair && whole && !r.DryRun && slices.Contains(exercises, r.Operation) && r.Ended.After(out.Past.Exercised) {
			out.Past = runbook.PastRuns{Exercised: r.Ended, Operation: r.Operation}
		}
	}
	return out, nil
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
		m.Gauge("drawbridge_readiness_score").Update(float64(r.Score))
		m.Gauge("drawbridge_readiness_time_seconds").Update(float64(r.At.Unix()))
		m.Gauge("drawbridge_readiness_expires_seconds").Update(float64(r.Expires.Unix()))
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
	return out, settle(whole(out.File, append(body, '\n')))
}

// watchCatchUp bounds how late a look may be made up for, after Temporal was away:
// an old look tells nothing.
const watchCatchUp = 10 * time.Minute

// WatchReadiness makes the Schedule dr-ready/<pair> what the plan says.
func (a *Activities) WatchReadiness(ctx context.Context, in workflows.WatchReadinessInput) (workflows.WatchReadinessResult, error) {
	out := workflows.WatchReadinessResult{Schedule: workflows.ReadyID(in.Call.Pair)}
	if !activity.IsActivity(ctx) {
		return out, refuse(workflows.ErrRefused, "a Schedule is made by a worker only")
	}
	schedules := activity.GetClient(ctx).ScheduleClient()
	have := schedules.GetHandle(ctx, out.Schedule)
	now, err := have.Describe(ctx)
	var none *serviceerror.NotFound
	missing := errors.As(err, &none)
	if err != nil && !missing {
		return out, settle(fmt.Errorf("schedule %s: %w", out.Schedule, err))
	}
	if in.Every <= 0 {
		if missing {
			return out, nil
		}
		out.Changed = true
		return out, settle(have.Delete(ctx))
	}
	if missing {
		out.Changed = true
		_, err = schedules.Create(ctx, client.ScheduleOptions{
			ID: out.Schedule, Spec: watchSpec(in.Every), CatchupWindow: watchCatchUp, Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP,
			Action: &client.ScheduleWorkflowAction{
				ID: out.Schedule, Workflow: workflows.NameReadiness, TaskQueue: workflows.TaskQueue,
				Args: []any{workflows.ReadinessInput{Pair: in.Call.Pair}}, StaticSummary: "readiness of pair " + in.Call.Pair + ", by schedule",
			},
			Note: "made by Drawbridge's SetUp from the plan of pair " + in.Call.Pair,
		})
		return out, settle(err)
	}
	if spec := now.Schedule.Spec; spec != nil && len(spec.Intervals) == 1 && spec.Intervals[0].Every == in.Every {
		return out, nil
	}
	out.Changed = true
	return out, settle(have.Update(ctx, client.ScheduleUpdateOptions{DoUpdate: func(u client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
		spec := watchSpec(in.Every)
		u.Description.Schedule.Spec = &spec
		return &client.ScheduleUpdate{Schedule: &u.Description.Schedule}, nil
	}}))
}

func watchSpec(every time.Duration) client.ScheduleSpec {
	return client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: every}}}
}
