package workflows_test

import (
	"os"
	"path/filepath"
	"testing"

	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows"
)

// replayFixtures is how many histories testdata/replay holds. It is counted so
// that an empty or thinned folder cannot pass: whoever adds a history
// (<release>-<runbook>-<outcome>.json, as "temporal workflow show -o json"
// prints it) raises it by one, and nobody lowers it.
const replayFixtures = 43

// TestReleasedRunsReplay replays the history of every released runbook against
// this code. A failure means that runs which are under way now would break:
// put the change behind a version, never edit a history.
func TestReleasedRunsReplay(t *testing.T) {
	files, err := filepath.Glob("testdata/replay/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != replayFixtures {
		t.Fatalf("testdata/replay holds %d histories, the test expects %d: add the missing ones, or raise the count with a new one", len(files), replayFixtures)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			r, err := os.Open(f)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			h, err := client.HistoryFromJSON(r, client.HistoryJSONOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if err := replay(h); err != nil {
				t.Error(err)
			}
		})
	}
}

// replay runs a history under its own ids: a runbook looks at its workflow id
// and keys its steps by the first run's id.
func replay(h *historypb.History) error {
	r := worker.NewWorkflowReplayer()
	workflows.Register(r)
	first := h.GetEvents()[0].GetWorkflowExecutionStartedEventAttributes()
	return r.ReplayWorkflowHistoryWithOptions(quiet{}, h, worker.ReplayWorkflowHistoryOptions{
		OriginalExecution: workflow.Execution{ID: first.GetWorkflowId(), RunID: first.GetOriginalExecutionRunId()},
	})
}

// TestReplayNoticesAnotherStory is the control: a history of which an event was
// swapped for another step's must not pass.
func TestReplayNoticesAnotherStory(t *testing.T) {
	f, err := os.Open(filepath.Join("testdata", "replay", "v0-failover.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := client.HistoryFromJSON(f, client.HistoryJSONOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range h.GetEvents() {
		if a := e.GetActivityTaskScheduledEventAttributes(); a.GetActivityType().GetName() == "FenceSite" {
			a.ActivityType.Name = "LiftFence"
		}
	}
	if replay(h) == nil {
		t.Error("a story with another step passed")
	}
}

// quiet logs nothing.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}
