package workflows_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// wantHistories says, by workflow and how it ended, how many histories there must be at least: read from the histories
// themselves, so that neither an empty folder nor twenty files of one kind can pass. "turned": it ended as a failover; "failed X":
// by an error of that type.
var wantHistories = map[string]int{
	workflows.NameSetUp + " " + runbook.Done:                     1,
	workflows.NameSetUp + " " + runbook.NoChange:                 1, // aborted
	workflows.NameFailover + " " + runbook.Partly:                1,
	workflows.NameFailover + " " + runbook.Done:                  1, // the source alive
	workflows.NameFailover + " " + runbook.NoChange:              3, // denied, aborted, cancelled in Temporal
	workflows.NameFailover + " " + runbook.Dry:                   1,
	workflows.NameFailover + " failed " + workflows.ErrHeld:      1,
	workflows.NameSwitchover + " " + runbook.Done:                3, // straight, half way, home in a drill
	workflows.NameSwitchover + " " + runbook.NoChange:            4, // denied, aborted, expired, cancelled in Temporal
	workflows.NameSwitchover + " turned " + runbook.Partly:       2, // before and behind the pivot
	workflows.NameSwitchover + " failed " + workflows.ErrHalted:  1, // fence not proven
	workflows.NameSwitchover + " " + runbook.Dry:                 1,
	workflows.NameSwitchover + " failed " + workflows.ErrHeld:    1,
	workflows.NameRecoverLaggedData + " " + runbook.Done:         2, // with decisions, debts only
	workflows.NameRecoverLaggedData + " " + runbook.Partly:       1, // aborted
	workflows.NameFailback + " " + runbook.Done:                  1,
	workflows.NameFailback + " " + runbook.Partly:                1, // aborted behind the rebuild
	workflows.NameFailback + " " + runbook.NoChange:              1, // denied
	workflows.NameRestoreDR + " " + runbook.Done:                 1,
	workflows.NameRestoreDR + " " + runbook.Partly:               1, // aborted behind the deletion
	workflows.NameRestoreDR + " " + runbook.NoChange:             1, // denied
	workflows.NameUnfence + " " + runbook.Done:                   1,
	workflows.NameUnfence + " " + runbook.NoChange:               1, // denied
	workflows.NameDrill + " " + runbook.Done:                     3, // each kind
	workflows.NameDrill + " failed " + workflows.ErrHalted:       2, // canary with other records, full and denied
	workflows.NameDrill + " failed " + workflows.ErrHeld:         1, // refused
	workflows.NameCanaryDrill + " " + runbook.Done:               1,
	workflows.NameCanaryDrill + " failed " + workflows.ErrHalted: 1,
	workflows.NameDebt + " ":                                     1, // nothing owed
	workflows.NameReadiness + " ":                                2, // ready, and proposing a failover
}

func TestHistoriesOfEveryPathAndOutcomeAreKept(t *testing.T) {
	files, err := filepath.Glob("testdata/replay/*.json")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, f := range files {
		r, err := os.Open(f)
		if err != nil {
			t.Fatal(err)
		}
		h, err := client.HistoryFromJSON(r, client.HistoryJSONOptions{})
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		got[ending(t, h)]++
	}
	for what, n := range wantHistories {
		if got[what] < n {
			t.Errorf("%d histories of %q, there must be %d: record them (CONTRIBUTING.md, Keep replay green); there are %v", got[what], what, n, got)
		}
	}
}

// ending is a history's workflow and how it ended.
func ending(t *testing.T, h *historypb.History) string {
	t.Helper()
	events := h.GetEvents()
	name := events[0].GetWorkflowExecutionStartedEventAttributes().GetWorkflowType().GetName()
	switch last := events[len(events)-1]; last.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		var res workflows.Result
		payloads := last.GetWorkflowExecutionCompletedEventAttributes().GetResult().GetPayloads()
		if len(payloads) != 1 {
			return name + " without a result"
		}
		if err := json.Unmarshal(payloads[0].GetData(), &res); err != nil {
			t.Errorf("result of a %s: %v", name, err)
		}
		if res.Report.Turned != nil {
			return name + " turned " + res.Outcome
		}
		return name + " " + res.Outcome
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		return name + " failed " + last.GetWorkflowExecutionFailedEventAttributes().GetFailure().GetApplicationFailureInfo().GetType()
	default:
		return name + " " + last.GetEventType().String()
	}
}
