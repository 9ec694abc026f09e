package main

import (
	"context"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"

	"github.com/drawbridge-dr/drawbridge/workflows"
)

// Overhead is what orchestration adds, read from the run's history, from the approval to its end.
type Overhead struct {
	WallMillis     float64 `json:"wall_ms"`
	ActivityMillis float64 `json:"inside_activities_ms"`
	Activities     int     `json:"activities"`
	Retried        int     `json:"activities_retried"`
	// PerStepMillis is wall less the time inside activities, over the steps of the table that people see; PerActivityMillis the
	// same over the activities.
	PerStepMillis     float64 `json:"orchestration_ms_per_step"`
	PerActivityMillis float64 `json:"orchestration_ms_per_activity"`
}

// span is a stretch of time.
type span struct{ from, to time.Time }

func overhead(ctx context.Context, c client.Client, run, pair string, approved time.Time, steps int) (Overhead, error) {
	var events []*historypb.HistoryEvent
	for it := c.GetWorkflowHistory(ctx, workflows.ID(pair), run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); it.HasNext(); {
		e, err := it.Next()
		if err != nil {
			return Overhead{}, err
		}
		events = append(events, e)
	}
	return overheadOf(events, approved, steps), nil
}

// overheadOf reads a history. An activity lasts from the start of its attempt to its end; one that was tried more than once
// from when it was scheduled, because the pause between tries is its own.
func overheadOf(events []*historypb.HistoryEvent, from time.Time, steps int) Overhead {
	scheduled, started := map[int64]time.Time{}, map[int64]time.Time{}
	var out Overhead
	var spans []span
	for _, e := range events {
		at := e.GetEventTime().AsTime()
		if e.GetEventType() == enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED {
			scheduled[e.GetEventId()] = at
		}
		if a := e.GetActivityTaskStartedEventAttributes(); a != nil {
			started[e.GetEventId()] = at
			if a.GetAttempt() > 1 {
				started[e.GetEventId()] = scheduled[a.GetScheduledEventId()]
				if at.After(from) {
					out.Retried++
				}
			}
		}
		var ended interface {
			GetScheduledEventId() int64
			GetStartedEventId() int64
		}
		if a := e.GetActivityTaskCompletedEventAttributes(); a != nil {
			ended = a
		} else if a := e.GetActivityTaskFailedEventAttributes(); a != nil {
			ended = a
		} else if a := e.GetActivityTaskTimedOutEventAttributes(); a != nil {
			ended = a
		}
		if ended != nil && at.After(from) {
			out.Activities++
			spans = append(spans, span{later(started[ended.GetStartedEventId()], from), at})
		}
	}
	wall := events[len(events)-1].GetEventTime().AsTime().Sub(from)
	inside := covered(spans)
	out.WallMillis, out.ActivityMillis = millis(wall), millis(inside)
	out.PerStepMillis = round(millis(wall-inside) / float64(steps))
	out.PerActivityMillis = round(millis(wall-inside) / float64(out.Activities))
	return out
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// covered is how long at least one of the spans lasts.
func covered(spans []span) (sum time.Duration) {
	slices.SortFunc(spans, func(a, b span) int { return a.from.Compare(b.from) })
	var end time.Time
	for _, s := range spans {
		if from := later(s.from, end); s.to.After(from) {
			sum += s.to.Sub(from)
			end = s.to
		}
	}
	return sum
}
