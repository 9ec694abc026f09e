package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// sample is a run of a size in waves, that much until writable.
func sample(size string, repeat, waves int, writable float64) Run {
	r := Run{Size: size, Repeat: repeat, WritableMillis: writable, Waves: waves, Steps: []Step{{Name: "lock record"}}}
	for range waves {
		r.Steps = append(r.Steps, Step{Name: wave + "1"})
	}
	r.Activities, r.PerStepMillis = 5+2*waves, 4
	return r
}

func TestRatiosAreOfMediansOfTheTimeUntilWritable(t *testing.T) {
	r := Report{
		Repeats: 3,
		Runs: []Run{
			sample(few, 1, 3, 900), sample(many, 1, 21, 2000), sample(few, 2, 3, 1000), sample(many, 2, 21, 9000), sample(few, 3, 3, 5000), sample(many, 3, 21, 4000),
		},
		Direct: []Direct{{Size: many, Way: wayScript, Repeat: 1, WritableMillis: 50000}, {Size: many, Way: wayBatch, Repeat: 1, WritableMillis: 1000}},
	}
	if err := r.summarize(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]float64{"script_1000": 12.5, "batched_1000": 0.25, "growth_100_to_1000": 4}, r.Ratios); d != "" {
		t.Error(d) // what was not run is absent
	}
	for _, line := range []string{"| script_1000 | 12.50 | ≥ 10 |", "| growth_100_to_1000 | 4.00 | ≤ 10 |", "| 1000 | runbook | 4000 |", "| 1000 | batch | 1000 |"} {
		if !strings.Contains(r.markdown(), line) {
			t.Errorf("no line %q in\n%s", line, r.markdown())
		}
	}
	r.Direct[0].WritableMillis = 39000
	if err := r.summarize(); err != nil || !strings.Contains(r.markdown(), "| script_1000 | 9.75 | ≥ 10, **missed** |") {
		t.Errorf("%v\n%s", err, r.markdown())
	}
}

func TestOtherStepsForMoreTopicsAreAnError(t *testing.T) {
	r := Report{Runs: []Run{sample(few, 1, 3, 1), sample(many, 1, 21, 1)}}
	r.Runs[1].Steps = append(r.Runs[1].Steps, Step{Name: "one more"})
	if err := r.summarize(); err == nil || !strings.Contains(err.Error(), "one more") {
		t.Errorf("%v", err)
	}
	r = Report{Runs: []Run{sample(few, 1, 3, 1), sample(many, 1, 21, 1)}}
	r.Runs[1].Activities++
	if err := r.summarize(); err == nil {
		t.Error("one activity more was not noticed")
	}
}

func TestOverheadIsWallLessTheTimeInAnyActivity(t *testing.T) {
	zero := time.Unix(1000, 0)
	at := func(ms int) *timestamppb.Timestamp {
		return timestamppb.New(zero.Add(time.Duration(ms) * time.Millisecond))
	}
	var events []*historypb.HistoryEvent
	add := func(ms int, e *historypb.HistoryEvent) int64 {
		e.EventId, e.EventTime = int64(len(events)+1), at(ms)
		events = append(events, e)
		return e.EventId
	}
	act := func(scheduled, started, ended, attempt int) {
		s := add(scheduled, &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED})
		b := add(started, &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED, Attributes: &historypb.HistoryEvent_ActivityTaskStartedEventAttributes{
			ActivityTaskStartedEventAttributes: &historypb.ActivityTaskStartedEventAttributes{ScheduledEventId: s, Attempt: int32(attempt)},
		}})
		add(ended, &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED, Attributes: &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{
			ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{ScheduledEventId: s, StartedEventId: b},
		}})
	}
	act(0, 10, 90, 1)     // before the approval
	act(110, 120, 200, 1) // 80
	act(150, 160, 220, 1) // 20 more: they overlap
	act(230, 400, 500, 2) // 270: the pause between its tries is its own
	add(600, &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED})
	got := overheadOf(events, zero.Add(100*time.Millisecond), 2)
	want := Overhead{WallMillis: 500, ActivityMillis: 370, Activities: 3, Retried: 1, PerStepMillis: 65, PerActivityMillis: 43.33}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestOptionsNameWhatIsWrong(t *testing.T) {
	env := func(m map[string]string) func(string) string { return func(k string) string { return m[k] } }
	o, err := options(nil, env(map[string]string{"QUICK": "1", "CASES": "100", "WAYS": "none", "REPEATS": "2"}))
	if err != nil || !o.Quick || len(o.Sizes) != 1 || o.Sizes[0].Topics != 100 || o.Repeats != 2 {
		t.Errorf("%+v %v", o, err)
	}
	_, err = options([]string{"fast"}, env(map[string]string{"CASES": "7", "WAYS": "all", "KAFKA": "fake", "REPEATS": "0"}))
	for _, word := range []string{`"fast"`, `"7"`, `"all"`, "KAFKA=fake", "REPEATS=0"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not name %s", err, word)
		}
	}
}
