//go:build real

package workflows_test

import (
	"os"
	"slices"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"google.golang.org/protobuf/proto"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Bounds of Temporal: 51,200 events and 50 MiB of a history, 2 MiB in one piece;
// it warns at a fifth of the first and at 512 KiB. The run stays far below.
const (
	mostEvents = 1500
	mostBytes  = 8 << 20
	mostPiece  = 1 << 20
)

func TestFailoverOfTwoThousandTopicsFitsIntoAHistory(t *testing.T) {
	l := start(t, workflows.Large(2000, 12))
	l.every, l.unkept = 2*time.Second, true
	res := l.play("large", workflows.NameFailover, workflows.FailoverInput{Start: workflows.RequestBy("ann", runbook.OpFailover)}, workflows.Agree)
	if res.Active[0] != "west" || len(res.Report.Forecast.Topics) != 2000 || len(res.Report.Stops) != 2000 || res.Report.Stops[0].Of != 12 {
		t.Fatalf("%s: %s", res.Outcome, res.Report.Error)
	}
	events, bytes, piece, waves := 0, 0, 0, 0
	for _, line := range res.Report.Steps {
		if len(line.Name) > 14 && line.Name[:14] == "fail over wave" {
			waves++
		}
	}
	for it := l.c.GetWorkflowHistory(t.Context(), workflows.ID("orders"), "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); it.HasNext(); {
		e, err := it.Next()
		if err != nil {
			t.Fatal(err)
		}
		n := proto.Size(e)
		events, bytes, piece = events+1, bytes+n, max(piece, n)
	}
	t.Logf("2,000 topics of 12 partitions in %d waves: %d events, %d bytes, the largest event %d; %d events and %d bytes per topic", waves, events, bytes, piece, events/2000, bytes/2000)
	if waves != 3 || events > mostEvents || bytes > mostBytes || piece > mostPiece {
		t.Errorf("%d waves, %d events, %d bytes, largest event %d", waves, events, bytes, piece)
	}
	if slices.ContainsFunc(res.Report.Steps, func(s runbook.StepLine) bool { return s.State == runbook.StateFailed }) {
		t.Errorf("steps failed:\n%s", runbook.Table(res.Report.Steps))
	}
}

// Of groups and teams likewise; Temporal also takes no more than 2,000 activities of a run at a time.
func TestFailoverOfFiveHundredTeamsEndsOnARealTemporal(t *testing.T) {
	if os.Getenv("DRAWBRIDGE_LONG") == "" {
		return // each of its thousand notifications replays the run
	}
	l := start(t, workflows.Crowded(500, 10))
	l.every, l.unkept = 5*time.Second, true
	began := time.Now()
	res := l.play("crowded", workflows.NameFailover, workflows.FailoverInput{Start: workflows.RequestBy("ann", runbook.OpFailover)}, workflows.Agree)
	if len(res.Active) == 0 || res.Active[0] != "west" || len(res.Report.Teams) != 500 || res.Report.Error != "" {
		t.Fatalf("%s: %s, %d teams", res.Outcome, res.Report.Error, len(res.Report.Teams))
	}
	events, bytes, piece := 0, 0, 0
	for it := l.c.GetWorkflowHistory(t.Context(), workflows.ID("orders"), "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); it.HasNext(); {
		e, err := it.Next()
		if err != nil {
			t.Fatal(err)
		}
		n := proto.Size(e)
		events, bytes, piece = events+1, bytes+n, max(piece, n)
	}
	t.Logf("500 teams, 10,000 groups: %d events, %d bytes, the largest event %d; %s", events, bytes, piece, time.Since(began).Round(time.Second))
	if events > 10_240 || bytes > mostBytes || piece > 2<<20 {
		t.Errorf("%d events, %d bytes, the largest %d", events, bytes, piece)
	}
}
