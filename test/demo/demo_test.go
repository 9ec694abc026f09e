//go:build real

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/demo/check"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// played runs the demo and returns its verdict.
func played(t *testing.T, opts Options) (ok bool, r check.Report, said string) {
	t.Helper()
	opts.Report = filepath.Join(t.TempDir(), "demo.json")
	t.Setenv("TMPDIR", t.TempDir()) // what a story that is not ok leaves goes with the test
	var out local.Output
	ok, err := play(t.Context(), opts, &out)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	raw, err := os.ReadFile(opts.Report)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	if r.OK != ok {
		t.Fatalf("the report says %t, the demo %t", r.OK, ok)
	}
	return ok, r, out.String()
}

// toldOf is what people read of a story beside its figures.
var toldOf = map[string][]string{chatStory: {
	"Slack, " + teamChannel + ": *team reporting: 1 groups move to west", "PagerDuty, team reporting: team reporting: 1 groups move to west",
	"dana: [Team reporting: we look after it]", "acknowledged by eve, dana for team reporting",
	"report: team reporting: told PagerDuty: sent, Slack: sent at ", "; acknowledged by dana at ", "; moved 1 of 1",
}}

func TestTheTutorialAccountsForEveryRecord(t *testing.T) {
	for _, tc := range []struct {
		kind     local.KafkaKind
		seed     uint64
		replicas int // of the engine at each site
		story    string
		long     bool
	}{{local.KFake, 2, 1, chatStory, false}, {local.Apache, 3, 2, "", false}, {local.KFake, 1, 2, "", true}} { // the last is both of the others' halves
		if tc.long && os.Getenv("DRAWBRIDGE_LONG") == "" {
			continue
		}
		t.Run(fmt.Sprintf("%s seed %d replicas %d %s", tc.kind, tc.seed, tc.replicas, tc.story), func(t *testing.T) {
			ok, r, said := played(t, Options{Kind: tc.kind, Seed: tc.seed, Replicas: tc.replicas, Story: tc.story})
			if !ok {
				t.Fatalf("%v\n%s", r.Faults, said)
			}
			if want := (tc.story == chatStory); want != (r.Chat != nil) || len(r.ApprovedBy) == 0 || want != (len(r.AcknowledgedBy) > 0) {
				t.Errorf("approved by %v, acknowledged by %v, chat %+v", r.ApprovedBy, r.AcknowledgedBy, r.Chat)
			}
			for _, line := range toldOf[tc.story] {
				if !strings.Contains(said, line) {
					t.Errorf("the story does not tell %q:\n%s", line, said)
				}
			}
			clicks := r.Topics[clicksTopic]
			if clicks.Acked < 10_000 || clicks.LaggedFound == 0 {
				t.Errorf("%d clicks, %d of them lagged: the story is too small", clicks.Acked, clicks.LaggedFound)
			}
			t.Logf("RTO %d ms, %d clicks, %d lagged, redelivered %+v of at most %+v", r.RTOMillis, clicks.Acked, clicks.LaggedFound, clicks.Redelivered, clicks.Forecast)
		})
	}
}

// A full drill is a switchover there and back, so that each of the two stories is
// played on one Kafka, and on the other in the long run.
func TestPlannedMovesThereAndBackLoseAndRepeatNothing(t *testing.T) {
	for _, tc := range []struct {
		kind  local.KafkaKind
		story string
		long  bool
	}{
		{local.KFake, drillStory, false},
		{local.Apache, switchoverStory, false},
		{local.KFake, switchoverStory, true},
		{local.Apache, drillStory, true},
	} {
		if tc.long && os.Getenv("DRAWBRIDGE_LONG") == "" {
			continue
		}
		t.Run(fmt.Sprintf("%s %s", tc.story, tc.kind), func(t *testing.T) {
			ok, r, said := played(t, Options{Kind: tc.kind, Seed: 1, Story: tc.story})
			if !ok || r.Lost+r.Duplicates+r.Redelivered != 0 {
				t.Fatalf("lost %d, twice %d, again %d: %v\n%s", r.Lost, r.Duplicates, r.Redelivered, r.Faults, said)
			}
			if clicks := r.Topics[clicksTopic]; clicks.Acked < 10_000 {
				t.Errorf("%d clicks: the story is too small", clicks.Acked)
			}
			t.Logf("clients stood still for %d ms; %d records", r.RTOMillis, r.Topics[clicksTopic].Acked+r.Topics[tutorialTopic].Acked)
		})
	}
}

func TestAnEngineThatDropsARecordIsFoundOut(t *testing.T) {
	ok, r, said := played(t, Options{Kind: local.KFake, Seed: 1, Mutant: "drop-one-record"})
	if ok || r.Topics[clicksTopic].Lost == 0 {
		t.Fatalf("ok %t, lost %d\n%s", ok, r.Topics[clicksTopic].Lost, said)
	}
	if r.Topics[tutorialTopic].Lost != 0 {
		t.Errorf("the mutant was to rob %s only: %v", clicksTopic, r.Faults)
	}
}

func TestCtrlCLeavesNothingRunning(t *testing.T) {
	demo := local.ProgramForTest(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	err := local.WaitFor(ctx, "clients to run", func(context.Context) error {
		select {
		case <-demo.Ended():
			cancel()
			return errors.New("it has ended")
		default:
		}
		if !strings.Contains(demo.String(), "produce 6 to 10") {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, demo)
	}
	dir := regexp.MustCompile(`data and logs: (\S+)`).FindStringSubmatch(demo.String())[1]
	t.Cleanup(func() { os.RemoveAll(dir) })
	if n := len(local.ProcessesOf(t, dir)); n < 8 {
		t.Errorf("only %d processes work in %s: the test looks at the wrong ones", n, dir)
	}
	demo.Interrupt(t, exitEnded)
	if left := local.ProcessesOf(t, dir); len(left) > 0 {
		t.Errorf("left running: %v", left)
	}
}
