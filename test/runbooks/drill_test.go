package runbooks

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// slackFor is an incoming webhook that keeps what it was told, and a reference to it.
func slackFor(t *testing.T) (said func() string, reference string) {
	t.Helper()
	var mu sync.Mutex
	var all []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, string(body))
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(srv.Close)
	file := filepath.Join(t.TempDir(), "webhook")
	if err := os.WriteFile(file, []byte(srv.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(all, "\n")
	}, "${file:" + file + "}"
}

// reported waits until drctl reports lists a run of a drill with that outcome.
func (p *pair) reported(ctx context.Context, drill, outcome string) {
	p.Helper()
	p.must(local.WaitFor(ctx, drill+" drill that ends as "+outcome, func(ctx context.Context) error {
		var lines []struct{ Drill, Outcome, Operation, State, Error string }
		if err := p.Drctl.JSON(ctx, &lines, "reports", p.Pair()); err != nil {
			return err
		}
		for _, l := range lines {
			if l.Drill == drill && l.Outcome == outcome {
				return nil
			}
		}
		return fmt.Errorf("there are %+v", lines)
	}))
}

// The path from the plan by Schedule, launcher and child to the report, on a real
// Temporal; and a drill that meets a failover.
func TestDrillsArePlayedBySchedulesAndRefusedBesideAFailover(t *testing.T) {
	t.Parallel()
	said, hook := slackFor(t)
	p := newPair(t, shared, "drills", func(pl *plan.Plan) {
		pl.Notify.Slack = &plan.Slack{Webhook: hook}
		pl.Drills = []plan.Drill{
			{Kind: runbook.DrillCanary, Cron: "0 3 * * 1", Zone: "Europe/Berlin", JitterSeconds: 60},
			{Kind: runbook.DrillTabletop, EverySeconds: 7 * 24 * 3600},
		}
	})
	p.steady()
	ctx := p.within(4 * time.Minute)
	schedules := p.temporal.ScheduleClient()
	canary := schedules.GetHandle(ctx, workflows.DrillSchedule(p.Pair(), runbook.DrillCanary))
	d, err := canary.Describe(ctx)
	p.must(err)
	if s := d.Schedule; s.Policy.CatchupWindow != 10*time.Minute || !s.Policy.PauseOnFailure || s.Policy.Overlap != enumspb.SCHEDULE_OVERLAP_POLICY_SKIP ||
		s.Spec.TimeZoneName != "Europe/Berlin" || s.Spec.Jitter != time.Minute || !strings.Contains(s.State.Note, "Drawbridge") {
		t.Errorf("spec %+v, policy %+v, state %+v", s.Spec, s.Policy, s.State)
	}
	if gap := d.Info.NextActionTimes[1].Sub(d.Info.NextActionTimes[0]); gap < 6*24*time.Hour || gap > 8*24*time.Hour {
		t.Errorf("it is played every %s", gap)
	}
	if _, err := schedules.GetHandle(ctx, workflows.DrillSchedule(p.Pair(), runbook.DrillFull)).Describe(ctx); err == nil {
		t.Error("the plan wants no full drill")
	}

	// By Schedule: nothing of the pair is another afterwards.
	before := []standing{p.standing(p.Home), p.standing(p.Standby)}
	record, err := p.Record(ctx, p.Home)
	p.must(err)
	p.must(canary.Trigger(ctx, client.ScheduleTriggerOptions{}))
	p.reported(ctx, runbook.DrillCanary, runbook.Done)
	p.same(before[0], p.standing(p.Home))
	p.same(before[1], p.standing(p.Standby))
	if now, err := p.Record(ctx, p.Home); err != nil || now.SHA256 != record.SHA256 {
		t.Errorf("the record was %+v, is %+v (%v)", record, now, err)
	}

	// By hand, and readiness knows of it.
	out, err := p.Drctl.Run(ctx, "drill", p.Pair(), "--kind", runbook.DrillTabletop)
	p.must(err)
	if !strings.Contains(out, "failover: fail over") || !strings.Contains(out, "switchover: promote") {
		t.Errorf("it says %s", out)
	}
	r := p.ready(ctx, true)
	if text := r.Markdown(); !strings.Contains(text, "| drills | ok | canary on ") || !strings.Contains(text, "tabletop on ") || !strings.Contains(text, "| last exercise | ok | drill on ") {
		t.Error(text)
	}

	// Beside a failover: refused and told, and the Schedule goes on.
	over, err := p.begin(ctx, "failover")
	p.must(err)
	over.awaitApproval()
	_, err = p.Drctl.Run(ctx, "drill", p.Pair(), "--kind", runbook.DrillCanary)
	p.refused(err, codeBusy, "an operation is running on pair drills", "drctl status drills")
	p.must(canary.Trigger(ctx, client.ScheduleTriggerOptions{}))
	p.reported(ctx, runbook.DrillCanary, runbook.NoChange)
	if d, err := canary.Describe(ctx); err != nil || d.Schedule.State.Paused {
		t.Errorf("a refused drill paused its Schedule: %+v, %v", d, err)
	}
	if n := strings.Count(said(), "canary drill of pair drills was refused"); n != 2 {
		t.Errorf("people were told %d times: %s", n, said())
	}
	_, err = p.Drctl.Run(ctx, "deny", p.Pair(), "--key", p.Key(harness.Approver), "--reason", "it was the drill's")
	p.must(err)
	if got, err := over.finish(ctx); err != nil || got.Outcome != runbook.NoChange {
		t.Errorf("%+v, %v", got, err)
	}
	p.same(before[1], p.standing(p.Standby))
	if text := p.ready(ctx, true).Markdown(); strings.Contains(text, "paused") {
		t.Error(text)
	}
}
