package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// catchUp bounds how late a run may be made up for, after Temporal was away (its
// default is a year): an old look tells nothing, and drills must not start while
// people are still at work on the outage.
const catchUp = 10 * time.Minute

// wanted is a Schedule as the plan says.
type wanted struct {
	id     string
	spec   *client.ScheduleSpec // nil: there shall be none
	action client.ScheduleWorkflowAction
	note   string
	// stops: a failed run pauses the Schedule, until a person has seen to it.
	stops bool
}

// WatchReadiness makes the Schedules dr-ready/<pair> and dr-drill/<pair>/<kind> what
// the plan says.
func (a *Activities) WatchReadiness(ctx context.Context, in workflows.WatchReadinessInput) (workflows.WatchReadinessResult, error) {
	pair := in.Call.Pair
	out := workflows.WatchReadinessResult{Schedule: workflows.ReadyID(pair)}
	if !activity.IsActivity(ctx) {
		return out, refuse(workflows.ErrRefused, "a Schedule is made by a worker only")
	}
	queue := activity.GetInfo(ctx).TaskQueue // this worker's: what it makes, its like must find
	note := "made by Drawbridge's SetUp from the plan of pair " + pair
	all := []wanted{{
		id: out.Schedule, note: note,
		action: client.ScheduleWorkflowAction{
			ID: out.Schedule, Workflow: workflows.NameReadiness, TaskQueue: queue,
			Args: []any{workflows.ReadinessInput{Pair: pair}}, StaticSummary: "readiness of pair " + pair + ", by schedule",
		},
	}}
	if in.Every > 0 {
		all[0].spec = &client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: in.Every}}}
	}
	for _, kind := range runbook.DrillKinds {
		w := wanted{id: workflows.DrillSchedule(pair, kind), note: note, stops: true, action: client.ScheduleWorkflowAction{
			ID: workflows.DrillSchedule(pair, kind), Workflow: workflows.NameDrill, TaskQueue: queue,
			Args:          []any{workflows.DrillInput{Start: workflows.Start{Pair: pair, Reason: "by schedule"}, Kind: kind}},
			StaticSummary: kind + " drill of pair " + pair + ", by schedule",
		}}
		if i := slices.IndexFunc(in.Drills, func(d runbook.DrillPlan) bool { return d.Kind == kind }); i >= 0 {
			spec := drillSpec(in.Drills[i])
			w.spec = &spec
			out.Drills = append(out.Drills, fmt.Sprintf("%s drills %s by the Schedule %s", kind, in.Drills[i].Text(), w.id))
		}
		all = append(all, w)
	}
	for _, w := range all {
		changed, err := a.schedule(ctx, w)
		if err != nil {
			return out, settle(fmt.Errorf("schedule %s: %w", w.id, err))
		}
		out.Changed = out.Changed || changed
	}
	return out, nil
}

func drillSpec(d runbook.DrillPlan) client.ScheduleSpec {
	spec := client.ScheduleSpec{TimeZoneName: d.Zone, Jitter: runbook.Seconds(d.JitterSeconds)}
	if d.Cron != "" {
		spec.CronExpressions = []string{d.Cron}
	} else {
		spec.Intervals = []client.ScheduleIntervalSpec{{Every: runbook.Seconds(d.EverySeconds)}}
	}
	return spec
}

// schedule makes, changes or deletes one Schedule. What people did to it, a pause and
// its note, stays.
func (a *Activities) schedule(ctx context.Context, w wanted) (changed bool, err error) {
	schedules := activity.GetClient(ctx).ScheduleClient()
	have := schedules.GetHandle(ctx, w.id)
	now, err := have.Describe(ctx)
	var none *serviceerror.NotFound
	missing := errors.As(err, &none)
	if err != nil && !missing {
		return false, err
	}
	switch {
	case missing && w.spec == nil:
		return false, nil
	case w.spec == nil:
		return true, have.Delete(ctx)
	case missing:
		_, err = schedules.Create(ctx, client.ScheduleOptions{
			ID: w.id, Spec: *w.spec, CatchupWindow: catchUp, Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP, Action: &w.action, Note: w.note, PauseOnFailure: w.stops,
		})
		return true, err
	case same(now.Schedule.Spec, *w.spec) && queueOf(now.Schedule.Action) == w.action.TaskQueue:
		return false, nil
	}
	return true, have.Update(ctx, client.ScheduleUpdateOptions{DoUpdate: func(u client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
		u.Description.Schedule.Spec, u.Description.Schedule.Action = w.spec, &w.action
		return &client.ScheduleUpdate{Schedule: &u.Description.Schedule}, nil
	}})
}

func queueOf(a client.ScheduleAction) string {
	if w, ok := a.(*client.ScheduleWorkflowAction); ok {
		return w.TaskQueue
	}
	return ""
}

// same: intervals can be compared. A cron line comes back as calendars, and is
// written again, which changes nothing.
func same(have *client.ScheduleSpec, want client.ScheduleSpec) bool {
	return have != nil && len(want.CronExpressions) == 0 && len(have.Calendars) == 0 && slices.Equal(have.Intervals, want.Intervals) &&
		have.Jitter == want.Jitter && have.TimeZoneName == want.TimeZoneName
}

// InspectDrills reads what the Schedules count and say.
func (a *Activities) InspectDrills(ctx context.Context, in workflows.InspectDrillsInput) (workflows.InspectDrillsResult, error) {
	out := workflows.InspectDrillsResult{Drills: []runbook.DrillWatch{}}
	if !activity.IsActivity(ctx) {
		return out, refuse(workflows.ErrRefused, "a Schedule is looked at by a worker only")
	}
	schedules := activity.GetClient(ctx).ScheduleClient()
	for _, d := range in.Drills {
		w := runbook.DrillWatch{Kind: d.Kind, Schedule: workflows.DrillSchedule(in.Call.Pair, d.Kind)}
		got, err := schedules.GetHandle(ctx, w.Schedule).Describe(ctx)
		var none *serviceerror.NotFound
		switch {
		case errors.As(err, &none):
		case err != nil:
			return out, settle(fmt.Errorf("schedule %s: %w", w.Schedule, err))
		default:
			w.Exists = true
			if s := got.Schedule.State; s != nil {
				w.Paused, w.Note = s.Paused, s.Note
			}
			w.Missed, w.Skipped, w.Created = int64(got.Info.NumActionsMissedCatchupWindow), int64(got.Info.NumActionsSkippedOverlap), got.Info.CreatedAt
			next := got.Info.NextActionTimes
			for i := 1; i < len(next); i++ {
				w.PeriodSeconds = max(w.PeriodSeconds, int64(next[i].Sub(next[i-1])/time.Second))
			}
		}
		out.Drills = append(out.Drills, w)
	}
	return out, nil
}

// drilled adds a report to what is known of the kinds.
func drilled(list []runbook.PastDrill, kind, outcome, problem string, ended time.Time) []runbook.PastDrill {
	i := slices.IndexFunc(list, func(p runbook.PastDrill) bool { return p.Kind == kind })
	if i < 0 {
		i = len(list)
		list = append(list, runbook.PastDrill{Kind: kind})
	}
	p := &list[i]
	well := outcome == runbook.Done
	if well && ended.After(p.Good) {
		p.Good = ended
	}
	if ended.After(p.Last) {
		p.Last, p.Error = ended, ""
		if !well {
			p.Error = problem
			if problem == "" {
				p.Error = "it ended as " + outcome
			}
		}
	}
	return list
}
